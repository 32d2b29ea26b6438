"""CGCNN, the crystal graph convolutional network (Xie, Grossman, Phys. Rev. Lett. 120, 145301 (2018), eq. 5,
doi:10.1103/PhysRevLett.120.145301).

The convolution is torch-geometric's CGConv. The differences from the authors' code:
- All atoms within r_max are neighbours and fade with a smooth cutoff. The authors' twelve nearest depend on the choice of the
  cell if several are equidistant.
- Sums of messages are normalised over their channels (layer norm), not over the batch: batch statistics of a reduced graph
  would differ from those of the full one.
- The element vectors are those of the experiment.
"""

from torch import Tensor, nn
from torch_geometric.nn import CGConv

from src.config import CgcnnConfig, GraphConfig
from src.graphs.batch import GraphBatch
from src.models.blocks import CrystalNetwork, edge_weights, gaussians, orbit_edges
from src.models.radial import unit_linear

GAUSSIAN_STEP = 0.2  # Angstrom, between the centres of the Gaussians that expand bond lengths
N_HEAD = 128  # width of the hidden layer after the readout


class WeightedCGConv(CGConv):
    """CGConv with weighted messages; the sum is normalised, added to the input and passed through softplus."""

    def __init__(self, n_channels: int, n_edge_features: int) -> None:
        super().__init__(n_channels, dim=n_edge_features)
        self.norm = nn.LayerNorm(n_channels)

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor, weight: Tensor) -> Tensor:
        """Return the updated x, (n_orbits, n_channels). edge_attr: (n_edges, n_edge_features). weight: (n_edges, 1)."""
        # propagate_type: (x: PairTensor, edge_attr: Tensor, weight: Tensor)
        total = self.propagate(edge_index, x=(x, x), edge_attr=edge_attr, weight=weight)
        return nn.functional.softplus(x + self.norm(total))

    def message(self, x_i: Tensor, x_j: Tensor, edge_attr: Tensor, weight: Tensor) -> Tensor:
        """Return the weighted message of each edge, (n_edges, n_channels)."""
        return super().message(x_i, x_j, edge_attr) * weight


class Cgcnn(CrystalNetwork):
    """CGCNN, from the mean of the atoms' features."""

    members_in_turn = True  # see members.py

    def __init__(self, config: CgcnnConfig, graph: GraphConfig, element_vectors: Tensor, avg_n_neighbors: float) -> None:
        super().__init__(element_vectors)
        n, step = config.n_channels, GAUSSIAN_STEP
        self.r_max, self.scale = graph.r_max, avg_n_neighbors**-0.5
        n_gaussians = int(graph.r_max / step) + 1
        self.expansion = gaussians(0, (n_gaussians - 1) * step, n_gaussians, step**-2)
        self.embedding = unit_linear(element_vectors.shape[1], n)
        self.layers = nn.ModuleList(WeightedCGConv(n, n_gaussians) for _ in range(config.n_layers))
        self.head = nn.Sequential(nn.Softplus(), nn.Linear(n, N_HEAD), nn.Softplus(), nn.Linear(N_HEAD, 1))

    def forward(self, batch: GraphBatch) -> Tensor:
        """Return one unitless prediction per crystal, (n_crystals,)."""
        edge_index = orbit_edges(batch)
        weight = edge_weights(batch, self.r_max)[:, None] * self.scale
        edge_attr = self.expansion(batch.length)[batch.edge_length_index]  # (n_edges, n_gaussians)
        h = self.embedding(self.vectors(batch))  # (n_orbits, n_channels)
        for layer in self.layers:
            h = layer(h, edge_index, edge_attr, weight)
        return self.head(batch.mean_over_atoms(h)).squeeze(-1)
