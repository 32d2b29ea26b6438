"""One self-contained HTML page: tables to sort and search, points with labels, embedded pictures."""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.colors import LogNorm, to_hex
from numpy.typing import ArrayLike, NDArray
from pymatgen.core import Element

from src.data.crystal import N_ELEMENTS
from src.storage.files import to_bytes

STARTS_AS_NUMBER = re.compile(r"[≥<]? ?[+-]?\d")  # what a cell of a column of numbers begins with
LONG = 44  # characters; a longer text is cut in a table with one line a row
Section = tuple[str, str]  # heading and HTML
Cell = str | tuple[str, str]  # text; or text, and what hovering over it or a tap shows


def page(title: str, sections: Sequence[Section]) -> str:
    """Return the whole page."""
    links = "".join(f'<a href="#s{i}">{escape(heading)}</a>' for i, (heading, _) in enumerate(sections))
    parts = "\n".join(
        f'<section id="s{i}"><h2>{escape(heading)}</h2>\n{body}</section>' for i, (heading, body) in enumerate(sections)
    )
    style, script = (Path(__file__).with_name(f"page.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    heading = escape(title).replace("_", "_<wbr>")  # where a narrow screen may break it
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head>{head}<title>{escape(title)}</title><style>{style}</style></head>'
        f"<body><h1>{heading}</h1>\n<nav>{links}</nav>\n{parts}\n<script>{script}</script></body></html>\n"
    )


def note(text: str) -> str:
    """Return a paragraph of explanation."""
    return f'<p class="note">{escape(text)}</p>'


def tiles(facts: Mapping[str, str]) -> str:
    """Return the key figures in large type, each above its description. facts: description -> figure."""
    inside = "".join(f"<div><b>{escape(value)}</b>{escape(what)}</div>" for what, value in facts.items())
    return f'<div class="tiles">{inside}</div>'


def png_of(figure: plt.Figure) -> bytes:
    """Return a figure as a PNG image and close it."""
    content = to_bytes(lambda file: figure.savefig(file, format="png", dpi=150))
    plt.close(figure)
    return content


def pictures(figures: Mapping[str, plt.Figure]) -> str:
    """Return figures as embedded images, side by side if there is room. figures: caption -> figure."""
    images = []
    for alt, figure in figures.items():
        data = base64.b64encode(png_of(figure)).decode()
        width = round(100 * figure.get_figwidth())
        images.append(f'<img alt="{escape(alt)}" width="{width}" src="data:image/png;base64,{data}">')
    return f'<div class="panels">{"".join(images)}</div>'


def html_table(rows: Sequence[Mapping[str, Cell]], searchable: bool = False) -> str:
    """Return a table of texts by column; texts that begin with a number are sorted as numbers.

    searchable: with a box that filters the rows, one line per row; hovering over a truncated text shows all of it.
    """
    whole = [{name: (cell, "") if isinstance(cell, str) else cell for name, cell in row.items()} for row in rows]
    texts = {name: [row[name][0] for row in whole if row[name][0]] for name in whole[0]}
    kinds = {name: ' class="number"' * all(map(STARTS_AS_NUMBER.match, found)) for name, found in texts.items()}
    head = "".join(f"<th{kind}>{escape(name)}</th>" for name, kind in kinds.items())
    lines = []
    for row in whole:
        cells = ""
        for name, (text, more) in row.items():
            more = more or text * (searchable and len(text) > LONG)
            tip = f' data-tip="{escape(more)}"' if more else ""
            cells += f"<td{kinds[name]}{tip}>{escape(text)}</td>"
        lines.append(f"<tr>{cells}</tr>")
    search = f'<input type="search" placeholder="Search {len(rows)} rows" aria-label="Search">' if searchable else ""
    table = f"<table><thead><tr>{head}</tr></thead><tbody>\n" + "\n".join(lines) + "</tbody></table>"
    return f'{search}<div class="wide{" list" * searchable}">{table}</div>'


def scatter(
    x: ArrayLike,
    y: Mapping[str, ArrayLike],
    names: Sequence[str],
    labels: tuple[str, str],
    groups: Sequence[str],
    log: tuple[bool, bool] = (False, False),
    square: bool = False,
    front: Sequence[int] = (),
) -> str:
    """Return a scatter plot in which the point nearest to the pointer or the finger shows its name and numbers.

    x: (n,). y: choice -> (n,); if there are several, the reader chooses one. names, groups: of each point. labels: of the axes.
    square: both axes are alike, with a diagonal. front: points that are joined and named.
    """

    def rounded(values: ArrayLike) -> list[float]:
        return [float(f"{value:.5g}") for value in np.asarray(values, dtype=np.float64)]

    kinds = sorted(set(groups), key=lambda kind: -list(groups).count(kind))
    data = {
        "x": rounded(x),
        "y": {name: rounded(values) for name, values in y.items()},
        "names": list(names),
        "labels": labels,
        "groups": [kinds.index(group) for group in groups],
        "log": log,
        "square": square,
        "front": list(front),
    }
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")  # no name closes the script
    options = "".join(f"<option>{escape(name)}</option>" for name in y)
    keys = [
        f'<span class="key"><b style="color:var(--{"abc"[i % 3]})">●</b> {escape(kind)}</span>' for i, kind in enumerate(kinds)
    ]
    return (
        f'<div class="scatter{" square" * square}"><select aria-label="Experiment"{" hidden" * (len(y) == 1)}>{options}</select>'
        f'<canvas></canvas><script type="application/json">{text}</script>{"".join(keys) if len(kinds) > 1 else ""}</div>'
    )


def periodic_table(values: NDArray[np.float64], counts: NDArray[np.int64], unit: str) -> str:
    """Return a periodic table with a colour for each element that has a value, and the number of its crystals.

    values, counts: (N_ELEMENTS,); NaN for no value.
    """
    finite = values[np.isfinite(values)]
    low = finite[finite > 0].min(initial=finite.max() or 1.0)  # an error can be zero
    norm, colors, cells = LogNorm(low, max(1.01 * low, finite.max()), clip=True), plt.get_cmap("cividis_r"), []
    for z in range(1, min(N_ELEMENTS, 104)):
        element = Element.from_Z(z)
        is_below = element.is_lanthanoid or element.is_actinoid
        row, column = (9 + (z > 88), z - (57 if z < 72 else 89) + 3) if is_below else (element.row, element.group)
        style, more, tip = f"grid-area:{row}/{column}", "", ""
        if np.isfinite(values[z]):
            color = colors(float(norm(values[z])))
            ink = "#000" if np.dot(color[:3], (0.299, 0.587, 0.114)) > 0.5 else "#fff"
            style += f";background:{to_hex(color)};color:{ink}"
            more = f"<small>{counts[z]}</small>"
            tip = f' data-tip="{element.long_name}: {values[z]:.4g} {unit}\n{counts[z]} crystals"'
        cells.append(f'<div style="{style}"{tip}>{element.symbol}{more}</div>')
    return f'<div class="elements">{"".join(cells)}</div>'
