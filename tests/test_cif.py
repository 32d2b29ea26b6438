"""Laws of the fast reader of plain CIFs: it agrees with pymatgen's parser to the last bit, or leaves the text to it."""

import csv
import gzip
import math
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Element, Lattice, Structure

from src.data.cif import parse_cif, read_plain
from src.data.crystal import Crystal
from src.paths import DEFAULT_TASK

N_COMPARED = 150
PLAIN = Structure(Lattice.from_parameters(4, 5, 6, 80, 90, 100), ["O", "Na", "Cl"], [[0, 0, 0], [0.5] * 3, [0.25, 0.6, 0.9]])
TEXT = PLAIN.to(fmt="cif")
SYMBOLS = [e.symbol for e in Element if not math.isnan(e.data.get("X") or math.nan)]


def same(text: str) -> bool:
    """Return whether both readers make the same crystal, to the last bit."""
    plain, crystal = read_plain(text), Crystal.from_structure(parse_cif(text))
    assert plain is not None
    return all(x.tobytes() == y.tobytes() for x, y in zip(plain, vars(crystal).values(), strict=True))


@cache
def cifs() -> list[str]:
    """Return CIFs of the embedded data, evenly from the whole table."""
    with gzip.open(DEFAULT_TASK / "train.csv.gz", "rt", newline="") as file:
        texts = [row["cif"] for row in csv.DictReader(file)]
    return texts[:: len(texts) // N_COMPARED]


def test_real_cifs_are_read_as_the_parser_reads_them() -> None:
    assert [same(text) for text in cifs()] == [True] * len(cifs())


@pytest.mark.parametrize("symbols", [SYMBOLS[i::12] for i in range(12)], ids=" ".join)  # longer formulas are not on one line
def test_atoms_of_all_elements_are_sorted_as_the_parser_sorts_them(symbols: list[str]) -> None:
    places = [[i / len(symbols), (i % 7) / 7, 0.5] for i in range(len(symbols))]
    lines = Structure(Lattice.cubic(40), symbols, places).to(fmt="cif").splitlines(keepends=True)
    n = len(symbols)
    assert same("".join(lines[:-n] + lines[: -n - 1 : -1]))


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    st.sampled_from(["0.3333", "0.66670", "0.33328", "0.6668", "-0.33333333", "1.33333333", "-0.0", "0.00000001", "-0.00000001"])
    | st.floats(-20, 20).map("{:.8f}".format)
)
def test_a_coordinate_is_what_the_parser_makes_of_it(coordinate: str) -> None:
    assert same(TEXT.replace("0.25000000", coordinate))


CHANGES = {
    "a second operation": ("  1  'x, y, z'\n", "  1  'x, y, z'\n  2  '-x, -y, -z'\n"),
    "half an atom": ("0.90000000  1", "0.90000000  0.5"),
    "an uncertainty": ("0.25000000", "0.2500(1)"),
    "a charge": ("  Na  ", "  Na+  "),
    "an unknown element": ("  Na  ", "  Xx  "),
    "an element without electronegativity": ("  Na  ", "  Ne  "),
    "a further column": (" _atom_site_occupancy\n", " _atom_site_occupancy\n _atom_site_B\n"),
    "a further line": ("_cell_volume", "_refine_ls_R 0.1\n_cell_volume"),
    "no length": ("_cell_length_b   5.00000000\n", ""),
    "a length twice": ("_cell_length_b   5.00000000\n", "_cell_length_b   5.00000000\n_cell_length_b   6.00000000\n"),
    "a length of zero": ("_cell_length_b   5.00000000\n", "_cell_length_b   0.00000000\n"),
    "angles of no cell": ("_cell_angle_alpha   80.00000000\n", "_cell_angle_alpha   179.00000000\n"),
    "another space group": ("'P 1'", "'P -1'"),
    "two structures": ("data_", f"{TEXT}data_"),
    "no atoms": (TEXT[TEXT.index("  Na") :], ""),
    "a line end within a comment": ("pymatgen\n", "pymatgen\rdata_other\n"),
}


@pytest.mark.parametrize(("old", "new"), CHANGES.values(), ids=CHANGES)
def test_what_is_not_plain_is_left_to_the_parser(old: str, new: str) -> None:
    assert read_plain(TEXT) is not None
    assert old in TEXT
    assert read_plain(TEXT.replace(old, new, 1)) is None


def test_what_is_wrong_with_a_plain_crystal_is_said_by_the_parser() -> None:
    twice = TEXT.replace("0.25000000  0.60000000  0.90000000", "0.50000000  0.50000000  0.50000000")
    with pytest.raises(ValueError) as of_the_parser:
        parse_cif(twice)
    with pytest.raises(ValueError) as of_both:
        Crystal.from_cif(twice)
    assert str(of_both.value) == str(of_the_parser.value)
