const tip = document.body.appendChild(document.createElement("div"));
tip.id = "tip";
function show(text, x, y) {
  tip.textContent = text;
  tip.hidden = !text;
  tip.style.left = Math.max(4, Math.min(x + 12, innerWidth - tip.offsetWidth - 8)) + "px";
  tip.style.top = (y + tip.offsetHeight + 24 > innerHeight ? y - tip.offsetHeight - 12 : y + 16) + "px";
}
show("");
document.addEventListener("pointerover", event => show(event.target.closest("[data-tip]")?.dataset.tip, event.clientX, event.clientY));
document.addEventListener("scroll", () => show(""), true);
for (const head of document.querySelectorAll("th")) head.addEventListener("click", () => {
  const table = head.closest("table"), body = table.tBodies[0], column = head.cellIndex;
  const down = head.dataset.order === " \u25b2";
  for (const other of table.querySelectorAll("th")) delete other.dataset.order;
  head.dataset.order = down ? " \u25bc" : " \u25b2";
  const key = row => row.cells[column].textContent.trim();
  const number = text => text === "" ? Infinity : parseFloat(text.replace(/^[\u2265<] ?/, "").replace(/,/g, ""));
  const rows = [...body.rows].sort((a, b) => {
    const [x, y] = [key(a), key(b)], difference = number(x) - number(y);
    return Number.isNaN(difference) ? x.localeCompare(y) : difference;
  });
  body.append(...(down ? rows.reverse() : rows));
});
for (const search of document.querySelectorAll("input")) search.addEventListener("input", () => {
  const words = search.value.toLowerCase().split(" ");
  const has = (row, word) => row.textContent.toLowerCase().includes(word);
  for (const row of search.nextElementSibling.querySelector("tbody").rows) row.hidden = !words.every(word => has(row, word));
});
const text = value => value.toLocaleString("en", {maximumSignificantDigits: 4});
function axis(values, log) {
  const to = log ? Math.log10 : value => value, all = values.map(to);
  let least = Math.min(...all), most = Math.max(...all);
  const margin = 0.05 * (most - least) || 0.1, base = 10 ** Math.floor(Math.log10((most - least) / 6 || 1));
  [least, most] = [least - margin, most + margin];
  const powers = Array.from({length: 40}, (_, k) => 10 ** (k - 20)), counts = k => Array.from({length: k}, (_, i) => i + 1);
  const steps = log
    ? [counts(9), [1, 2, 5], [1]].map(digits => powers.flatMap(power => digits.map(digit => digit * power)))
    : [1, 2, 5, 10].map(step => counts(80).map(i => (Math.floor(least / base / step) + i) * base * step));
  const inside = steps.map(ticks => ticks.filter(tick => to(tick) > least && to(tick) < most));
  return {ticks: inside.find(ticks => ticks.length <= 7) ?? inside.at(-1), at: value => (to(value) - least) / (most - least)};
}
for (const box of document.querySelectorAll(".scatter")) {
  const data = JSON.parse(box.querySelector("script").textContent), choice = box.querySelector("select");
  const canvas = box.querySelector("canvas"), pen = canvas.getContext("2d"), many = data.x.length > 200;
  let places = [];
  function draw(found) {
    const wide = canvas.clientWidth, high = canvas.clientHeight, style = getComputedStyle(canvas);
    const color = name => style.getPropertyValue(name), y = data.y[choice.value];
    const [across, up] = [data.x, y].map((own, k) => axis(data.square ? [...data.x, ...y] : own, data.log[k]));
    const right = value => 62 + across.at(value) * (wide - 74), down = value => high - 46 - up.at(value) * (high - 56);
    canvas.width = wide * devicePixelRatio;
    canvas.height = high * devicePixelRatio;
    pen.scale(devicePixelRatio, devicePixelRatio);
    const line = (points, own) => {
      pen.strokeStyle = own;
      pen.beginPath();
      for (const point of points) pen.lineTo(...point);
      pen.stroke();
    };
    pen.font = "12px system-ui, sans-serif";
    pen.fillStyle = color("--soft");
    pen.textAlign = "center";
    for (const tick of across.ticks) {
      line([[right(tick), 10], [right(tick), high - 46]], color("--line"));
      pen.fillText(text(tick), right(tick), high - 28);
    }
    pen.fillText(data.labels[0], (62 + wide) / 2, high - 8);
    pen.textAlign = "right";
    for (const tick of up.ticks) {
      line([[62, down(tick)], [wide - 12, down(tick)]], color("--line"));
      pen.fillText(text(tick), 55, down(tick) + 4);
    }
    if (data.square) line([[62, high - 46], [wide - 12, 10]], color("--soft"));
    pen.save();
    pen.translate(12, high / 2 - 18);
    pen.rotate(-Math.PI / 2);
    pen.textAlign = "center";
    pen.fillText(data.labels[1], 0, 0);
    pen.restore();
    places = data.x.map((value, i) => [right(value), down(y[i])]);
    line(data.front.map(i => places[i]), color("--soft"));
    places.forEach((place, i) => {
      pen.fillStyle = color(["--a", "--b", "--c"][data.groups[i] % 3]);
      pen.globalAlpha = many && !data.groups[i] ? 0.4 : 0.9;
      pen.beginPath();
      pen.arc(...place, many ? 2.6 : 5, 0, 7);
      pen.fill();
    });
    pen.globalAlpha = 1;
    pen.fillStyle = pen.strokeStyle = color("--ink");
    pen.textAlign = "left";
    let taken = [Infinity, 0];  // by the name before
    for (const i of [...data.front].reverse()) {
      const [x, y] = [places[i][0] + 8, places[i][1] - 6], name = data.names[i].split(/[:\n]/)[0], width = pen.measureText(name).width;
      if (x + width > taken[0] && Math.abs(y - taken[1]) < 14) continue;
      pen.fillText(name, Math.min(x, wide - width), y);
      taken = [x, y];
    }
    if (found === undefined) return;
    pen.beginPath();
    pen.arc(...places[found], 7, 0, 7);
    pen.stroke();
  }
  function find(event) {
    const at = canvas.getBoundingClientRect();
    const far = places.map(([x, y]) => Math.hypot(x + at.left - event.clientX, y + at.top - event.clientY));
    const least = Math.min(...far), i = far.indexOf(least);
    if (least > 30) return draw() ?? show("");
    const [x, y] = [data.x[i], data.y[choice.value][i]], rows = [data.names[i], data.labels[0] + ": " + text(x)];
    rows.push((choice.value || data.labels[1]) + ": " + text(y), ...(data.square ? ["error: " + text(y - x)] : []));
    draw(i);
    show(rows.join("\n"), places[i][0] + at.left, places[i][1] + at.top);
  }
  for (const kind of ["pointermove", "pointerdown"]) canvas.addEventListener(kind, find);
  canvas.addEventListener("pointerleave", event => event.pointerType === "mouse" && (draw() ?? show("")));
  choice.addEventListener("change", () => draw());
  new ResizeObserver(() => draw()).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw());
}
