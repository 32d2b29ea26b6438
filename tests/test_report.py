"""The report is one page that needs nothing beside itself; its checks of tables find what was put there."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import CRYSTALS, GBDT, run, small_table
from pymatgen.core import Lattice, Structure

from exp import check_data, report
from src.config import BlendConfig
from src.data.crystal import N_ELEMENTS, Crystal
from src.data.export import write_task
from src.data.load import TaskData
from src.data.table import Crystals, CrystalTable
from src.features.geometry import SYSTEMS
from src.report import sections
from src.report.audit import adversarial_auc, describe, duplicate_groups, missing_elements, space_group_number, target_by_fold
from src.report.page import html_table, page, periodic_table, scatter

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Tags(HTMLParser):
    """Fails where a tag is closed that is not open; collects headings, sources and links."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.outside: list[str] = []
        self.headings: list[str] = []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        if tag not in ("meta", "img", "input", "wbr"):
            self.open.append(tag)
        inside = ("data:image/png;base64,", "#")
        self.outside += [value for name, value in attrs if name in ("src", "href") and not value.startswith(inside)]

    def handle_startendtag(self, tag: str, attrs: list) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


def test_the_report_stands_alone(data: TaskData, outputs: Path, where: list[str], request: pytest.FixtureRequest) -> None:
    run(data)
    run(data, replace(GBDT, seed=5), "exp003")
    run(data, replace(GBDT, learner=BlendConfig(("001", "003"))), "exp040")
    report.main(["001", "003", "040", *where])
    html = (outputs / "small" / "report.html").read_text(encoding="utf-8")
    assert len(html.encode()) < 5e6
    tags = Tags()
    tags.feed(html)
    assert tags.open == [] and tags.outside == []
    assert "@import" not in html and "url(" not in html
    assert len(tags.headings) == html.count('href="#s') == 11
    assert html.count("data:image/png") == 8
    assert f"<h1>small: {data.task.target_column} (eV/atom)</h1>" in html.replace("<wbr>", "")
    assert "test MAE" not in html and "≥" not in html
    assert ">LightGBM on composition alone: how far do chemical formulas go?</td>" in html
    request.getfixturevalue("undrawn")
    metrics = outputs / "small" / "exp003" / "metrics.json"
    metrics.write_text(json.dumps(json.loads(metrics.read_text()) | {"resumed_folds": [1]}))
    report.main(["001", "003", *where])
    assert (outputs / "small" / "report.html").read_text(encoding="utf-8").count(">≥ ") == 1
    report.main(["040", *where])  # an ensemble alone
    assert "nothing to blend" in (outputs / "small" / "report.html").read_text(encoding="utf-8")


def in_browser(html: str, folder: Path, script: str) -> str:
    """Return the page after its scripts and another one have run."""
    path = folder / "page.html"
    path.write_text(html.replace("</body>", f"<script>{script}</script></body>"), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1112,900", f"--user-data-dir={folder}"]
    command = [str(CHROMIUM), *options, "--virtual-time-budget=5000", "--dump-dom", path.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def on_a_phone(html: str, folder: Path, script: str) -> dict:
    """Return what a script posts from a page 390 pixels wide; no window is as narrow, but a frame in one is."""
    (folder / "framed.html").write_text(html.replace("</body>", f"<script>{script}</script></body>"), encoding="utf-8")
    frame = '<body><iframe src="framed.html" width="390" height="800" style="border: 0"></iframe></body>'
    shown = in_browser(f"<title></title>{frame}", folder, "onmessage = event => { document.title = event.data; };")
    return json.loads(unescape(re.search(r"<title>(.*?)</title>", shown)[1]))


TRY_OUT = """
setTimeout(() => {
  const find = selector => document.querySelector(selector), tip = find("#tip");
  const rows = () => [...find(".list tbody").rows].filter(row => row.offsetHeight).length;
  const found = {inner: innerWidth, scroll: document.documentElement.scrollWidth, all: rows()};
  const search = find("input");
  search.value = "EXP003 nequip";
  search.dispatchEvent(new Event("input"));
  found.left = rows();
  const over = (place, x, y) => place.dispatchEvent(new PointerEvent("pointerover", {clientX: x, clientY: y, bubbles: true}));
  over(find("td[data-tip]"), 50, 50);
  found.cell = tip.textContent;
  const canvas = find(".square canvas");
  canvas.scrollIntoView();
  setTimeout(() => {
    const at = canvas.getBoundingClientRect();
    over(canvas, at.left, at.top);
    found.hidden = tip.hidden;
    for (let x = at.left; x < at.right && tip.hidden; x += 9) for (let y = at.top; y < at.bottom && tip.hidden; y += 9)
      canvas.dispatchEvent(new PointerEvent("pointerdown", {clientX: x, clientY: y, pointerType: "touch", bubbles: true}));
    found.point = tip.textContent;
    parent.postMessage(JSON.stringify(found), "*");
  }, 500);
}, 500);
"""


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_on_a_phone_the_page_fits_is_searched_and_its_points_say_what_they_are(
    data: TaskData, outputs: Path, where: list[str], tmp_path: Path
) -> None:
    run(data)
    run(data, replace(GBDT, seed=5), "exp003")
    report.main(["001", "003", *where])
    html = (outputs / "small" / "report.html").read_text(encoding="utf-8")
    found = on_a_phone(html, tmp_path, TRY_OUT)
    assert found["inner"] == 390 and found["scroll"] <= 390
    assert (found["all"], found["left"]) == (2, 1)
    assert found["cell"] and found["hidden"]
    assert re.fullmatch(r"x-\d+\n\w+\ntruth .*\nexp00[13]: .*\nerror: .*", found["point"])


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_a_click_on_a_header_sorts_by_number_and_a_second_one_turns_it_round(tmp_path: Path) -> None:
    rows = [{"name": name, "value": value} for name, value in zip("abcd", ("10 ± 3", "≥ 9", "-2", ""), strict=True)]
    html = page("Sorting", [("Table", html_table(rows))])
    for clicks, order in ((1, "cbad"), (2, "dabc")):
        shown = in_browser(html, tmp_path, "document.querySelectorAll('th')[1].click();" * clicks)
        assert "".join(re.findall(r"<td>([abcd])</td>", shown)) == order


def test_a_column_is_one_of_numbers_only_if_all_its_texts_are() -> None:
    rows = [{"number": "≥ 3", "text": "3 of them"}, {"number": "", "text": "none"}]
    html = html_table(rows)
    assert '<th class="number">number</th><th>text</th>' in html


def test_no_name_of_a_point_ends_its_script() -> None:
    html = scatter([0, 1], {"": [0, 1]}, ["</script><b>", "b"], ("x", "y"), ["", ""])
    assert html.count("</script>") == 1
    data = re.search(r'<script type="application/json">(.*)</script>', html)[1]
    assert json.loads(data)["names"] == ["</script><b>", "b"]


def test_the_worst_crystals_are_among_those_that_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sections, "N_POINTS", 50)
    error = np.random.default_rng(0).random(400)
    shown = sections.chosen_crystals(error)
    assert len(shown) == 50 and (np.diff(shown) > 0).all()
    assert set(np.argsort(-error)[: sections.N_WORST]) <= set(shown)


def test_experiments_with_other_folds_are_on_the_page_and_not_in_its_blend(
    data: TaskData, outputs: Path, where: list[str], undrawn: None
) -> None:
    run(data)
    run(data, replace(GBDT, folds=replace(GBDT.folds, seed=7)), "exp003")
    report.main(["001", "003", *where])
    html = (outputs / "small" / "report.html").read_text(encoding="utf-8")
    assert ">exp001</td>" in html and ">exp003</td>" in html and "nothing to blend" in html


def test_texts_of_a_table_are_escaped() -> None:
    assert "&lt;b&gt;" in html_table([{"x": "a<b>"}])


def test_space_groups_are_the_known_ones() -> None:
    known = {"diamond": 227, "rock salt": 225, "bcc iron": 229, "rutile": 136, "wurtzite": 186, "perovskite": 221, "triclinic": 1}
    assert {name: space_group_number(CRYSTALS[name]) for name in known} == known


def test_crystals_are_described_by_name(data: TaskData) -> None:
    table = describe(data.train)
    assert list(table["id"]) == list(data.train.ids)
    assert set(table["crystal_system"]) <= set(SYSTEMS)
    assert (table["n_elements"] == 2).all() and (table["n_atoms"] == 2).all()


def table_of(crystals: list[Crystal], prefix: str) -> CrystalTable:
    ids = np.array([f"{prefix}-{i}" for i in range(len(crystals))])
    return CrystalTable(ids, Crystals.from_list(crystals), np.zeros(len(ids)))


def rock_salt(a: float, anion: int = 17) -> Crystal:
    """NaCl, or another anion by its atomic number; a: Angstrom."""
    known = CRYSTALS["rock salt"]
    numbers = np.where(known.atomic_numbers == 17, anion, known.atomic_numbers)
    return Crystal(known.lattice * a / 5.64, known.frac_coords, numbers)


def test_a_supercell_of_a_training_crystal_in_the_test_table_is_found() -> None:
    supercell = Crystal.from_structure(CRYSTALS["rock salt"].to_structure() * (1, 1, 2))
    train = table_of([CRYSTALS["rutile"], CRYSTALS["rock salt"], CRYSTALS["quartz"]], "train")
    (group,) = duplicate_groups(train, table_of([CRYSTALS["diamond"], supercell], "test"))
    assert set(group["id"]) == {"train-1", "test-1"}
    assert list(group["formula"]) == ["NaCl", "NaCl"]


def test_other_structures_of_a_formula_and_other_formulas_of_a_structure_are_no_duplicates() -> None:
    caesium_chloride = Crystal.from_structure(Structure(Lattice.cubic(3.5), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]))
    assert duplicate_groups(table_of([rock_salt(5.6)], "train"), table_of([caesium_chloride, rock_salt(5.6, 35)], "test")) == []


def test_crystals_of_one_formula_and_one_space_group_are_duplicates_only_if_they_match() -> None:
    known = CRYSTALS["triclinic"]
    moved = Crystal(known.lattice, np.random.default_rng(5).random((known.n_atoms, 3)), known.atomic_numbers)
    assert duplicate_groups(table_of([known], "train"), table_of([moved], "test")) == []
    (group,) = duplicate_groups(table_of([known, moved], "train"), table_of([known], "test"))
    assert set(group["id"]) == {"train-0", "test-0"}


def random_crystals(n: int, a: float, seed: int) -> list[Crystal]:
    rng = np.random.default_rng(seed)
    return [rock_salt(a + rng.random(), int(rng.choice([9, 17, 35, 53]))) for _ in range(n)]


def test_tables_drawn_alike_cannot_be_told_apart_and_larger_cells_can() -> None:
    train = table_of(random_crystals(150, 5.0, 0), "train")
    alike, _ = adversarial_auc(train, table_of(random_crystals(100, 5.0, 1), "test"))
    shifted, telling = adversarial_auc(train, table_of(random_crystals(100, 5.8, 2), "test"))
    assert alike.mean() < 0.65 < 0.8 < shifted.mean()
    assert "volume per atom" in telling or "shortest lattice vector" in telling


def test_an_element_that_only_test_crystals_have_is_named() -> None:
    train, test = table_of([rock_salt(5.6)], "train"), table_of([rock_salt(5.6, 35)], "test")
    assert missing_elements(train.crystals.element_counts, test.crystals.element_counts) == ["Br"]


def test_the_target_is_described_fold_by_fold() -> None:
    found = target_by_fold(np.array([1.0, 3.0, 10.0]), np.array([0, 0, 1]))
    assert list(found["count"]) == [2, 1] and list(found["mean"]) == [2, 10]


def test_the_command_names_a_crystal_that_is_in_both_tables(
    task_folder: Path, where: list[str], capsys: pytest.CaptureFixture
) -> None:
    rows = small_table(46)
    twin = rows[:1].assign(id="twin")
    write_task(task_folder, rows[:40], pd.concat([rows[40:], twin]))
    check_data.main(where)
    shown = capsys.readouterr().out
    assert "x-0 (train)" in shown and "twin (test)" in shown
    assert "AUC" in shown


@pytest.mark.parametrize("errors", [(0.0, 0.0), (0.0, 0.1), (0.1, 0.1), (0.1, 0.3)])
def test_elements_without_an_error_have_a_colour_too(errors: tuple[float, float]) -> None:
    values = np.full(N_ELEMENTS, np.nan)
    values[[8, 26]] = errors
    assert periodic_table(values, np.ones(N_ELEMENTS, dtype=np.int64), "eV").count("background:#") == 2
