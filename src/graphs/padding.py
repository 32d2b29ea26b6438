"""Batches of a fixed size: a last crystal, of atoms without neighbours, takes up the room that the others leave."""

import math
from collections.abc import Mapping
from typing import Any

import torch

from src.graphs.batch import GraphBatch
from src.graphs.graph import INDEX_OF, LEVELS

HEADROOM = 1.1  # over the sizes of the batch that they were chosen for
ZERO_FILLED = ("edge_multiplicity", "triplet_multiplicity")  # other values are one, but for weights


def sizes_of(batch: GraphBatch) -> dict[str, int]:
    """Return the number of members of each level: crystals, orbits, ..."""
    return {level: len(getattr(batch, name)) for name, level in LEVELS.items()}


def padded_sizes(batch: GraphBatch, known: Mapping[str, int]) -> dict[str, int]:
    """Return sizes to which the batch can be padded: the known ones, larger where the batch does not fit."""
    own = sizes_of(batch)
    sizes = {level: known[level] if known.get(level, 0) > n else math.ceil(HEADROOM * n) + 1 for level, n in own.items()}
    sizes["crystal"] = own["crystal"] + 1
    n_atoms = own["atom"] + sizes["orbit"] - own["orbit"]  # every orbit has an atom
    if sizes["atom"] < n_atoms:
        sizes["atom"] = math.ceil(HEADROOM * n_atoms)
    return sizes


def pad(batch: GraphBatch, sizes: Mapping[str, int]) -> GraphBatch:
    """Return the batch with one more crystal, such that each level has its size in `sizes`, from `padded_sizes`.

    Networks treat crystals independently, so that what they say of the others stays the same.
    """
    own = sizes_of(batch)
    missing = {level: sizes[level] - n for level, n in own.items()}
    padded: dict[str, Any] = {}
    for name, level in LEVELS.items():
        values, n = getattr(batch, name), missing[level]
        filling = values.new_full((n, *values.shape[1:]), 0 if name in ZERO_FILLED else 1)
        if name in INDEX_OF:  # spread over the members that were added, in ascending order
            numbered = INDEX_OF[name]
            filling = own[numbered] + torch.arange(n, device=values.device) * missing[numbered] // max(n, 1)
        if name == "orbit_weight":
            filling /= n  # they sum to one
        padded[name] = torch.cat([values, filling])
    padded["orbit_batch"] = torch.cat([batch.orbit_batch, batch.orbit_batch.new_full((missing["orbit"],), batch.n_crystals)])
    for name, level in ("global_features", "crystal"), ("atom_features", "atom"):
        values = getattr(batch, name)
        padded[name] = None if values is None else torch.cat([values, values.new_ones(missing[level], values.shape[1])])
    return GraphBatch(**padded, n_crystals=sizes["crystal"])
