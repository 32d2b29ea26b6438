"""Batches of graphs: the tensors that networks take, padded to a fixed size if a GPU replays a CUDA graph on them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from src.graphs.graph import INDEX_OF, LEVELS, CrystalGraph, GraphFields
from src.storage.ragged import RaggedStore

HEADROOM = 1.1  # over the sizes of the batch that a padded size was chosen for
ZERO_FILLED = ("edge_multiplicity", "triplet_multiplicity")  # in padding; other values are one, but for weights


def sum_at(index: Tensor, values: Tensor, n: int) -> Tensor:
    """Return the sums of the rows of `values` that share an `index`, (n, ...), in the precision of the values."""
    return values.new_zeros(n, *values.shape[1:]).index_add(0, index, values)


@dataclass(eq=False)
class GraphBatch(GraphFields[Tensor]):
    """Several graphs as one: their arrays concatenated as tensors, indices offset, and the crystal of each orbit."""

    orbit_batch: Tensor  # (n_orbits,), crystal of each orbit
    n_crystals: int
    global_features: Tensor | None = None  # (n_crystals, n_features)

    @property
    def n_orbits(self) -> int:
        """Number of orbits of all crystals."""
        return len(self.orbit_z)

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> "GraphBatch":
        """Return the batch on another device. dtype: of its floating-point tensors."""
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        moved: Any = {name: x.to(device, dtype if x.is_floating_point() else None) for name, x in tensors.items()}
        return replace(self, **moved)

    def at_atoms(self, vectors: Tensor) -> Tensor:
        """Return the vectors of the representatives, (n_orbits, 3), as they are at each atom, (n_atoms, 3)."""
        return torch.einsum("aij,aj->ai", self.rotations, vectors[self.atom_orbit_index])

    @property
    def rotations(self) -> Tensor:
        """The mean rotation that takes the representative of an orbit to each atom, (n_atoms, 3, 3); requires l_max of 1."""
        return self.atom_rotation[:, :9].view(-1, 3, 3)

    def representative_atom(self) -> Tensor:
        """Return the first atom of each orbit, whose features are those of the orbit, (n_orbits,)."""
        atoms = torch.arange(len(self.atom_orbit_index), device=self.atom_orbit_index.device)
        first = atoms.new_full((self.n_orbits,), len(atoms))
        return first.scatter_reduce(0, self.atom_orbit_index, atoms, "amin")

    def mean_over_atoms(self, per_orbit: Tensor) -> Tensor:
        """Return the mean over all atoms of each crystal, (n_crystals, ...). per_orbit: (n_orbits, ...)."""
        weight = self.orbit_weight.view(-1, *[1] * (per_orbit.dim() - 1))  # the product has at least its precision
        return sum_at(self.orbit_batch, per_orbit * weight, self.n_crystals)

    def max_over_atoms(self, per_orbit: Tensor) -> Tensor:
        """Return the largest value of the atoms of each crystal, (n_crystals, n). per_orbit: (n_orbits, n)."""
        index, largest = self.orbit_batch[:, None].expand_as(per_orbit), per_orbit.new_zeros(self.n_crystals, per_orbit.shape[1])
        return largest.scatter_reduce(0, index, per_orbit, "amax", include_self=False)

    @property
    def n_atoms(self) -> Tensor:
        """Number of atoms of each crystal, (n_crystals,); a site that is half vacant counts as half an atom."""
        return sum_at(self.orbit_batch[self.atom_orbit_index], self.atom_occupancy, self.n_crystals)


def batch_from_store(store: RaggedStore, crystals: NDArray[np.integer]) -> GraphBatch:
    """Return the batch of the given crystals (numbers in the store, in any order), in the precision of the store."""
    counts = {level: store.counts(level, crystals) for level in dict.fromkeys(LEVELS.values())}
    rows = {level: store.rows(level, crystals) for level in counts}
    starts = {level: np.cumsum(n) - n for level, n in counts.items()}
    tensors = {}
    for name, level in LEVELS.items():
        values = store.arrays[name][rows[level]]
        if name in INDEX_OF:
            values = values + np.repeat(starts[INDEX_OF[name]], counts[level])
        tensors[name] = torch.from_numpy(values)
    orbit_batch = torch.from_numpy(np.repeat(np.arange(len(crystals)), counts["orbit"]))
    return GraphBatch(**tensors, orbit_batch=orbit_batch, n_crystals=len(crystals))


def batch_from_graphs(graphs: list[CrystalGraph], dtype: torch.dtype = torch.float64) -> GraphBatch:
    """Return the batch of graphs in memory."""
    store = RaggedStore.from_items(LEVELS, [vars(graph) for graph in graphs])
    return batch_from_store(store, np.arange(len(graphs))).to("cpu", dtype)


def padded_sizes(batch: GraphBatch, known: Mapping[str, int]) -> dict[str, int]:
    """Return sizes of the levels to which the batch can be padded: the known ones, enlarged where the batch does not fit."""
    own = sizes_of(batch)
    sizes = {level: known[level] if known.get(level, 0) > n else math.ceil(HEADROOM * n) + 1 for level, n in own.items()}
    sizes["crystal"] = own["crystal"] + 1
    sizes["mixture"] = sizes["mixture"] if own["mixture"] else known.get("mixture", 0)  # nothing to do for ordered crystals
    n_atoms = own["atom"] + sizes["orbit"] - own["orbit"]  # every orbit has an atom
    if sizes["atom"] < n_atoms:
        sizes["atom"] = math.ceil(HEADROOM * n_atoms)
    return sizes


def pad(batch: GraphBatch, sizes: Mapping[str, int]) -> GraphBatch:
    """Return the batch with one more crystal, of atoms without neighbours, such that each level has its size in `sizes`.

    sizes: from `padded_sizes`. Networks treat crystals independently, so the predictions for the others do not change.
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
    if (values := batch.global_features) is not None:
        padded["global_features"] = torch.cat([values, values.new_ones(missing["crystal"], values.shape[1])])
    return GraphBatch(**padded, n_crystals=sizes["crystal"])


def sizes_of(batch: GraphBatch) -> dict[str, int]:
    """Return the number of rows of each level: crystals, orbits, ..."""
    return {"crystal": batch.n_crystals} | {level: len(getattr(batch, name)) for name, level in LEVELS.items()}
