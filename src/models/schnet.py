"""SchNet (Schuett et al., NeurIPS 2017, arXiv:1706.08566; J. Chem. Phys. 148, 241722 (2018), doi:10.1063/1.5019779).

The layers are torch-geometric's InteractionBlock and CFConv, with its cosine cutoff. The differences from the paper: sums over
neighbours are scaled by avg_n_neighbors, and the initial node features are a linear map of the experiment's element vectors.
Filters are computed once per distinct bond length of a crystal.
"""

import math

from torch import Tensor, nn
from torch_geometric.nn.models.schnet import CFConv, InteractionBlock, ShiftedSoftplus

from src.config import GraphConfig, SchnetConfig
from src.graphs.batch import GraphBatch
from src.models.blocks import CrystalNetwork, dense, gaussians, orbit_edges
from src.models.radial import unit_linear

N_GAUSSIANS = 50  # that expand bond lengths, from 0 to r_max


class WeightedCFConv(CFConv):
    """CFConv with weighted messages."""

    def forward(self, x: Tensor, edge_index: Tensor, filters: Tensor, weight: Tensor) -> Tensor:
        """Return the convolved x, (n_orbits, n_channels). filters: (n_edges, n_channels). weight: (n_edges, 1)."""
        total = self.propagate(edge_index, x=self.lin1(x), W=filters * weight)
        return self.lin2(total)


class WeightedInteraction(InteractionBlock):
    """InteractionBlock with weighted edges and one filter per distinct length."""

    def __init__(self, n_channels: int, n_gaussians: int, r_max: float) -> None:
        super().__init__(n_channels, n_gaussians, n_channels, r_max)
        self.conv = WeightedCFConv(n_channels, n_channels, n_channels, nn.Identity(), r_max)  # `self.mlp` computes the filters

    def forward(self, x: Tensor, edge_index: Tensor, basis: Tensor, length_index: Tensor, weight: Tensor) -> Tensor:
        """Return the update of x, (n_orbits, n_channels). basis: (n_lengths, n_gaussians). weight: (n_edges, 1)."""
        filters = self.mlp(basis)[length_index]  # (n_edges, n_channels)
        return self.lin(self.act(self.conv(x, edge_index, filters, weight)))


class Schnet(CrystalNetwork):
    """SchNet, the mean over the atoms."""

    members_in_turn = True  # see members.py

    def __init__(self, config: SchnetConfig, graph: GraphConfig, element_vectors: Tensor, avg_n_neighbors: float) -> None:
        super().__init__(element_vectors)
        n, spacing = config.n_channels, graph.r_max / (N_GAUSSIANS - 1)
        self.r_max, self.scale = graph.r_max, avg_n_neighbors**-0.5
        self.expansion = gaussians(0, graph.r_max, N_GAUSSIANS, 0.5 / spacing**2)
        self.embedding = unit_linear(element_vectors.shape[1], n)
        self.layers = nn.ModuleList(WeightedInteraction(n, N_GAUSSIANS, graph.r_max) for _ in range(config.n_layers))
        self.head = dense(n, max(1, n // 2), 1, activation=ShiftedSoftplus)

    def forward(self, batch: GraphBatch) -> Tensor:
        """Return one unitless prediction per crystal, (n_crystals,)."""
        edge_index = orbit_edges(batch)
        fade = 0.5 * ((batch.length * (math.pi / self.r_max)).cos() + 1) * (batch.length < self.r_max)  # (n_lengths,)
        weight = (fade[batch.edge_length_index] * batch.edge_multiplicity * self.scale)[:, None]
        basis = self.expansion(batch.length)  # (n_lengths, n_gaussians)
        h = self.embedding(self.vectors(batch))  # (n_orbits, n_channels)
        for layer in self.layers:
            h = h + layer(h, edge_index, basis, batch.edge_length_index, weight)
        return batch.mean_over_atoms(self.head(h)).squeeze(-1)
