"""Pairs of bonds that share an atom, reduced by symmetry: the line graph of ALIGNN.

A triplet k -> j -> i is a pair of edges: the receiver j -> i and a sender k -> j (Choudhary, DeCost 2021, fig. 1, see
src/models/alignn.py); as in the authors' code, k may equal i. Receivers are the merged edges into representatives. The atom j
is in general not a representative: some operation maps its representative onto j, and the edges into the representative onto
those into j. Edges related by the space group have equal invariant features, so a sender can be replaced by its merged edge, and
triplets of one receiver with the same merged sender and cosine become one triplet with a multiplicity.
"""

import numpy as np
from numpy.typing import NDArray

from src.graphs.neighbors import Edges
from src.graphs.symmetry import Symmetry

MAX_TRIPLETS = 5_000_000  # of a crystal before equal ones are merged; each takes about 150 bytes until then
COS_DECIMALS = 6  # cosines of one pair of merged edges are equal if they agree to this many decimals
Triplets = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]


def find_triplets(
    every_edge: Edges,
    merged: Edges,
    stand_in: NDArray[np.int64],
    symmetry: Symmetry,
    rotations: NDArray[np.float64],
    r_angle: float,
) -> Triplets:
    """Return all pairs of edges of length up to r_angle (Angstrom), sorted by receiver; none if that is zero.

    Arrays of (n_triplets,): the merged edges k -> j and j -> i, the cosine of the angle at j, and the number of atoms k that the
    triplet represents for one edge j -> i.
    every_edge: all edges into representatives. merged, stand_in: the result of merge_equivalent.
    rotations: (n_ops, 3, 3), Cartesian rotations of the symmetry operations.
    Raises ValueError if there are more than MAX_TRIPLETS.
    """
    if r_angle == 0:
        nothing = np.zeros(0, dtype=np.int64)
        return nothing, nothing, np.zeros(0), nothing
    senders = np.flatnonzero(np.linalg.norm(every_edge.vec, axis=1) <= r_angle)
    receivers = np.flatnonzero(np.linalg.norm(merged.vec, axis=1) <= r_angle)
    middle = merged.src[receivers]
    representative = symmetry.representative[middle]
    start, stop = (np.searchsorted(every_edge.dst[senders], representative, side) for side in ("left", "right"))
    n = stop - start
    if n.sum() > MAX_TRIPLETS:
        found = f"{n.sum()} pairs of bonds within r_angle {r_angle:g} Angstrom, more than the limit of {MAX_TRIPLETS}"
        raise ValueError(f"{found}; correct the cell, or choose a smaller r_angle in a new experiment")
    receiver = np.repeat(np.arange(len(receivers)), n)  # (n_pairs,)
    sender = senders[np.arange(n.sum()) + np.repeat(start - (np.cumsum(n) - n), n)]
    to_middle = (symmetry.image[:, representative] == middle).argmax(axis=0)  # an operation that maps it onto the middle atom
    # rotated back to the representative, for which the senders were found
    back = -np.einsum("eba,eb->ea", rotations[to_middle], merged.vec[receivers])
    a, b = every_edge.vec[sender], back[receiver]
    cos = np.clip((a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)), -1, 1)
    src, dst, steps = stand_in[sender], receivers[receiver], 10**COS_DECIMALS
    key = (dst * len(merged.src) + src) * (2 * steps + 1) + np.round((cos + 1) * steps).astype(np.int64)
    _, first, multiplicity = np.unique(key, return_index=True, return_counts=True)
    return src[first], dst[first], cos[first], multiplicity
