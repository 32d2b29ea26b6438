"""MEGNet: states of atoms, bonds and the crystal (Chen et al., Chem. Mater. 31, 3564 (2019), doi:10.1021/acs.chemmater.9b01294).

The block is torch-geometric's MetaLayer and the readout its Set2Set, both with weights added. The differences from the paper:
- The mean over an atom's bonds is their sum, with a smooth cutoff, divided by avg_n_neighbors, so that it stays continuous as
  neighbours enter; likewise the mean over all bonds.
- Set2Set reads each atom concatenated with its mean bond; the authors read atoms and bonds separately.
- r_max (4 Angstrom in the paper) and the element vectors are those of the experiment.
"""

from functools import partial

import torch
from torch import Tensor, nn
from torch_geometric.nn import MetaLayer
from torch_geometric.nn.aggr import Set2Set
from torch_geometric.nn.models.schnet import ShiftedSoftplus
from torch_geometric.utils import softmax

from src.config import GraphConfig, MegnetConfig
from src.graphs.batch import GraphBatch, sum_at
from src.models.blocks import CrystalNetwork, dense, edge_weights, gaussians, orbit_edges
from src.models.radial import unit_linear

N_HIDDEN = 64  # width inside a block
N_BOND_GAUSSIANS, GAUSSIAN_WIDTH = 100, 0.5  # that expand bond lengths from 0 to r_max + 1 Angstrom; Angstrom
N_SET2SET = 3  # steps of the readout
soft = partial(dense, activation=ShiftedSoftplus, last=True)


class WeightedMetaLayer(MetaLayer):
    """MetaLayer with the paper's sums (eqs. 4 to 9), weighted so that a reduced graph gives the same result as the full one."""

    def __init__(self, n: int) -> None:
        super().__init__(*(soft(n_parts * n, N_HIDDEN, N_HIDDEN, n) for n_parts in (4, 3, 3)))

    def forward(
        self, x: Tensor, edge_index: Tensor, edge_attr: Tensor, u: Tensor, batch: GraphBatch, weight: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the updated x, (n_orbits, n), edge_attr, (n_edges, n), and u, (n_crystals, n).

        weight: (n_edges, 1), such that weighted sums are means over bonds.
        """
        src, dst = edge_index
        of_orbit = u[batch.orbit_batch]  # (n_orbits, n)
        edge_attr = self.edge_model(torch.cat([x[src], x[dst], edge_attr, of_orbit[dst]], dim=-1))
        bonds = sum_at(dst, edge_attr * weight, len(x))  # the mean bond of each atom, (n_orbits, n)
        x = self.node_model(torch.cat([bonds, x, of_orbit], dim=-1))
        u = self.global_model(torch.cat([batch.mean_over_atoms(bonds), batch.mean_over_atoms(x), u], dim=-1))
        return x, edge_attr, u


class MegnetBlock(nn.Module):
    """Dense layers and a graph network layer with a skip connection."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.dense = nn.ModuleList(soft(n, N_HIDDEN, n) for _ in range(3))
        self.layer = WeightedMetaLayer(n)

    def forward(
        self, states: tuple[Tensor, Tensor, Tensor], edge_index: Tensor, batch: GraphBatch, weight: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the updated states of atoms, bonds and crystals."""
        x, edge_attr, u = (layer(state) for layer, state in zip(self.dense, states, strict=True))
        x, edge_attr, u = self.layer(x, edge_index, edge_attr, u, batch, weight)
        return states[0] + x, states[1] + edge_attr, states[2] + u


class WeightedSet2Set(Set2Set):
    """Set2Set (Vinyals et al., arXiv:1511.06391) for sets in which one element may represent several equal ones."""

    def forward(self, x: Tensor, index: Tensor, ptr: None, dim_size: int, dim: int, weight: Tensor) -> Tensor:
        """Return one vector per set, (n_sets, 2 n_features).

        x: (n_rows, n_features). index: (n_rows,), set of each row. weight: (n_rows,), proportional to the number of equal
        elements. The other arguments belong to torch-geometric's interface of aggregations; dim_size is n_sets.
        """
        out = x.new_zeros(dim_size, self.out_channels)
        state = tuple(x.new_zeros(self.lstm.num_layers, dim_size, self.in_channels) for _ in range(2))
        for _ in range(self.processing_steps):
            query, state = self.lstm(out[None], state)
            logit = (x * query[0][index]).sum(dim=-1) + weight.log()
            attention = softmax(logit, index, num_nodes=dim_size)[:, None]
            out = torch.cat([query[0], sum_at(index, attention * x, dim_size)], dim=-1)
        return out


class Megnet(CrystalNetwork):
    """MEGNet, from intensive states."""

    def __init__(self, config: MegnetConfig, graph: GraphConfig, element_vectors: Tensor, avg_n_neighbors: float) -> None:
        super().__init__(element_vectors)
        n = config.n_channels
        self.r_max, self.scale = graph.r_max, 1 / avg_n_neighbors
        self.expansion = gaussians(0, graph.r_max + 1, N_BOND_GAUSSIANS, GAUSSIAN_WIDTH**-2)
        self.embedding = unit_linear(element_vectors.shape[1], n)
        self.edge_embedding = soft(N_BOND_GAUSSIANS, N_HIDDEN, n)
        self.state = nn.Parameter(torch.zeros(n))
        self.blocks = nn.ModuleList(MegnetBlock(n) for _ in range(config.n_layers))
        self.readout = WeightedSet2Set(2 * n, N_SET2SET)
        self.head = nn.Sequential(soft(5 * n, n, max(1, n // 2)), nn.Linear(max(1, n // 2), 1))

    def forward(self, batch: GraphBatch) -> Tensor:
        """Return one unitless prediction per crystal, (n_crystals,)."""
        edge_index = orbit_edges(batch)
        weight = edge_weights(batch, self.r_max)[:, None] * self.scale
        bonds = self.edge_embedding(self.expansion(batch.length))[batch.edge_length_index]  # (n_edges, n)
        atoms = self.embedding(self.vectors(batch))  # (n_orbits, n)
        states = atoms, bonds, self.state.expand(batch.n_crystals, -1)
        for block in self.blocks:
            states = block(states, edge_index, batch, weight)
        atoms, bonds, crystal = states
        atoms = torch.cat([atoms, sum_at(edge_index[1], bonds * weight, len(atoms))], dim=-1)  # (n_orbits, 2 n)
        read = self.readout(atoms, batch.orbit_batch, dim_size=batch.n_crystals, weight=batch.orbit_weight)  # (n_crystals, 4 n)
        return self.head(torch.cat([read, crystal], dim=-1)).squeeze(-1)
