"""Readout: what atoms say -> one value per crystal."""

from torch import Tensor, nn

from src.config.networks import ReadoutName
from src.graphs.batch import GraphBatch


class Readout(nn.Module):
    """Pool the values of atoms over each crystal.

    `mean` suits a target that is a mean over atoms, such as an energy per atom; `max` one that the extreme atom decides, such as
    the highest frequency; `attention` is a mean with learned weights, softmax over the atoms of a linear score of their
    features (Li et al., arXiv:1511.05493, eq. 7), and begins as the mean. All three give a supercell the value of its
    primitive cell. `sum` suits a target that grows with the cell: a supercell of n cells has n times the value.
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
