"""Periodic neighbour search around chosen centres, lengths relative to radii, and reduction by the site symmetry of each centre.

The direction of an edge is fixed here and nowhere else: it points from a neighbour (source) to a centre (destination), and its
vector is the image of the neighbour minus the centre.
"""

import itertools
from typing import NamedTuple

import numpy as np
from ase.data import covalent_radii  # Cordero et al., Dalton Trans. 2008, 2832, doi:10.1039/b801115j; 0.31 Angstrom for H
from numpy.typing import NDArray

from src.data.crystal import Crystal, points_within
from src.graphs.symmetry import Symmetry

TYPICAL_RADIUS = 1.4  # Angstrom; elements with this radius keep their lengths
MAX_EDGES = 300_000  # of a crystal into its centres; each takes 5 kB while a graph is reduced by 48 operations
MAX_BOXES = 20_000_000  # of the search grid, which fills the cell and its surroundings with cubes of side r_max


class Edges(NamedTuple):
    """Directed edges, sorted by destination.

    src: (n_edges,), atom index of the neighbour.
    dst: (n_edges,), atom index of the centre.
    cell: (n_edges, 3), integers, cell of the neighbour relative to that of the centre.
    vec: (n_edges, 3), Angstrom, image of the neighbour minus the centre.
    multiplicity: (n_edges,), number of edges of the crystal that this one represents.
    """

    src: NDArray[np.int64]
    dst: NDArray[np.int64]
    cell: NDArray[np.int64]
    vec: NDArray[np.float64]
    multiplicity: NDArray[np.int64]


def find_edges(crystal: Crystal, centers: NDArray[np.int64], r_max: float) -> Edges:
    """Return all edges of length up to r_max (Angstrom) into the centres (atom indices, ascending).

    Raises ValueError if the density of atoms or the size of the cell exceeds the limits above, which bound the memory.
    """
    _check_size(crystal, len(centers), r_max)
    coords = crystal.cart_coords
    center, src, offset, length = points_within(coords, coords[centers], crystal.lattice, r_max)
    dst = centers[center]
    cell = offset.round().astype(np.int64)
    is_edge = ~((src == dst) & (cell == 0).all(axis=1)) & (length <= r_max)
    order = np.flatnonzero(is_edge)[np.lexsort((*cell[is_edge].T, src[is_edge], dst[is_edge]))]
    src, dst, cell = src[order], dst[order], cell[order]
    vec = coords[src] + cell @ crystal.lattice - coords[dst]
    return Edges(src, dst, cell, vec, np.ones(len(src), dtype=np.int64))


def largest_unit(crystal: Crystal, exponent: float) -> float:
    """Return the largest factor by which `relative_to_radii` divides the length of an edge of a crystal."""
    return float(crystal.at_sites(covalent_radii).max() / TYPICAL_RADIUS) ** exponent


def relative_to_radii(edges: Edges, crystal: Crystal, exponent: float, r_max: float) -> Edges:
    """Return the edges whose lengths, relative to the covalent radii of their ends, are up to r_max; vectors have these lengths.

    At 2.9 Angstrom, Cs-O is a short bond and Al-O is not bonded. With relative lengths, a network need not learn this for each
    pair of elements. With an exponent a from 0 to 1

        length -> length / ((radius of one end + radius of the other) / 2 / TYPICAL_RADIUS)^a

    which leaves lengths unchanged for a = 0, and measures them in bond lengths for a = 1. The factor depends only on the pair
    of elements, so it is the same for all edges that a symmetry maps onto each other.

    The radius of a mixed site is the mean over its atoms. edges: all of length up to r_max times `largest_unit`, or more.
    """
    radii = crystal.at_sites(covalent_radii) / TYPICAL_RADIUS
    unit = ((radii[edges.src] + radii[edges.dst]) / 2) ** exponent
    scaled = edges._replace(vec=edges.vec / unit[:, None])
    keep = np.linalg.norm(scaled.vec, axis=1) <= r_max
    return Edges(*(values[keep] for values in scaled))


def _check_size(crystal: Crystal, n_centers: int, r_max: float) -> None:
    n_edges = n_centers * crystal.n_atoms / crystal.volume * 4 / 3 * np.pi * r_max**3
    if n_edges > MAX_EDGES:
        found = f"about {n_edges:.2g} edges within r_max {r_max:g} Angstrom, more than the limit of {MAX_EDGES}"
        cell = f"{crystal.n_atoms} atoms in {crystal.volume:.4g} Angstrom^3"
        raise ValueError(f"{found}: {cell}; correct the cell, or choose a smaller r_max in a new experiment")
    n_boxes = np.prod(np.abs(crystal.lattice).sum(axis=0) / r_max + 2)
    if n_boxes > MAX_BOXES:
        found = f"a cell of {crystal.volume:.4g} Angstrom^3 is too large for a neighbour search within r_max {r_max:g} Angstrom"
        raise ValueError(f"{found}; correct the cell, or choose a larger r_max in a new experiment")


def merge_equivalent(edges: Edges, symmetry: Symmetry) -> tuple[Edges, NDArray[np.int64]]:
    """Merge the edges that are equivalent under the stabiliser of their centre.

    Returns one edge per set of equivalent edges, whose multiplicity is the size of the set, and for each given edge the index
    of the merged edge that represents it, (n_edges,). Equivalence is decided on integers (atom and cell), without a tolerance.
    A set is counted in full even if rounding at r_max cuts part of it off, because messages vanish there.
    """
    kept, multiplicity, stand_in, n_kept = [], [], [], 0
    bounds = np.searchsorted(edges.dst, [*np.unique(edges.dst), len(symmetry.image[0])])
    for start, stop in itertools.pairwise(bounds):
        center, src, cell = edges.dst[start], edges.src[start:stop], edges.cell[start:stop]
        ops = np.flatnonzero(symmetry.image[:, center] == center)
        image = symmetry.image[np.ix_(ops, src)]  # (n_stabiliser, n_edges)
        moved = cell @ symmetry.frac_rotation[ops].transpose(0, 2, 1)
        moved += symmetry.shift[np.ix_(ops, src)] - symmetry.shift[ops, center][:, None, :]
        width = 2 * np.abs(moved).max() + 1
        key = ((image * width + moved[..., 0]) * width + moved[..., 1]) * width + moved[..., 2]
        own = key[(symmetry.frac_rotation[ops] == np.eye(3)).all(axis=(1, 2))][0]
        _, first, stands_for = np.unique(key.min(axis=0), return_index=True, return_inverse=True)
        stand_in.append(n_kept + first.argsort().argsort()[stands_for])
        n_kept += len(first)
        first.sort()
        kept.append(start + first)
        multiplicity.append(len(ops) // (key[:, first] == own[first]).sum(axis=0))
    if not kept:
        return edges, np.zeros(0, dtype=np.int64)
    keep = np.concatenate(kept)
    merged = Edges(*(values[keep] for values in edges))
    return merged._replace(multiplicity=np.concatenate(multiplicity)), np.concatenate(stand_in)
