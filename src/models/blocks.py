"""Parts that networks share: element vectors, dense layers, edges of invariant networks, standardised features, readout.

In an invariant network all atoms of an orbit have equal features, and all edges that one merged edge represents carry equal
messages. The reduction by symmetry is therefore exact if sums over edges are weighted by multiplicity, and sums over atoms by
the weight of their orbit. The weights also include the cutoff, which keeps sums continuous as neighbours enter or leave, and
the normalisation of the sum.
"""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from src.config.knobs import ReadoutName
from src.graphs.batch import GraphBatch, sum_at
from src.models.radial import polynomial_cutoff

MAX_DEVIATION = 5.0  # standard deviations of a feature: an outlier must not dominate


class CrystalNetwork(nn.Module):
    """Maps a graph batch to one number per crystal. Networks take their config, that of the graph, and

    element_vectors: (N_ELEMENTS, n_features), by atomic number.
    avg_n_neighbors: of the training fold.
    """

    members_in_turn = False  # see members.py

    def __init__(self, element_vectors: Tensor) -> None:
        super().__init__()
        self.element_vectors: Tensor
        self.register_buffer("element_vectors", element_vectors)

    def vectors(self, batch: GraphBatch) -> Tensor:
        """Return the element vector of each orbit, (n_orbits, n_features); of a mixed site the mean over its atoms."""
        vectors = self.element_vectors[batch.orbit_z]
        if not len(batch.mixture_z):
            return vectors
        own = self.element_vectors[batch.mixture_z] * batch.mixture_share[:, None]
        return torch.where(batch.orbit_z[:, None] == 0, sum_at(batch.mixture_orbit_index, own, batch.n_orbits), vectors)


def dense(*widths: int, activation: Callable[[], nn.Module] = nn.SiLU, last: bool = False) -> nn.Sequential:
    """Return linear layers of these widths with an activation between them; `last`: also after the last layer."""
    layers = [layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), activation())]
    return nn.Sequential(*(layers if last else layers[:-1]))


def orbit_edges(batch: GraphBatch) -> Tensor:
    """Return the orbits of the neighbour and the centre of each edge, (2, n_edges)."""
    return torch.stack([batch.atom_orbit_index[batch.edge_src_index], batch.edge_dst_index])


def edge_weights(batch: GraphBatch, r_max: float) -> Tensor:
    """Return the multiplicity of each edge times its polynomial cutoff, (n_edges,)."""
    return polynomial_cutoff(batch.length / r_max)[batch.edge_length_index] * batch.edge_multiplicity


def gaussians(start: float, stop: float, n: int, exponent: float) -> nn.Module:
    """Return the expansion x -> exp(-exponent (x - centre)^2), (len(x), n), with n centres evenly spaced from start to stop."""
    from torch_geometric.nn.models.schnet import GaussianSmearing  # takes seconds to import, and NequIP does not need it

    expansion = GaussianSmearing(start, stop, n)
    expansion.coeff = -exponent
    return expansion


class Standardise(nn.Module):
    """Standardised and clipped features of crystals; no features, n_features of 0, if statistics is None.

    statistics: (2, n_features), mean and standard deviation over the training fold.
    """

    def __init__(self, statistics: Tensor | None) -> None:
        super().__init__()
        self.n_features = 0 if statistics is None else statistics.shape[1]
        self.statistics: Tensor | None
        self.register_buffer("statistics", statistics)

    def forward(self, values: Tensor | None) -> list[Tensor]:
        """Return a list of one (n_rows, n_features), empty without statistics; raise ValueError if the values are missing."""
        if self.statistics is None:
            return []
        if values is None:
            raise ValueError("the network was trained with global features, but the batch has none")
        mean, spread = self.statistics
        return [((values - mean) / spread).clamp(-MAX_DEVIATION, MAX_DEVIATION)]


def statistics_of(values: Tensor | None) -> Tensor | None:
    """Return the mean and standard deviation of each column of values, (2, n_features), if any; a deviation of 0 becomes 1."""
    if values is None:
        return None
    spread = values.double().std(dim=0, correction=0)
    return torch.stack([values.double().mean(dim=0), torch.where(spread > 1e-9, spread, 1.0)]).float()


class Readout(nn.Module):
    """Pool the values of atoms over each crystal.

    `mean` suits a target that is a mean over atoms, such as an energy per atom; `max` one that the extreme atom decides, such as
    the highest frequency; `attention` is a mean with learned weights, softmax over the atoms of a linear score of their
    features (Li et al., arXiv:1511.05493, eq. 7), and begins as the mean. All three give a supercell the value of its
    primitive cell. `sum`, for a target that grows with the cell, gives n cells n times the value; half an atom counts half.
    """

    def __init__(self, name: ReadoutName, n_features: int) -> None:
        """n_features: of an atom, for the scores."""
        super().__init__()
        self.name = name
        self.score = nn.Linear(n_features, 1, bias=False) if name == "attention" else None  # a bias would cancel
        if self.score is not None:
            nn.init.zeros_(self.score.weight)

    def forward(self, values: Tensor, features: Tensor, batch: GraphBatch) -> Tensor:
        """Return the pooled values, (n_crystals, n). values: (n_orbits, n). features: (n_orbits, n_features)."""
        if self.name == "max":
            return batch.max_over_atoms(values)
        if self.name == "sum":
            return batch.mean_over_atoms(values) * batch.n_atoms[:, None]
        if self.score is None:
            return batch.mean_over_atoms(values)
        score = self.score(features)
        weight = (score - batch.max_over_atoms(score)[batch.orbit_batch]).exp()  # at most one, whatever the scores are
        return batch.mean_over_atoms(weight * values) / batch.mean_over_atoms(weight)
