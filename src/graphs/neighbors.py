"""Periodic neighbour search into chosen centres, and its reduction by the symmetry of each centre.

The one place that fixes the direction of an edge: it points from a neighbour (source) to a centre (destination), and its vector
is the image of the neighbour minus the centre.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pymatgen.optimization.neighbors import find_points_in_spheres

from src.data.crystal import Crystal
from src.graphs.symmetry import Symmetry

SELF_DISTANCE = 1e-8  # Angstrom; nearer than this a point is the centre itself
MAX_EDGES = 300_000  # of a crystal into its centres; reduced by 48 operations they cost 5 kB each while the graph is made
MAX_BOXES = 20_000_000  # of the search's grid, which fills the cell and its surroundings with cubes of side r_max


@dataclass(frozen=True, eq=False)
class Edges:
    """Directed edges, sorted by destination.

    src: (n_edges,), atom index of the neighbour.
    dst: (n_edges,), atom index of the centre.
    cell: (n_edges, 3), integers, the neighbour's cell relative to the centre's.
    vec: (n_edges, 3), Angstrom, image of the neighbour minus the centre.
    multiplicity: (n_edges,), how many edges of the crystal this one stands for.
    """

    src: NDArray[np.int64]
    dst: NDArray[np.int64]
    cell: NDArray[np.int64]
    vec: NDArray[np.float64]
    multiplicity: NDArray[np.int64]


def find_edges(crystal: Crystal, centers: NDArray[np.int64], r_max: float) -> Edges:
    """All edges no longer than r_max whose destination is one of the centres (atom indices, ascending).

    Raises ValueError where the density of atoms, or the size of the cell, would take more memory than the limits above allow.
    """
    _check_size(crystal, len(centers), r_max)
    coords = np.ascontiguousarray(crystal.cart_coords)
    center, src, offset, length = find_points_in_spheres(
        coords,
        np.ascontiguousarray(coords[centers]),
        r=float(r_max),
        pbc=np.ones(3, dtype=np.int64),
        lattice=np.ascontiguousarray(crystal.lattice),
        tol=SELF_DISTANCE,
    )
    dst = centers[center]
    cell = offset.round().astype(np.int64)
    is_edge = ~((src == dst) & (cell == 0).all(axis=1)) & (length <= r_max)
    order = np.flatnonzero(is_edge)[np.lexsort((*cell[is_edge].T, src[is_edge], dst[is_edge]))]
    src, dst, cell = src[order], dst[order], cell[order]
    vec = coords[src] + cell @ crystal.lattice - coords[dst]
    return Edges(src, dst, cell, vec, np.ones(len(src), dtype=np.int64))


def _check_size(crystal: Crystal, n_centers: int, r_max: float) -> None:
    n_edges = n_centers * crystal.n_atoms / crystal.volume * 4 / 3 * np.pi * r_max**3
    if n_edges > MAX_EDGES:
        raise ValueError(
            f"about {n_edges:.2g} edges within r_max {r_max:g} Angstrom, at most {MAX_EDGES} are taken: "
            f"{crystal.n_atoms} atoms in {crystal.volume:.4g} Angstrom^3; correct the cell, or take a smaller r_max in a new "
            "experiment"
        )
    n_boxes = np.prod(np.abs(crystal.lattice).sum(axis=0) / r_max + 2)
    if n_boxes > MAX_BOXES:
        raise ValueError(
            f"a cell of {crystal.volume:.4g} Angstrom^3 is too large for a neighbour search within r_max {r_max:g} Angstrom; "
            "correct the cell, or take a larger r_max in a new experiment"
        )


def merge_equivalent(edges: Edges, symmetry: Symmetry) -> tuple[Edges, NDArray[np.int64]]:
    """One edge of each set that the operations leaving its centre in place map onto each other, with the size of the set; and
    for each edge given, (n_edges,), the number of the one that stands for it.

    Decided on integers (atom and cell), so no tolerance enters. The size counts the whole set even where the cutoff sphere parts
    it by rounding: there the messages vanish.
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
    merged = Edges(edges.src[keep], edges.dst[keep], edges.cell[keep], edges.vec[keep], np.concatenate(multiplicity))
    return merged, np.concatenate(stand_in)
