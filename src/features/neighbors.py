"""Pairs of atoms within a distance, as IStructure.get_neighbor_list finds them, without its loops over sites and pairs."""

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import IStructure
from pymatgen.optimization.neighbors import find_points_in_spheres

SELF_DISTANCE = 1e-8  # Angstrom, as in pymatgen
Pairs = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]


def find_pairs(structure: IStructure, radius: float) -> Pairs:
    """Return centre and neighbour (indices of atoms), cell of the neighbour (n_pairs, 3) and distance (Angstrom) of each pair."""
    coords, lattice = np.array(structure.cart_coords), np.array(structure.lattice.matrix)
    pbc = np.ones(3, dtype=np.int64)
    centre, neighbor, cell, distance = find_points_in_spheres(coords, coords, radius, pbc, lattice, SELF_DISTANCE)
    keep = np.flatnonzero(distance > SELF_DISTANCE)  # an atom is no neighbour of itself
    return centre[keep], neighbor[keep], cell[keep], distance[keep]
