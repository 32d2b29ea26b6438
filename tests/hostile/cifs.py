"""Bad CIFs, in the fourth row of a table without other columns to check them against."""

import io
from collections.abc import Sequence

import numpy as np
import pandas as pd
from place import Bad, Outcome, Place

HEAD = """data_NaCl
_cell_length_a 5.0
_cell_length_b 5.0
_cell_length_c 5.0
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
"""
SITES = """loop_
 _atom_site_type_symbol
 _atom_site_label
 _atom_site_fract_x
 _atom_site_fract_y
 _atom_site_fract_z
 _atom_site_occupancy
"""
ATOMS = (" Na Na0 0.0 0.0 0.0 1", " Cl Cl1 0.5 0.5 0.5 1")


def cif(atoms: Sequence[str] = ATOMS, operations: Sequence[str] = ("x, y, z",), a: float = 5.0) -> str:
    """Return the text of a CIF with a cubic cell of length a, in Angstrom."""
    symmetry = "loop_\n _symmetry_equiv_pos_as_xyz\n" + "".join(f" '{operation}'\n" for operation in operations)
    return HEAD.replace("5.0", str(a)) + symmetry + SITES + "\n".join(atoms) + "\n"


def random_atoms(n: int) -> list[str]:
    return [f" Na Na{i} {x:.6f} {y:.6f} {z:.6f} 1" for i, (x, y, z) in enumerate(np.random.default_rng(0).random((n, 3)))]


def grid_of_atoms(n: int) -> list[str]:
    """Return n^3 atoms on a regular grid."""
    return [f" Na Na{i} {x / n:.6f} {y / n:.6f} {z / n:.6f} 1" for i, (x, y, z) in enumerate(np.ndindex(n, n, n))]


def place_cif(place: Place, text: str) -> None:
    rows = pd.read_csv(io.StringIO(place.text("train")), dtype=str, keep_default_na=False)
    rows.loc[3, "cif"] = text
    place.write("train", rows[["id", "cif", "formation_energy_per_atom"]].to_csv(index=False).encode())


def bad(name: str, text: str, *words: str, outcome: Outcome = "refused") -> Bad:
    always = ("train.csv.gz", "record 5, 'x-3'", "'cif'", "correct them, or leave them out with --skip-bad-rows")
    return Bad("cif", name, lambda place: place_cif(place, text), (*always, *words), outcome=outcome)


GOOD = cif()
assert "Na0 0.0 " in GOOD
WITHOUT_CELL = "no crystal in the CIF"
ENTRIES = [
    bad("empty", "", "0 structures, expected one"),
    bad("prose", "no cif at all", "0 structures, expected one"),
    bad("JSON", '{"lattice": [[1, 0, 0]]}', "0 structures, expected one"),
    bad("cut off in the loop of atoms", GOOD[: GOOD.index("Cl1") + 8], "not a CIF"),
    bad("cut off before the atoms", GOOD[: GOOD.index(" Na Na0")], "not a CIF"),
    bad("no cell", GOOD.replace("_cell_", "_shell_"), WITHOUT_CELL),
    bad("a cell length missing", GOOD.replace("_cell_length_b 5.0\n", ""), WITHOUT_CELL),
    bad("a length of zero", GOOD.replace("_a 5.0", "_a 0.0"), "no volume", "_cell_length_a is 0.0"),
    bad("a negative length", GOOD.replace("_a 5.0", "_a -5.0"), "no volume", "_cell_length_a is -5.0"),
    bad("a length that is NaN", GOOD.replace("_a 5.0", "_a nan"), "no volume", "_cell_length_a is nan"),
    bad("an infinite length", GOOD.replace("_a 5.0", "_a inf"), "no volume", "_cell_length_a is inf"),
    bad("a length in words", GOOD.replace("_a 5.0", "_a five"), "no volume", "_cell_length_a is five"),
    bad("an angle of zero", GOOD.replace("gamma 90", "gamma 0"), "no volume", "_cell_angle_gamma is 0"),
    bad("an angle of 180", GOOD.replace("gamma 90", "gamma 180"), "no volume", "_cell_angle_gamma is 180"),
    bad("angles that no cell has", GOOD.replace("gamma 90", "gamma 170").replace("alpha 90", "alpha 20"), "no c"),
    bad("three angles of 120", GOOD.replace(" 90", " 120"), "no"),
    bad("a cell thinner than an atom", GOOD.replace("_a 5.0", "_a 0.1"), "Angstrom thick"),
    bad("a cell of a micrometre", cif(a=1e4), "vectors of up to 1e+04 Angstrom"),
    bad("an empty box", cif(a=200), "4e+06 Angstrom^3 per atom"),
    bad("partial occupancy", GOOD.replace("0.5 1", "0.5 0.5"), outcome="accepted"),
    bad("two elements at one site", cif([" Na Na0 0 0 0 0.5", " K K1 0 0 0 0.5"]), outcome="accepted"),
    bad("two elements at one site that is too small", cif([" Na Na0 0 0 0 0.7", " K K1 0 0 0 0.5"]), "occupancies that sum to"),
    bad("halves of one atom", cif([" Na Na0 0 0 0 0.5", " Na Na1 0 0 0 0.5"]), outcome="accepted"),
    bad("occupancy zero", GOOD.replace("0.5 1", "0.5 0"), "site 'Cl1': occupancy 0"),
    bad("occupancy NaN", GOOD.replace("0.5 1", "0.5 nan"), "site 'Cl1': occupancy nan"),
    bad("occupancy above one", GOOD.replace("0.5 1", "0.5 2"), "site 'Cl1': occupancy 2"),
    bad("coincident atoms", cif([" Na Na0 0 0 0 1", " Cl Cl1 0 0 0 1"]), "coincident atoms"),
    bad("a duplicated atom", cif([*ATOMS, ATOMS[0]]), "coincident atoms"),
    bad("atoms too near", cif([" Na Na0 0 0 0 1", " Cl Cl1 0.999 0 0 1"]), "coincident atoms: 1 and 2 are 0.005 Angstrom apart"),
    bad("an unknown element", GOOD.replace("Cl Cl1", "Xx Xx1"), "site 'Xx1'", "element symbol"),
    bad("an element that begins like another", GOOD.replace("Cl Cl1", "Nz Nz1"), "site 'Nz1'", "element symbol"),
    bad("a vacancy", GOOD.replace("Cl Cl1", "? V1"), "site 'V1'", "element symbol"),
    bad("a coordinate that is NaN", GOOD.replace("Na0 0.0", "Na0 nan"), "site 'Na0'", "'nan', not a fractional coordinate"),
    bad("an infinite coordinate", GOOD.replace("Na0 0.0", "Na0 inf"), "site 'Na0'", "not a fractional coordinate"),
    bad("a coordinate of 1e300", GOOD.replace("Na0 0.0", "Na0 1e300"), "site 'Na0'", "not a fractional coordinate"),
    bad("a dot for a coordinate", GOOD.replace("Na0 0.0", "Na0 ."), "site 'Na0'", "'.', not a fractional coordinate"),
    bad("a coordinate in other digits", GOOD.replace("Na0 0.0", "Na0 0.\u0662"), "site 'Na0'", "not a fractional coordinate"),
    bad("no z coordinates", GOOD.replace("_fract_z", "_fract_w"), "no loop with _atom_site_fract_z"),
    bad("an atom outside of a loop", HEAD + "_atom_site_label C\n_atom_site_fract_x 0\n", "no loop with _atom_site_label"),
    bad("two structures", GOOD + GOOD.replace("data_NaCl", "data_KCl"), "2 structures, expected one"),
    bad("two structures of one name", GOOD + GOOD, "2 data blocks with 1 different names"),
    bad("a stretch as an operation", cif(operations=["2x, 2y, 2z"]), "'2x, 2y, 2z' is not a symmetry operation"),
    bad("an operation divided by zero", cif(operations=["1/0x, y, z"]), "is not a symmetry operation"),
    bad("an operation that is unreadable", cif(operations=["x, y, z", "1.2.3x, y, z"]), "is not a symmetry operation"),
    bad("a bomb of 15,000 operations", cif(operations=["x, y, z"] * 15_000), "15000 symmetry operations; the limit is 400"),
    bad("a bomb of magnetic operations", GOOD + "".join(
        f"loop_\n _space_group_symop_magn_{part}.xyz\n" + " x,y,z,+1\n" * 300 for part in ("operation", "centering")
    ), "90000 symmetry operations; the limit is 400"),
    bad("a bomb of sites times operations", cif(random_atoms(400), ["x, y, z"] * 300, 40), "120000 images"),
    bad("a bomb of sites under a space group", cif(random_atoms(400), [], 40).replace(
        "loop_\n _symmetry_equiv_pos_as_xyz\n", "_symmetry_space_group_name_H-M 'F m -3 m'\n"), "76800 images"),
    bad("3,375 atoms", cif(grid_of_atoms(15), a=45), "3375 sites; the limit is 2000 atoms"),
    bad("a megabyte of comment", GOOD + "# la la la\n" * 60_000, "the limit is 500000"),
    bad("a line of 100,000 characters", GOOD + f"_comment {'z' * 100_000}\n", "the format allows 2048"),
    bad("a bomb of quotes", GOOD + ("_x " + "'" * 2000 + "\n") * 240, "not a fractional", outcome="accepted"),
    bad("a bomb of blank lines", GOOD.replace("\n", "\n" * 20_000, 20), outcome="accepted"),
    bad("a bomb of data blocks", "".join(f"data_{i}\n" for i in range(40_000)) + GOOD, "40001 data blocks"),
    bad("a bomb of brackets", GOOD + "_chemical_formula_sum '" + "(Na" * 400 + ")" * 400 + "'\n", outcome="accepted"),
    bad("1,000 atoms", cif(grid_of_atoms(10), a=30), outcome="accepted"),
    bad("deuterium, which counts as hydrogen", cif([" D D0 0 0 0 1", " O O1 0.5 0.5 0.5 1"]), outcome="accepted"),
    bad("Windows line ends and a BOM", "\ufeff" + GOOD.replace("\n", "\r\n"), outcome="accepted"),
]  # fmt: skip
