"""Roost: message passing between the elements of a formula (Goodall, Lee, Nat. Commun. 11, 6280 (2020),
doi:10.1038/s41467-020-19964-7). It needs no structure.

Attention over the other elements, weighted by their shares in the formula, updates the vector of each element; attention over all
elements then pools them. The differences from the paper: one hidden layer follows the pooling instead of a deep residual network,
and the learned powers of the shares begin at one.
"""

from collections.abc import Sequence
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
    """Attention over the elements of sets, which have weights (eqs. 3 to 5); the mean over several heads.

    A head has one network for scores and one for messages, with two layers each. All first layers together are one matrix.
    """

    def __init__(self, n_in: int, n_out: int, n_hidden: int) -> None:
        super().__init__()
        scores, messages = ([leaky(n_in, n_hidden, n) for _ in range(N_HEADS)] for n in (1, n_out))

        def joined(networks: Sequence[nn.Sequential], layer: int, name: str, dim: int = 0) -> nn.Parameter:
            return nn.Parameter(torch.cat([getattr(network[layer], name).detach() for network in networks], dim))

        self.hidden_weight = joined([*scores, *messages], 0, "weight")  # (2 n_heads n_hidden, n_in)
        self.hidden_bias = joined([*scores, *messages], 0, "bias")
        self.score_weight, self.score_bias = joined(scores, 2, "weight"), joined(scores, 2, "bias")  # (n_heads, n_hidden)
        self.message_weight = joined(messages, 2, "weight", dim=1)  # (n_out, n_heads n_hidden)
        self.message_bias = nn.Parameter(joined(messages, 2, "bias").detach().unflatten(0, (N_HEADS, n_out)))
        self.power = nn.Parameter(torch.ones(N_HEADS))

    def forward(self, parts: Sequence[tuple[Tensor, Tensor | None]], weight: Tensor, index: Tensor, n: int) -> Tensor:
        """Return the attention-weighted mean over each of n sets, (n, n_out).

        parts: columns of the elements' inputs, (n_rows, n_columns), and the row of each element, (n_elements,); None: in order.
        weight, index: (n_elements,), index: of the set.

        The first layer is linear, so it is applied to rows, which are fewer than elements. So is the last layer of the messages,
        which is applied to their means.
        """
        columns = self.hidden_weight.split([rows.shape[1] for rows, _ in parts], dim=1)
        read = [rows @ own.T for (rows, _), own in zip(parts, columns, strict=True)]  # (n_rows, 2 n_heads n_hidden)
        own = [one if place is None else one.index_select(0, place) for one, (_, place) in zip(read, parts, strict=True)]
        hidden = nn.functional.leaky_relu(sum(own) + self.hidden_bias)
        hidden = hidden.unflatten(1, (2, N_HEADS, -1))  # (n_elements, 2, n_heads, n_hidden)
        score = (hidden[:, 0] * self.score_weight).sum(dim=2) + self.score_bias  # (n_elements, n_heads)
        share = softmax(score + self.power * weight.log()[:, None], index, num_nodes=n)
        mean = sum_at(index, share[..., None] * hidden[:, 1], n).flatten(1)  # (n, n_heads n_hidden)
        return mean @ self.message_weight.T / N_HEADS + self.message_bias.mean(dim=0)


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
            pairs = (h, batch.edge_dst_index), (h, source)  # (n_edges, 2 n_channels)
            h = h + layer(pairs, weight[source], batch.edge_dst_index, batch.n_orbits)
        pooled = self.pooling([(h, None)], weight, batch.orbit_batch, batch.n_crystals)
        return cast(Tensor, self.head(pooled)).squeeze(-1)
