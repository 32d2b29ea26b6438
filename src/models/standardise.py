"""Features of crystals and of atoms that come beside the graph, standardised with statistics of the training fold."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

MAX_DEVIATION = 5.0  # standard deviations: a freak must not dominate


class InputStatistics(NamedTuple):
    """(2, n_features) each: mean and standard deviation over the training fold; None: there are no such features."""

    global_features: Tensor | None = None
    atom_features: Tensor | None = None


NO_STATISTICS = InputStatistics()


class Standardise(nn.Module):
    """Values in standard deviations, bounded. statistics: as in InputStatistics; None: it gives nothing, n_features is 0."""

    def __init__(self, statistics: Tensor | None, name: str) -> None:
        super().__init__()
        self.name = name
        self.n_features = 0 if statistics is None else statistics.shape[1]
        self.statistics: Tensor | None
        self.register_buffer("statistics", statistics)

    def forward(self, values: Tensor | None) -> list[Tensor]:
        """A list to join with others: of one (n_rows, n_features), or empty. Raises ValueError where the values are missing."""
        if self.statistics is None:
            return []
        if values is None:
            raise ValueError(f"the network was trained with {self.name}: the batch lacks them")
        mean, spread = self.statistics
        return [((values - mean) / spread).clamp(-MAX_DEVIATION, MAX_DEVIATION)]


def statistics_of(values: Tensor) -> Tensor:
    """(2, n_features): mean and standard deviation of each column, 1 for a deviation of 0. values: (n_rows, n_features)."""
    spread = values.double().std(dim=0, correction=0)
    return torch.stack([values.double().mean(dim=0), torch.where(spread > 1e-9, spread, 1.0)]).float()
