"""Standardisation of the additional features of crystals and atoms with statistics of the training fold."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

MAX_DEVIATION = 5.0  # standard deviations: an outlier must not dominate


class InputStatistics(NamedTuple):
    """Mean and standard deviation over the training fold, (2, n_features) each; None if there are no such features."""

    global_features: Tensor | None = None
    atom_features: Tensor | None = None


NO_STATISTICS = InputStatistics()


class Standardise(nn.Module):
    """Standardised and clipped features; if statistics is None (see InputStatistics), no features: n_features is 0."""

    def __init__(self, statistics: Tensor | None, name: str) -> None:
        super().__init__()
        self.name = name
        self.n_features = 0 if statistics is None else statistics.shape[1]
        self.statistics: Tensor | None
        self.register_buffer("statistics", statistics)

    def forward(self, values: Tensor | None) -> list[Tensor]:
        """Return a list of one (n_rows, n_features), empty without statistics; raise ValueError if the values are missing."""
        if self.statistics is None:
            return []
        if values is None:
            raise ValueError(f"the network was trained with {self.name}, but the batch has none")
        mean, spread = self.statistics
        return [((values - mean) / spread).clamp(-MAX_DEVIATION, MAX_DEVIATION)]


def statistics_of(values: Tensor) -> Tensor:
    """Return the mean and standard deviation of each column of values, (2, n_features); a deviation of 0 is replaced by 1."""
    spread = values.double().std(dim=0, correction=0)
    return torch.stack([values.double().mean(dim=0), torch.where(spread > 1e-9, spread, 1.0)]).float()
