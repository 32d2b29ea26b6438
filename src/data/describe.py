"""Descriptions of crystals for people: formula, size, space group."""

import logging
from typing import TYPE_CHECKING

import moyopy
import numpy as np
from tqdm import tqdm

from src.data.crystal import Crystal
from src.data.table import CrystalTable

if TYPE_CHECKING:
    import pandas as pd

SYMPREC = 1e-2  # Angstrom; looser than the graphs' tolerance: the aim is to recognise a symmetry, not to impose it
SYMMETRY = ("space_group", "crystal_system")
SYSTEMS = ("triclinic", "monoclinic", "orthorhombic", "tetragonal", "trigonal", "hexagonal", "cubic")


def space_group_number(crystal: Crystal) -> int:
    """Return the number of the space group in the International Tables."""
    return int(moyopy.MoyoDataset(crystal.to_moyo(), symprec=SYMPREC).number)


def crystal_system(space_group: int) -> str:
    """Return the crystal system, one of SYSTEMS, of a space group given by its number."""
    return str(moyopy.SpaceGroupType(space_group).crystal_system).lower()


def describe(table: CrystalTable) -> "pd.DataFrame":
    """Return one row for each crystal: id, formula, n_elements, n_atoms, space_group, crystal_system.

    The last two columns are left out if there are formulas among them.
    """
    import pandas as pd  # see `frame_of` in columns.py

    logging.getLogger("moyo").setLevel(logging.ERROR)  # it warns about cells that are not primitive
    rows, has_structure = [], table.crystals.has_structure
    for i in tqdm(range(len(table.ids)), desc="space groups", disable=len(table.ids) < 500, mininterval=1):
        crystal = table.crystals[i]
        row = [table.ids[i], crystal.reduced_formula, len(np.unique(crystal.atomic_numbers)), crystal.n_atoms]
        if has_structure:
            number = space_group_number(crystal)
            row += [number, crystal_system(number)]
        rows.append(row)
    return pd.DataFrame(rows, columns=["id", "formula", "n_elements", "n_atoms", *(SYMMETRY if has_structure else ())])
