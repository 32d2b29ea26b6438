"""EGNN: an equivariant network without spherical harmonics, for periodic crystals (Satorras et al., arXiv:2102.09844).

Each atom has invariant features and one displacement, and messages depend on the distances between displaced atoms. Edges are
those of the undisplaced crystal, and messages vanish at the cutoff radius. Displacements are vectors, so the symmetry reduction
of graph.py applies unchanged: rotating a representative to itself averages its displacement over its stabiliser.
"""

import torch
from torch import Tensor, nn

from src.config import EgnnConfig, GraphConfig
from src.graphs.batch import GraphBatch, sum_at
from src.models.blocks import CrystalNetwork, dense
from src.models.radial import bessel_basis, polynomial_cutoff, unit_linear

N_BESSEL = 8  # radial basis functions


class EgnnLayer(nn.Module):
    """Equations 3 to 6 of the paper, with distances expanded in a Bessel basis and sums scaled by avg_n_neighbors."""

    def __init__(self, config: EgnnConfig, r_max: float, avg_n_neighbors: float) -> None:
        super().__init__()
        n = config.n_channels
        self.r_max, self.scale = r_max, avg_n_neighbors**-0.5
        self.edge = nn.Sequential(dense(2 * n + N_BESSEL, n, n), nn.SiLU())
        last = nn.Linear(n, 1, bias=False)
        nn.init.normal_(last.weight, std=1e-3)  # displacements start near zero, as in the authors' code
        self.move = nn.Sequential(nn.Linear(n, n), nn.SiLU(), last)
        self.node = dense(2 * n, n, n)

    def forward(self, h: Tensor, displacement: Tensor, strength: Tensor, batch: GraphBatch) -> tuple[Tensor, Tensor]:
        """Return the updated h, (n_orbits, n_channels), and displacement, (n_orbits, 3), Angstrom.

        strength: (n_edges,), cutoff times multiplicity.
        """
        on_atoms = batch.at_atoms(displacement)  # (n_atoms, 3)
        src, dst = batch.edge_src_index, batch.edge_dst_index
        vec = batch.edge_vec + on_atoms[src] - on_atoms[batch.representative_atom()][dst]
        length = vec.norm(dim=-1)
        basis = bessel_basis(length / self.r_max, self.r_max, N_BESSEL)  # (n_edges, n_bessel)
        neighbor = h[batch.atom_orbit_index[src]]
        message = self.edge(torch.cat([h[dst], neighbor, basis], dim=-1))  # (n_edges, n_channels)
        weight = (strength * self.scale)[:, None]  # after every nonlinearity: an edge may represent several
        step = -vec / (length[:, None] + 1) * self.move(message) * weight
        displacement = displacement + sum_at(dst, step, len(h))
        total = sum_at(dst, message * weight, len(h))
        return h + self.node(torch.cat([h, total], dim=-1)), displacement


class Egnn(CrystalNetwork):
    """EGNN, the mean over the atoms."""

    def __init__(self, config: EgnnConfig, graph: GraphConfig, element_vectors: Tensor, avg_n_neighbors: float) -> None:
        super().__init__(element_vectors)
        if graph.l_max < 1:
            raise ValueError(f"graph.l_max={graph.l_max}: EGNN rotates vectors and needs at least 1")
        n = config.n_channels
        self.r_max = graph.r_max
        self.embedding = unit_linear(element_vectors.shape[1], n)
        self.layers = nn.ModuleList(EgnnLayer(config, graph.r_max, avg_n_neighbors) for _ in range(config.n_layers))
        self.head = dense(n, n, 1)

    def forward(self, batch: GraphBatch) -> Tensor:
        """Return one unitless prediction per crystal, (n_crystals,)."""
        h = self.embedding(self.vectors(batch))  # (n_orbits, n_channels)
        displacement = batch.edge_vec.new_zeros(batch.n_orbits, 3)
        strength = polynomial_cutoff(batch.edge_vec.norm(dim=-1) / self.r_max) * batch.edge_multiplicity
        for layer in self.layers:
            h, displacement = layer(h, displacement, strength, batch)
        return batch.mean_over_atoms(self.head(h)).squeeze(-1)
