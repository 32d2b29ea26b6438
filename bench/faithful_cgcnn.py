"""The published CGCNN, written from its paper and code (github.com/txie-93/cgcnn, cgcnn/model.py), without its batch norms.

It is not on PyPI. There the sums run over a table of exactly twelve neighbours of each atom, here over a list of edges.
"""

import torch
from torch import Tensor, nn

from src.models.cgcnn import Cgcnn


class PublishedConv(nn.Module):
    """Equation 5: x + sum over neighbours of sigmoid(filter) * softplus(core), from one linear layer, then softplus."""

    def __init__(self, n: int, n_edge: int) -> None:
        super().__init__()
        self.full = nn.Linear(2 * n + n_edge, 2 * n)

    def forward(self, x: Tensor, edge: Tensor, edge_index: Tensor) -> Tensor:
        """Return the updated x, (n_atoms, n)."""
        neighbor, center = edge_index
        gate, core = self.full(torch.cat([x[center], x[neighbor], edge], dim=1)).chunk(2, dim=1)
        message = gate.sigmoid() * nn.functional.softplus(core)
        return nn.functional.softplus(x + torch.zeros_like(x).index_add(0, center, message))


class PublishedCgcnn(nn.Module):
    """Embedding, convolutions, mean over atoms, one hidden layer. Gaussians: 0, 0.2, ... 8 Angstrom, of width 0.2."""

    def __init__(self, n_elements_features: int, n_edge: int, n_convolutions: int, n: int = 64, n_hidden: int = 128) -> None:
        super().__init__()
        self.embedding = nn.Linear(n_elements_features, n)
        self.convolutions = nn.ModuleList(PublishedConv(n, n_edge) for _ in range(n_convolutions))
        self.hidden, self.out = nn.Linear(n, n_hidden), nn.Linear(n_hidden, 1)

    def forward(self, features: Tensor, distance: Tensor, edge_index: Tensor, crystal: Tensor) -> Tensor:
        """Return one value per crystal. distance: (n_edges,), Angstrom. edge_index: neighbour, centre. crystal: of each atom."""
        centers = torch.arange(0, 41, dtype=distance.dtype) * 0.2
        edge = torch.exp(-((distance[:, None] - centers) ** 2) / 0.2**2)
        x = self.embedding(features)
        for convolution in self.convolutions:
            x = convolution(x, edge, edge_index)
        mean = torch.stack([x[crystal == i].mean(dim=0) for i in range(int(crystal.max()) + 1)])
        hidden = nn.functional.softplus(self.hidden(nn.functional.softplus(mean)))
        return self.out(hidden).squeeze(-1)


def copy_cgcnn(theirs: PublishedCgcnn, ours: Cgcnn) -> None:
    """Copy the weights into ours, which has no bias in its embedding (theirs is set to zero) and no norm here."""
    with torch.no_grad():
        theirs.embedding.bias.zero_()
        ours.embedding.weight.copy_(theirs.embedding.weight)
        for own, other in zip(ours.layers, theirs.convolutions, strict=True):
            for linear, weight, bias in zip(
                (own.lin_f, own.lin_s), other.full.weight.chunk(2), other.full.bias.chunk(2), strict=True
            ):
                linear.weight.copy_(weight)
                linear.bias.copy_(bias)
            own.norm = nn.Identity()
    ours.head[1].load_state_dict(theirs.hidden.state_dict())
    ours.head[3].load_state_dict(theirs.out.state_dict())
