"""Lengths relative to the covalent radii of their ends, so that a network need not learn how long a bond of each pair is.

A Cs-O bond of 2.9 Angstrom is short and an Al-O bond of 2.9 Angstrom is none. With an exponent a from 0 to 1

    length -> length / ((radius of one end + radius of the other) / 2 / TYPICAL_RADIUS)^a

which leaves lengths as they are for a = 0, and for a = 1 counts them in bond lengths. The factor is that of the pair of elements,
so it is the same for all edges that a symmetry maps onto each other.
"""

import numpy as np
from ase.data import covalent_radii  # Cordero et al., Dalton Trans. 2008, 2832, doi:10.1039/b801115j; 0.31 Angstrom for H
from numpy.typing import NDArray

from src.graphs.neighbors import Edges

TYPICAL_RADIUS = 1.4  # Angstrom; elements with this radius keep their lengths


def largest_unit(atomic_numbers: NDArray[np.int64], exponent: float) -> float:
    """Return by how much at most the length of an edge of a crystal is divided."""
    return float(covalent_radii[atomic_numbers].max() / TYPICAL_RADIUS) ** exponent


def relative_to_radii(edges: Edges, atomic_numbers: NDArray[np.int64], exponent: float, r_max: float) -> Edges:
    """Return the edges whose lengths, relative to radii, are up to r_max; their vectors have these lengths.

    atomic_numbers: (n_atoms,). edges: all of length up to r_max times `largest_unit`, or more.
    """
    radii = covalent_radii[atomic_numbers] / TYPICAL_RADIUS
    unit = ((radii[edges.src] + radii[edges.dst]) / 2) ** exponent
    vec = edges.vec / unit[:, None]
    keep = np.linalg.norm(vec, axis=1) <= r_max
    return Edges(edges.src[keep], edges.dst[keep], edges.cell[keep], vec[keep], edges.multiplicity[keep])
