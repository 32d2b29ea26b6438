"""Trainings inside the training rows of one fold, for searches and races: the crystals of that fold are never used."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from src.config import ExperimentConfig, FoldConfig
from src.data.load import TaskData, assign_folds, load_folds
from src.data.target import TargetNormalizer
from src.features.bases import base_of
from src.learners.learner import Watched, make_learner
from src.paths import own_mat2vec

OUTER_FOLD = 0  # its crystals are left out
Values = NDArray[np.float64]
Report = Callable[[float], None]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class InnerSplits:
    """The training rows of the outer fold, and splits of them.

    rows: (n_rows,), their numbers in the training table. split: (n_rows,), the split that each is judged in.
    """

    data: TaskData
    rows: Ints
    split: Ints

    @classmethod
    def of(cls, data: TaskData, folds: FoldConfig, inner: FoldConfig) -> "InnerSplits":
        """Return the splits of the training rows of the outer fold, one of `folds`, as `inner` describes them."""
        rows = np.flatnonzero(load_folds(data, folds) != OUTER_FOLD)
        return cls(data, rows, assign_folds(data.train.targets[rows], data.train.crystals.element_counts[rows], inner))

    def target(self, split: int) -> Values:
        """Return the target of the rows that a split is judged on, (n_valid,)."""
        return self.data.train.targets[self.rows[self.split == split]]

    def predict(
        self, config: ExperimentConfig, split: int, folder: Path, device: str, report: Report = lambda error: None
    ) -> Values:
        """Return the predictions for the rows of a split by a learner trained on the others, (n_valid,).

        folder: for the learner's files. report: called with the MAE on these rows after every epoch of a network and every 100
        trees; it may raise to end the training.
        """
        data, (train, valid) = self.data, (self.rows[self.split != split], self.rows[self.split == split])
        counts, target = data.train.crystals.element_counts, data.train.targets
        base = base_of(config.target, data.train.crystals, data.train_key, data.cache)
        learner = make_learner(config.trained, config.seed, device, own_mat2vec())
        inputs = learner.prepare_inputs(data.train.crystals, data.train_key, data.cache, 1)
        normalizer = TargetNormalizer.fit(counts[train], target[train], config.target, base[train])
        residual = normalizer.normalize(counts, target, base)
        folder.mkdir(exist_ok=True)
        watched = Watched(inputs[valid], residual[valid], lambda error: report(normalizer.scale * error))
        learner.fit(inputs[train], residual[train], folder, watched)
        return normalizer.mean_and_spread(counts[valid], learner.predict_members(inputs[valid]), base[valid])[0]
