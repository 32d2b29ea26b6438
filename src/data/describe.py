"""What a person wants to know of each crystal: formula, size, space group."""

import logging
from functools import cache

import moyopy
import pandas as pd
from pymatgen.symmetry.groups import SpaceGroup
from tqdm import tqdm

from src.data.crystal import Crystal
from src.data.table import CrystalTable

SYMPREC = 1e-2  # Angstrom; looser than the graphs' tolerance, which must be exact where this one must be recognisable
SYSTEMS = ("triclinic", "monoclinic", "orthorhombic", "tetragonal", "trigonal", "hexagonal", "cubic")


def space_group_number(crystal: Crystal) -> int:
    """The number of the space group in the International Tables."""
    cell = moyopy.Cell(crystal.lattice.tolist(), crystal.frac_coords.tolist(), crystal.atomic_numbers.tolist())
    return int(moyopy.MoyoDataset(cell, symprec=SYMPREC).number)


@cache
def _system(number: int) -> str:
    return str(SpaceGroup.from_int_number(number).crystal_system)


def describe(table: CrystalTable) -> pd.DataFrame:
    """One row for each crystal: id, formula, n_elements, n_atoms, space_group, crystal_system."""
    logging.getLogger("moyo").setLevel(logging.ERROR)  # it remarks on cells that are not primitive
    rows = []
    for i in tqdm(range(len(table.ids)), desc="space groups", disable=len(table.ids) < 500, mininterval=1):
        crystal = table.crystals[i]
        number = space_group_number(crystal)
        composition = crystal.to_structure().composition
        rows.append((table.ids[i], composition.reduced_formula, len(composition), crystal.n_atoms, number, _system(number)))
    return pd.DataFrame(rows, columns=["id", "formula", "n_elements", "n_atoms", "space_group", "crystal_system"])
