"""Roost: message passing between the elements of a formula (Goodall, Lee, Nat. Commun. 11, 6280 (2020),
doi:10.1038/s41467-020-19964-7). It needs no structure.

Attention over the other elements, weighted by their shares in the formula, updates the vector of each element; attention over all
elements then pools them. The differences from the paper: one hidden layer follows the pooling instead of a deep residual network,
and the learned powers of the shares begin at one.
"""

from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch_geometric.utils import softmax

from src.config import GraphConfig, RoostConfig
from src.graphs.batch import GraphBatch, sum_at
from src.models.blocks import CrystalNetwork, dense
from src.models.radial import unit_linear

N_HEADS = 3  # of each attention
leaky = partial(dense, activation=nn.LeakyReLU)


class WeightedAttention(nn.Module):
    """Attention over the elements of sets, which have weights (eqs. 3 to 5); the mean over several heads."""

    def __init__(self, n_in: int, n_out: int, n_hidden: int) -> None:
        super().__init__()
        self.scores = nn.ModuleList(leaky(n_in, n_hidden, 1) for _ in range(N_HEADS))
        self.messages = nn.ModuleList(leaky(n_in, n_hidden, n_out) for _ in range(N_HEADS))
        self.power = nn.Parameter(torch.ones(N_HEADS))

    def forward(self, x: Tensor, weight: Tensor, index: Tensor, n: int) -> Tensor:
        """Return the attention-weighted mean over each of n sets, (n, n_out).

        x: (n_elements, n_in). weight, index: (n_elements,), index: of the set.
        """
        score = torch.cat([network(x) for network in self.scores], dim=1)  # (n_elements, n_heads)
        share = softmax(score + self.power * weight.log()[:, None], index, num_nodes=n)
        message = torch.stack([network(x) for network in self.messages], dim=1)  # (n_elements, n_heads, n_out)
        return sum_at(index, (share[..., None] * message).mean(dim=1), n)


class Roost(CrystalNetwork):
    """Roost, for graphs of formulas.

    avg_n_neighbors: unused, because attention is a mean.
    """

    def __init__(self, config: RoostConfig, graph: GraphConfig, element_vectors: Tensor, avg_n_neighbors: float) -> None:
        super().__init__(element_vectors)
        n, n_hidden = config.n_channels, config.n_hidden
        self.embedding = unit_linear(element_vectors.shape[1], n - 1)  # the share in the formula is one more
        self.layers = nn.ModuleList(WeightedAttention(2 * n, n, n_hidden) for _ in range(config.n_layers))
        self.pooling = WeightedAttention(n, n, n_hidden)
        self.head = leaky(n, n_hidden, 1)

    def forward(self, batch: GraphBatch) -> Tensor:
        """Return one unitless prediction per crystal, (n_crystals,)."""
        weight, source = batch.orbit_weight, batch.atom_orbit_index[batch.edge_src_index]
        h = torch.cat([self.embedding(self.vectors(batch)), weight[:, None]], dim=1)  # (n_orbits, n_channels)
        for layer in self.layers:
            pairs = torch.cat([h[batch.edge_dst_index], h[source]], dim=1)  # (n_edges, 2 n_channels)
            h = h + layer(pairs, weight[source], batch.edge_dst_index, batch.n_orbits)
        pooled = self.pooling(h, weight, batch.orbit_batch, batch.n_crystals)
        return cast(Tensor, self.head(pooled)).squeeze(-1)
