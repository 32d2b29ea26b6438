"""One self-contained HTML page: pictures inside, a few lines of script to sort tables."""

import base64
import io
import re
from collections.abc import Mapping, Sequence
from html import escape

from matplotlib import pyplot as plt

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; max-width: 1080px; margin: 2em auto; padding: 0 1em; }
h2 { margin-top: 2.2em; border-bottom: 1px solid #bbb; }
img { max-width: 100%; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: 3px 7px; text-align: left; border-bottom: 1px solid #ddd; }
th.number, td.number { text-align: right; }
td.number { white-space: nowrap; }
th { cursor: pointer; background: #eee; }
th[data-order]::after { content: attr(data-order); }
.wide { overflow-x: auto; }
.note { color: #555; }
"""
SCRIPT = """
for (const head of document.querySelectorAll("th")) head.addEventListener("click", () => {
  const table = head.closest("table"), body = table.tBodies[0], column = head.cellIndex;
  const down = head.dataset.order === " \\u25b2";
  for (const other of table.querySelectorAll("th")) delete other.dataset.order;
  head.dataset.order = down ? " \\u25bc" : " \\u25b2";
  const key = row => row.cells[column].textContent.trim();
  const number = text => text === "" ? Infinity : parseFloat(text.replace(/^[\\u2265<] ?/, ""));
  const rows = [...body.rows].sort((a, b) => {
    const [x, y] = [key(a), key(b)], difference = number(x) - number(y);
    return Number.isNaN(difference) ? x.localeCompare(y) : difference;
  });
  body.append(...(down ? rows.reverse() : rows));
});
"""
STARTS_AS_NUMBER = re.compile(r"[≥<]? ?[+-]?\d")  # what a cell of a column of numbers begins with
Section = tuple[str, str]  # heading and HTML


def page(title: str, sections: Sequence[Section]) -> str:
    """Return the whole page."""
    parts = "\n".join(f"<section><h2>{escape(heading)}</h2>\n{body}</section>" for heading, body in sections)
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>'
        f"<body><h1>{escape(title)}</h1>\n{parts}\n<script>{SCRIPT}</script></body></html>\n"
    )


def note(text: str) -> str:
    """Return a paragraph of explanation."""
    return f'<p class="note">{escape(text)}</p>'


def picture(figure: plt.Figure, alt: str) -> str:
    """Return the figure as an image inside the page."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    plt.close(figure)
    return f'<img alt="{escape(alt)}" src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}">'


def html_table(rows: Sequence[Mapping[str, str]]) -> str:
    """Return a table of texts by column; they are sorted as numbers if they begin with one."""
    texts = {name: next(filter(None, (row[name] for row in rows)), "") for name in rows[0]}
    kinds = {name: ' class="number"' if STARTS_AS_NUMBER.match(text) else "" for name, text in texts.items()}
    head = "".join(f"<th{kind}>{escape(name)}</th>" for name, kind in kinds.items())
    body = "\n".join(f"<tr>{''.join(f'<td{kinds[name]}>{escape(text)}</td>' for name, text in row.items())}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>'
