"""One HTML page that needs nothing beside itself: pictures inside, a few lines of script to sort tables."""

import base64
import io
from collections.abc import Sequence
from html import escape

import numpy as np
from matplotlib import pyplot as plt
from pymatgen.core import Element

from src.data.crystal import Crystal

ELECTRONEGATIVITY = {e.symbol: float(e.data["X"]) for e in Element if e.data.get("X")}  # Pauling's, 0.7 to 4
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; max-width: 1080px; margin: 2em auto; padding: 0 1em; }
h2 { margin-top: 2.2em; border-bottom: 1px solid #bbb; }
img { max-width: 100%; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: 3px 9px; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap; }
th:first-child, td:first-child, td.text, th.text { text-align: left; white-space: normal; }
table.sortable th { cursor: pointer; background: #eee; }
table.sortable th[data-order]::after { content: attr(data-order); }
.wide { overflow-x: auto; }
.note { color: #555; }
"""
SCRIPT = """
for (const head of document.querySelectorAll("table.sortable th")) head.addEventListener("click", () => {
  const table = head.closest("table"), body = table.tBodies[0], column = head.cellIndex;
  const down = head.dataset.order === " \\u25b2";
  for (const other of table.querySelectorAll("th")) delete other.dataset.order;
  head.dataset.order = down ? " \\u25bc" : " \\u25b2";
  const key = row => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
  const rows = [...body.rows].sort((a, b) => {
    const [x, y] = [key(a), key(b)], difference = (x === "" ? Infinity : +x) - (y === "" ? Infinity : +y);
    return Number.isNaN(difference) ? x.localeCompare(y) : difference;
  });
  body.append(...(down ? rows.reverse() : rows));
});
"""


def page(title: str, sections: Sequence[tuple[str, str]]) -> str:
    """The whole page. sections: heading and HTML of each."""
    parts = "\n".join(f"<section><h2>{escape(heading)}</h2>\n{body}</section>" for heading, body in sections)
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>'
        f"<body><h1>{escape(title)}</h1>\n{parts}\n<script>{SCRIPT}</script></body></html>\n"
    )


def note(text: str) -> str:
    """A paragraph of explanation."""
    return f'<p class="note">{escape(text)}</p>'


def picture(figure: plt.Figure, alt: str) -> str:
    """The figure as an image inside the page."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    plt.close(figure)
    return f'<img alt="{escape(alt)}" src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}">'


def html_table(header: Sequence[str], rows: Sequence[Sequence[str | tuple[str, float]]], sortable: bool = False) -> str:
    """A table; a cell is a text, or a text and the number to sort by. Texts that start with `<` are HTML."""

    def cell(value: str | tuple[str, float]) -> str:
        text, number = value if isinstance(value, tuple) else (value, None)
        shown = text if text.startswith("<") else escape(text)
        key = "" if number is None else f' data-value="{number if np.isfinite(number) else ""}"'
        return f"<td{key}>{shown}</td>"

    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "\n".join(f"<tr>{''.join(cell(value) for value in row)}</tr>" for row in rows)
    kind = ' class="sortable"' if sortable else ""
    return f'<div class="wide"><table{kind}><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>'


def structure_svg(crystal: Crystal, size: int = 110) -> str:
    """A drawing of the cell and its atoms, seen from a little beside the first lattice vector; circles by atomic radius, darker
    for more electropositive elements."""
    lattice = crystal.lattice
    forward = lattice[0] / np.linalg.norm(lattice[0]) + 0.25 * lattice[1] / np.linalg.norm(lattice[1])
    forward = (forward + 0.15 * lattice[2] / np.linalg.norm(lattice[2])) / np.linalg.norm(forward)
    forward /= np.linalg.norm(forward)
    up = lattice[2] - (lattice[2] @ forward) * forward
    up /= np.linalg.norm(up)
    view = np.stack([np.cross(up, forward), -up, forward])
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    flat = (corners @ lattice) @ view.T
    low, high = flat.min(axis=0)[:2], flat.max(axis=0)[:2]
    scale = (size - 30) / max(high - low)
    shift = size / 2 - scale * (low + high) / 2

    parts = []
    for i, a in enumerate(corners):
        for j, b in enumerate(corners[:i]):
            if np.abs(a - b).sum() == 1:
                (x1, y1), (x2, y2) = (scale * flat[n, :2] + shift for n in (i, j))
                parts.append(f'<line x1="{x1:.0f}" y1="{y1:.0f}" x2="{x2:.0f}" y2="{y2:.0f}" stroke="#999"/>')
    atoms = (crystal.frac_coords % 1.0) @ lattice @ view.T
    for i in np.argsort(atoms[:, 2]):
        element = Element.from_Z(int(crystal.atomic_numbers[i]))
        x, y = scale * atoms[i, :2] + shift
        radius = min(13.0, max(5.5, 4.5 * float(element.atomic_radius or 1.4)))
        light = int(60 + 45 * ELECTRONEGATIVITY.get(element.symbol, 2.0))
        ink = "#000" if light > 140 else "#fff"
        fill = f"rgb({light},{light},{min(255, light + 20)})"
        parts.append(
            f'<circle cx="{x:.0f}" cy="{y:.0f}" r="{radius:.0f}" fill="{fill}" stroke="#333"/>'
            f'<text x="{x:.0f}" y="{y + 3:.0f}" font-size="9" text-anchor="middle" fill="{ink}">{element.symbol}</text>'
        )
    return f'<svg width="{size}" height="{size}" viewBox="0 0 {size} {size}" role="img">{"".join(parts)}</svg>'
