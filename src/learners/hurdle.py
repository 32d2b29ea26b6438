"""A hurdle model (Cragg, Econometrica 39, 829 (1971)), for targets that often have the same value, like metals' band gaps.

Trees judge whether a crystal has the shared value; any other learner is fitted to the crystals with other values.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from src.config import HurdleConfig
from src.data.table import Crystals
from src.data.target import share_of_ones
from src.data.task import ColumnNames
from src.learners.learner import SETTINGS, DivergedError, Learner, Values, Watched, load_learner, make_learner, write_learner
from src.storage.files import read_json

LEAST_OTHERS = 10  # rows with another value, to which the learner is fitted; with fewer it is fitted to all
BELOW, ABOVE = 0.4, 0.7  # probability of another value: at most, and at least, for the shared value, and that of others, alone
JUDGE, OTHERS = "judge", "others"  # folders of the trees and of the learner


class BothInputs(NamedTuple):
    """Inputs of the trees and of the learner; row numbers select rows of both."""

    trees: Any
    others: Any

    def __len__(self) -> int:
        return len(self.trees)

    def __getitem__(self, rows: Any) -> "BothInputs":
        return BothInputs(self.trees[rows], self.others[rows])


class HurdleLearner(Learner[HurdleConfig]):
    """Fits trees to whether a target has the most frequent value, and the learner to the others.

    shared: the most frequent value. odds: logarithm of the odds of other values in the training rows.
    """

    shared: float
    odds: float

    def __init__(self, config: HurdleConfig, seed: int = 0, device: str = "cpu", word2vec: Path | None = None) -> None:
        super().__init__(config, seed, device, word2vec)
        if config.others is None:
            raise ValueError("HurdleConfig.others: there is no learner after the hurdle")
        self.trees, self.others = (make_learner(one, seed, device, word2vec) for one in (config.trees, config.others))

    def prepare_inputs(self, crystals: Crystals, key: str, cache: Path | None, n_jobs: int) -> BothInputs:
        return BothInputs(*(one.prepare_inputs(crystals, key, cache, n_jobs) for one in (self.trees, self.others)))

    def histories(self) -> dict[str, int]:
        return self.others.histories()

    @property
    def columns(self) -> ColumnNames:
        """Names of the further columns that the trees or the learner need."""
        return self.trees.columns if self.trees.columns.all else self.others.columns

    @property
    def gpu(self) -> str | None:
        return self.others.gpu

    def limit_threads(self) -> None:
        self.others.limit_threads()

    def fit(self, inputs: BothInputs, target: Values, folder: Path, watched: Watched | None = None) -> None:
        """Train both; the history is that of the learner, whose error is that on watched rows like those that it is fitted to."""
        values, counts = np.unique(target, return_counts=True)
        self.shared = float(values[counts.argmax()])
        other = target != self.shared
        share = share_of_ones(other)
        self.odds = float(logit(share))
        (folder / JUDGE).mkdir(exist_ok=True)
        self.trees.fit(inputs.trees, other - share, folder / JUDGE)
        rows = np.flatnonzero(other) if other.sum() >= LEAST_OTHERS and not self.config.of_all else np.arange(len(target))
        if watched:
            chosen = np.flatnonzero((watched.target != self.shared) | self.config.of_all)
            seen = chosen if len(chosen) else np.arange(len(watched.target))
            watched = Watched(watched.inputs.others[seen], watched.target[seen], watched.report)
        try:
            self.others.fit(inputs.others[rows], target[rows], folder, watched)
        except DivergedError as error:
            raise DivergedError(error.what, error.value, error.epoch, rows[error.rows].tolist()) from None

    def predict(self, inputs: BothInputs) -> Values:
        return self._behind(inputs, self.others.predict)

    def predict_members(self, inputs: BothInputs) -> Values:
        return self._behind(inputs, self.others.predict_members)

    def features(self, inputs: BothInputs) -> NDArray[np.float32]:
        return self.others.features(inputs.others)

    def _behind(self, inputs: BothInputs, predict: Callable[[Any], Values]) -> Values:
        """Return the predictions of the learner, moved to the shared value if that is likely, (..., n_rows).

        They estimate the median, which has the least absolute error: if half are zero, the median is near zero. A learner of all
        rows knows this by itself.
        """
        probability = expit(self.odds + self.trees.predict(inputs.trees))
        weight = probability > BELOW if self.config.of_all else np.clip((probability - BELOW) / (ABOVE - BELOW), 0, 1)
        return self.shared + weight * (predict(inputs.others) - self.shared)

    def save(self, folder: Path) -> None:
        for name, one in ((JUDGE, self.trees), (OTHERS, self.others)):
            (folder / name).mkdir(exist_ok=True)
            one.save(folder / name)
        write_learner(folder, self.config, seed=self.seed, shared=self.shared, odds=self.odds)

    def restore(self, folder: Path, settings: dict[str, Any]) -> None:
        own = read_json(folder / SETTINGS, {"shared": float, "odds": float})
        self.shared, self.odds = own["shared"], own["odds"]
        self.trees, self.others = (load_learner(folder / name, self.device, self.word2vec) for name in (JUDGE, OTHERS))

    @property
    def n_parameters(self) -> int:
        """Number of fitted parameters of both."""
        return self.trees.n_parameters + self.others.n_parameters
