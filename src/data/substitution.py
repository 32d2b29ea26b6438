"""Crystals that nobody has computed: one element of a known crystal is replaced by a chemical neighbour.

Neighbours are the elements that are nearest on Pettifor's scale of chemical similarity (Pettifor, Solid State Commun. 51, 31
(1984), doi:10.1016/0038-1098(84)90765-8), among those that occur in the table. All lengths are multiplied by the ratio of the
summed covalent radii, so that bonds keep their lengths relative to them; the positions stay. A noble gas takes no other element's
place: a crystal such as Xe3As instead of Cs3As is too far from all others, and trainings diverged on it.
"""

from collections.abc import Sequence

import numpy as np
from ase.data import covalent_radii  # Angstrom, as in src/graphs/radii.py
from numpy.typing import NDArray
from pymatgen.core import Element

from src.data.crystal import Crystal
from src.data.table import Crystals
from src.data.target import NOBLE_GASES, is_pure

N_NEIGHBORS = 4  # of an element, the nearest on the scale


def substituted(crystals: Crystals, n_copies: int, seed: int = 0) -> tuple[list[Crystal], NDArray[np.int64]]:
    """Return copies of the crystals of several elements in which one is replaced, and the row of the crystal behind each.

    n_copies: of each crystal at most; one that would get a noble gas is left out. Element and neighbour are random; the copies of
    a row depend on its number and the seed, and on the elements of the table.
    """
    counts = crystals.element_counts
    neighbors = chemical_neighbors(np.flatnonzero(counts.any(axis=0)).tolist())
    copies, rows = [], []
    for row in np.flatnonzero(~is_pure(counts)).tolist():
        for i in range(n_copies):
            rng = np.random.default_rng([seed, row, i])
            old = int(rng.choice(np.flatnonzero(counts[row])))
            new = int(rng.choice([z for z in neighbors[old] if not counts[row, z]] or neighbors[old]))
            if new not in NOBLE_GASES:
                copies.append(replaced(crystals[row], old, new))
                rows.append(row)
    return copies, np.array(rows, dtype=np.int64)


def chemical_neighbors(numbers: Sequence[int]) -> dict[int, list[int]]:
    """Return the neighbours of each of these elements among them, the nearest first. numbers: atomic numbers."""
    place = {z: Element.from_Z(z).mendeleev_no for z in numbers}
    return {z: sorted(set(numbers) - {z}, key=lambda other: (abs(place[other] - place[z]), other))[:N_NEIGHBORS] for z in numbers}


def replaced(crystal: Crystal, old: int, new: int) -> Crystal:
    """Return the crystal with all atoms of one element replaced, and its lengths multiplied by the ratio of covalent radii."""
    numbers = np.where(crystal.atomic_numbers == old, new, crystal.atomic_numbers)
    ratio = covalent_radii[numbers].sum() / covalent_radii[crystal.atomic_numbers].sum()
    return Crystal(crystal.lattice * ratio, crystal.frac_coords, numbers)
