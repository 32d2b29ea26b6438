"""Drawings of crystal structures. pymatviz draws with plotly, whose static pictures need a browser."""

from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Element

from src.data.crystal import Crystal

Values = NDArray[np.float64]
ELECTRONEGATIVITY = {e.symbol: float(e.data["X"]) for e in Element if e.data.get("X")}  # Pauling's, 0.7 to 4
VIEW = np.array([1.0, 0.25, 0.15])  # nearly along the first lattice vector
CORNERS = np.array(list(product((0, 1), repeat=3)))
MARGIN = 15  # pixels


def structure_svg(crystal: Crystal, size: int = 110) -> str:
    """Return a drawing of the cell and its atoms: circles by atomic radius, darker for more electropositive elements."""
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
