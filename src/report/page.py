"""One self-contained HTML page: pictures and drawings of crystals inside, a few lines of script to sort tables."""

import base64
import io
from collections.abc import Sequence
from html import escape
from itertools import combinations, product

import numpy as np
from matplotlib import pyplot as plt
from numpy.typing import NDArray
from pymatgen.core import Element

from src.data.crystal import Crystal

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; max-width: 1080px; margin: 2em auto; padding: 0 1em; }
h2 { margin-top: 2.2em; border-bottom: 1px solid #bbb; }
img { max-width: 100%; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: 3px 7px; text-align: left; border-bottom: 1px solid #ddd; }
th.number, td.number { text-align: right; }
td.number { white-space: nowrap; }
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
NUMBER_CLASS = ' class="number"'
Section = tuple[str, str]  # heading and HTML
Values = NDArray[np.float64]
Cell = str | tuple[str, float]  # a text, or a text and the number to sort by
ELECTRONEGATIVITY = {e.symbol: float(e.data["X"]) for e in Element if e.data.get("X")}  # Pauling's, 0.7 to 4
VIEW = np.array([1.0, 0.25, 0.15])  # nearly along the first lattice vector
CORNERS = np.array(list(product((0, 1), repeat=3)))
MARGIN = 15  # pixels


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


def html_table(header: Sequence[str], rows: Sequence[Sequence[Cell]], sortable: bool = False) -> str:
    """Return a table; cells that start with `<` are HTML."""
    numbers = [isinstance(cell, tuple) for cell in rows[0]]
    head = "".join(f"<th{NUMBER_CLASS if n else ''}>{escape(name)}</th>" for name, n in zip(header, numbers, strict=True))
    body = "\n".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    kind = ' class="sortable"' if sortable else ""
    return f'<div class="wide"><table{kind}><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>'


def _cell(value: Cell) -> str:
    if isinstance(value, str):
        return f"<td>{value if value.startswith('<') else escape(value)}</td>"
    text, number = value
    return f'<td{NUMBER_CLASS} data-value="{number if np.isfinite(number) else ""}">{escape(text)}</td>'


def structure_svg(crystal: Crystal, size: int = 110) -> str:
    """Return a drawing of the cell and its atoms: circles by atomic radius, darker for more electropositive elements.

    pymatviz draws with plotly, whose static pictures need a browser.
    """
    view = _view(crystal.lattice)
    corners = CORNERS @ crystal.lattice @ view.T
    low, high = corners.min(axis=0)[:2], corners.max(axis=0)[:2]
    scale = (size - 2 * MARGIN) / max(high - low)
    shift = np.append(size / 2 - scale * (low + high) / 2, 0)
    atoms = (crystal.frac_coords % 1.0) @ crystal.lattice @ view.T
    parts = _edges(scale * corners + shift)
    parts += [_circle(int(crystal.atomic_numbers[i]), scale * atoms[i] + shift) for i in np.argsort(atoms[:, 2])]
    return f'<svg width="{size}" height="{size}" viewBox="0 0 {size} {size}" role="img">{"".join(parts)}</svg>'


def _view(lattice: Values) -> Values:
    """Return the axes of the view as rows, (3, 3): right, down and towards the viewer; the third lattice vector points up."""
    forward = VIEW @ (lattice / np.linalg.norm(lattice, axis=1, keepdims=True))
    forward /= np.linalg.norm(forward)
    up = lattice[2] - (lattice[2] @ forward) * forward
    up /= np.linalg.norm(up)
    return np.stack([np.cross(up, forward), -up, forward])


def _edges(corners: Values) -> list[str]:
    """Return the lines of the cell. corners: (8, 3), pixels, in the order of CORNERS."""
    lines = []
    for i, j in combinations(range(len(CORNERS)), 2):
        if np.abs(CORNERS[i] - CORNERS[j]).sum() == 1:
            (x1, y1), (x2, y2) = corners[[i, j], :2]
            lines.append(f'<line x1="{x1:.0f}" y1="{y1:.0f}" x2="{x2:.0f}" y2="{y2:.0f}" stroke="#999"/>')
    return lines


def _circle(atomic_number: int, place: Values) -> str:
    """Return the circle of an atom with its symbol. place: (3,), pixels."""
    element = Element.from_Z(atomic_number)
    radius = min(13.0, max(5.5, 4.5 * float(element.atomic_radius or 1.4)))
    light = int(60 + 45 * ELECTRONEGATIVITY.get(element.symbol, 2.0))
    ink = "#000" if light > 140 else "#fff"
    fill = f"rgb({light},{light},{min(255, light + 20)})"
    return (
        f'<circle cx="{place[0]:.0f}" cy="{place[1]:.0f}" r="{radius:.0f}" fill="{fill}" stroke="#333"/>'
        f'<text x="{place[0]:.0f}" y="{place[1] + 3:.0f}" font-size="9" text-anchor="middle" fill="{ink}">{element.symbol}</text>'
    )
