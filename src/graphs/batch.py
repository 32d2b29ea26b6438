"""Batches of graphs: the tensors that networks take."""

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from src.graphs.graph import INDEX_OF, LEVELS, CrystalGraph, GraphFields
from src.storage.ragged import RaggedStore


def sum_at(index: Tensor, values: Tensor, n: int) -> Tensor:
    """Return the sums of the rows of `values` that share an `index`, (n, ...), in the precision of the values."""
    return values.new_zeros(n, *values.shape[1:]).index_add(0, index, values)


def count_at(index: Tensor, n: int) -> Tensor:
    """Return how often each of 0 ... n - 1 is in `index`, (n,); unlike torch.bincount, without waiting for a GPU."""
    return sum_at(index, torch.ones_like(index), n)


@dataclass(eq=False)
class GraphBatch(GraphFields[Tensor]):
    """Several graphs as one: their arrays concatenated as tensors, indices offset, and the crystal of each orbit."""

    orbit_batch: Tensor  # (n_orbits,), crystal of each orbit
    n_crystals: int
    global_features: Tensor | None = None  # (n_crystals, n_features)
    atom_features: Tensor | None = None  # (n_atoms, n_features)

    @property
    def n_orbits(self) -> int:
        """Number of orbits of all crystals."""
        return len(self.orbit_z)

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> "GraphBatch":
        """Return the batch on another device. dtype: of its floating-point tensors."""
        moved = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                value = value.to(device, dtype if value.is_floating_point() else None)
            moved[field.name] = value
        return GraphBatch(**moved)

    def strained(self, factor: Tensor) -> "GraphBatch":
        """Return the batch with each crystal scaled by a factor, (n_crystals,); the edges stay the same."""
        of_edge = factor.to(self.edge_vec)[self.orbit_batch[self.edge_dst_index]]
        of_length = torch.ones_like(self.length)
        of_length[self.edge_length_index] = of_edge  # edges of one length are in one crystal
        return replace(self, edge_vec=self.edge_vec * of_edge[:, None], length=self.length * of_length)

    def distorted(self, displacement: Tensor, strain: Tensor) -> "GraphBatch":
        """Return the batch with atoms displaced and cells strained, as the symmetry allows (`symmetric`); edges stay the same.

        displacement: (n_orbits, 3), Angstrom, of the representatives. strain: (n_crystals, 3, 3), symmetric.
        """
        vec = self.edge_vec + self.at_atoms(displacement)[self.edge_src_index] - displacement[self.edge_dst_index]
        vec = vec + torch.einsum("eij,ej->ei", strain[self.orbit_batch[self.edge_dst_index]], vec)
        return replace(self, edge_vec=vec, length=vec.norm(dim=-1), edge_length_index=torch.arange(len(vec), device=vec.device))

    def symmetric(self, displacement: Tensor, strain: Tensor) -> tuple[Tensor, Tensor]:
        """Return the parts of displacements and strains that the symmetry allows and that do not move a crystal as a whole.

        displacement: (n_orbits, 3). strain: (n_crystals, 3, 3).
        """
        own = torch.einsum("oij,oj->oi", self.rotations[self.representative_atom()], displacement)
        crystal = self.orbit_batch[self.atom_orbit_index]
        mean = sum_at(crystal, self.at_atoms(own), self.n_crystals) / self.n_atoms[:, None]
        return own - mean[self.orbit_batch], self.mean_over_point_group(strain)

    def at_atoms(self, vectors: Tensor) -> Tensor:
        """Return the vectors of the representatives, (n_orbits, 3), as they are at each atom, (n_atoms, 3)."""
        return torch.einsum("aij,aj->ai", self.rotations, vectors[self.atom_orbit_index])

    def mean_over_point_group(self, tensors: Tensor) -> Tensor:
        """Return the part of the tensors of two indices that the symmetry allows, (n_crystals, 3, 3)."""
        return torch.einsum("cij,cj->ci", self.point_group_mean.view(-1, 9, 9), tensors.flatten(1)).view(-1, 3, 3)

    @property
    def rotations(self) -> Tensor:
        """The mean rotation that takes the representative of an orbit to each atom, (n_atoms, 3, 3); requires l_max of 1."""
        return self.atom_rotation[:, :9].view(-1, 3, 3)

    def representative_atom(self) -> Tensor:
        """Return the first atom of each orbit, whose features are those of the orbit, (n_orbits,)."""
        atoms = torch.arange(len(self.atom_orbit_index), device=self.atom_orbit_index.device)
        first = atoms.new_full((self.n_orbits,), len(atoms))
        return first.scatter_reduce(0, self.atom_orbit_index, atoms, "amin")

    def orbit_features(self) -> Tensor | None:
        """Return the mean of the atoms' features over each orbit, (n_orbits, n_features); None if atoms have none."""
        if self.atom_features is None:
            return None
        n_atoms = count_at(self.atom_orbit_index, self.n_orbits)
        return sum_at(self.atom_orbit_index, self.atom_features, self.n_orbits) / n_atoms[:, None]

    def mean_over_atoms(self, per_orbit: Tensor) -> Tensor:
        """Return the mean over all atoms of each crystal, (n_crystals, ...). per_orbit: (n_orbits, ...)."""
        weight = self.orbit_weight.view(-1, *[1] * (per_orbit.dim() - 1))  # the product has at least its precision
        return sum_at(self.orbit_batch, per_orbit * weight, self.n_crystals)

    def max_over_atoms(self, per_orbit: Tensor) -> Tensor:
        """Return the largest value of the atoms of each crystal, (n_crystals, n). per_orbit: (n_orbits, n)."""
        index = self.orbit_batch[:, None].expand_as(per_orbit)
        return per_orbit.new_zeros(self.n_crystals, per_orbit.shape[1]).scatter_reduce(
            0, index, per_orbit, "amax", include_self=False
        )

    @property
    def n_atoms(self) -> Tensor:
        """Number of atoms of each crystal, (n_crystals,)."""
        return count_at(self.orbit_batch[self.atom_orbit_index], self.n_crystals)


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
