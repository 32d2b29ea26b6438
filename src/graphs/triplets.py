"""Pairs of bonds that share an atom, reduced by symmetry: the line graph of ALIGNN.

A triplet k -> j -> i is a pair of edges: the receiver j -> i and a sender k -> j (Choudhary, DeCost 2021, fig. 1); k may be i, as
in the authors' code. Receivers are the merged edges into representatives. The atom j is in general not a representative: some
operation maps its representative onto it, and the edges into the representative onto those into j. Edges that the space group
maps onto each other have equal invariant features, so a sender is the merged edge it comes from, and triplets of one receiver
that agree in merged sender and cosine are one triplet that stands for several.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from src.graphs.neighbors import Edges
from src.graphs.symmetry import Symmetry

MAX_TRIPLETS = 5_000_000  # of a crystal, before those that agree are merged; each costs about 150 bytes meanwhile
COS_DECIMALS = 6  # cosines of one pair of merged edges that agree to these decimals count as one


@dataclass(frozen=True, eq=False)
class Triplets:
    """Pairs of merged edges, sorted by receiver.

    src, dst: (n_triplets,), merged edges k -> j and j -> i.
    cos: (n_triplets,), cosine of the angle at j.
    multiplicity: (n_triplets,), for how many k of one edge j -> i it stands.
    """

    src: NDArray[np.int64]
    dst: NDArray[np.int64]
    cos: NDArray[np.float64]
    multiplicity: NDArray[np.int64]


def find_triplets(
    every_edge: Edges,
    merged: Edges,
    stand_in: NDArray[np.int64],
    symmetry: Symmetry,
    rotations: NDArray[np.float64],
    r_angle: float,
) -> Triplets:
    """All pairs of edges no longer than r_angle (Angstrom); ValueError where they are more than MAX_TRIPLETS.

    every_edge: all edges into representatives. merged, stand_in: as merge_equivalent returns them.
    rotations: (n_ops, 3, 3), Cartesian, of the symmetry's operations.
    """
    senders = np.flatnonzero(np.linalg.norm(every_edge.vec, axis=1) <= r_angle)
    receivers = np.flatnonzero(np.linalg.norm(merged.vec, axis=1) <= r_angle)
    middle = merged.src[receivers]
    representative = symmetry.representative[middle]
    start, stop = (np.searchsorted(every_edge.dst[senders], representative, side) for side in ("left", "right"))
    n = stop - start
    if n.sum() > MAX_TRIPLETS:
        raise ValueError(
            f"{n.sum()} pairs of bonds within r_angle {r_angle:g} Angstrom, at most {MAX_TRIPLETS} are taken; correct the "
            "cell, or take a smaller r_angle in a new experiment"
        )
    receiver = np.repeat(np.arange(len(receivers)), n)  # (n_pairs,)
    sender = senders[np.arange(n.sum()) + np.repeat(start - (np.cumsum(n) - n), n)]
    to_middle = (symmetry.image[:, representative] == middle).argmax(axis=0)  # an operation: representative onto middle atom
    # turned back to the representative: there the senders are as they are found
    back = -np.einsum("eba,eb->ea", rotations[to_middle], merged.vec[receivers])
    cos = _cosine(every_edge.vec[sender], back[receiver])
    return _merge(stand_in[sender], receivers[receiver], cos, len(merged.src))


def _cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip((a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)), -1, 1)


def _merge(src: NDArray[np.int64], dst: NDArray[np.int64], cos: NDArray[np.float64], n_edges: int) -> Triplets:
    steps = 10**COS_DECIMALS
    key = (dst * n_edges + src) * (2 * steps + 1) + np.round((cos + 1) * steps).astype(np.int64)
    _, first, multiplicity = np.unique(key, return_index=True, return_counts=True)
    return Triplets(src[first], dst[first], cos[first], multiplicity)
