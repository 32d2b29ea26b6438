"""CIF in the layout that pymatgen writes for a cell without symmetry -> its lattice and atoms, without pymatgen's parser.

Most tables of structures, FLLA's among them, hold nothing else. Reading it here takes a tenth of the time, and the parser takes
half a second to import. The numbers are the parser's (src/data/cif.py) to the last bit; any text of which that is not certain is
left to the parser.
"""

import re
from functools import cache
from math import floor, isclose

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Element, Lattice

MAX_ATOMS = 2_000  # of a cell, after symmetry is applied
THIRDS = (1 / 3, 2 / 3)
TOLERANCE = 1e-4  # within which the ratio of a coordinate to a third is taken for one, as pymatgen does
PARAMETERS = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
DECIMAL = r"\d{1,9}\.\d{1,16}"
PLACE = r"  (-?\d{1,3}\.\d{1,16})"
CELL_LINE = re.compile(rf"^_cell_({'|'.join(PARAMETERS)}) +({DECIMAL})\n", re.MULTILINE | re.ASCII)
SITE = re.compile(rf"^  ([A-Z][a-z]?)  \w+  1{PLACE * 3}  1(?:\.0)?\n", re.MULTILINE | re.ASCII)
LAYOUT = re.compile(
    rf"""(?:\#[ -~]*\n)*
    data_[\w()]{{1,200}}\n
    (?P<head>(?:
        _symmetry_space_group_name_H-M[ ]+'P[ ]1'\n | _symmetry_Int_Tables_number[ ]+1\n
        | _cell_(?:{"|".join(PARAMETERS)}|volume)[ ]+{DECIMAL}\n | _cell_formula_units_Z[ ]+\d+\n
        | _chemical_formula_(?:structural|sum)[ ]+(?:'[\w ()]{{1,500}}'|[\w()]{{1,500}})\n
    )+)
    loop_\n [ ]_symmetry_equiv_pos_site_id\n [ ]_symmetry_equiv_pos_as_xyz\n [ ][ ]1[ ][ ]'x,[ ]y,[ ]z'\n
    loop_\n [ ]_atom_site_type_symbol\n [ ]_atom_site_label\n [ ]_atom_site_symmetry_multiplicity\n
    [ ]_atom_site_fract_x\n [ ]_atom_site_fract_y\n [ ]_atom_site_fract_z\n [ ]_atom_site_occupancy\n
    (?P<sites>(?:[ ][ ][A-Z][^\n]*\n)+) \n*""",
    re.VERBOSE | re.ASCII,
)


def read_plain(text: str) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]] | None:
    """Return lattice (3, 3), Angstrom, fractional coordinates (n_atoms, 3) and atomic numbers (n_atoms,), or None.

    Atoms are in pymatgen's order. Whether the crystal is a sound one is not checked.
    """
    layout = LAYOUT.fullmatch(text)
    if layout is None:
        return None
    cell, sites = CELL_LINE.findall(layout["head"]), SITE.findall(layout["sites"])
    numbers = [_atomic_number(symbol) for symbol, *_ in sites]
    if len(sites) != layout["sites"].count("\n") or len(sites) > MAX_ATOMS or None in numbers:
        return None
    lattice = _lattice(dict(cell)) if len(cell) == len(PARAMETERS) else None
    if lattice is None:
        return None
    order = sorted(range(len(sites)), key=lambda i: _place(sites[i][0]))
    frac = [[_in_cell(float(x)) for x in sites[i][1:]] for i in order]
    return lattice, np.array(frac), np.array([numbers[i] for i in order], dtype=np.int64)


def _lattice(cell: dict[str, str]) -> NDArray[np.float64] | None:
    """Return the lattice vectors; None if a parameter is missing or no cell has them all."""
    parameters = [float(cell.get(name, 0)) for name in PARAMETERS]
    if min(parameters) == 0 or max(parameters[3:]) >= 180:
        return None
    lattice = Lattice.from_parameters(*parameters)
    return lattice.matrix if np.allclose(lattice.parameters, parameters, rtol=1e-3, atol=0) else None


@cache
def _atomic_number(symbol: str) -> int | None:
    """Return the atomic number; None for what is no element, or for one without electronegativity, whose place is uncertain."""
    element = Element(symbol) if Element.is_valid_symbol(symbol) else None
    return None if element is None or _place(symbol)[0] == 0 else element.Z


@cache
def _place(symbol: str) -> tuple[float, str]:
    """Return the key by which pymatgen sorts sites; the electronegativity is 0 if it does not know any."""
    electronegativity = Element(symbol).data.get("X")
    return electronegativity or 0.0, symbol


def _in_cell(x: float) -> float:
    """Return a fractional coordinate as pymatgen's parser does: thirds exactly, and from 0 to 1."""
    x = next((third for third in THIRDS if isclose(x / third, 1, rel_tol=0, abs_tol=TOLERANCE)), x + 0.0)
    return x - floor(x)
