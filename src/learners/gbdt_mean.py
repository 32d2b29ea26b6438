"""The mean of several LightGBMs within a fold, fitted without the outliers among the training rows (3rd place)."""

import csv
import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import KFold

from src.config import GbdtEnsembleConfig
from src.data.columns import ColumnNames
from src.data.table import Crystals
from src.learners.gbdt import GbdtLearner
from src.learners.learner import MEMBER_SEEDS, Learner, Values, Watched, fitted, read_settings, write_learner
from src.learners.table_inputs import TableInputs
from src.storage.names import HISTORY

log = logging.getLogger(__name__)
N_INNER_FOLDS = 5  # of the training rows, for the models that judge outliers


class GbdtEnsembleLearner(Learner[GbdtEnsembleConfig]):
    """Fits the parts one after another and predicts their mean."""

    parts: list[GbdtLearner] | None = None

    def prepare_inputs(self, crystals: Crystals, key: str, cache: Path | None, n_jobs: int) -> TableInputs:
        """Return a table for each group of features of any part."""
        return TableInputs.prepare(self.config.feature_groups, crystals, key, cache, n_jobs, self.word2vec)

    @property
    def columns(self) -> ColumnNames:
        """Names of the further columns that any part needs."""
        return next((part.columns for part in fitted(self.parts) if part.columns.all), ColumnNames((), ()))

    def histories(self) -> dict[str, int]:
        return {HISTORY: len(self.config.parts) + (self.config.outlier_fraction > 0)}

    def fit(self, inputs: TableInputs, target: Values, folder: Path, watched: Watched | None = None) -> None:
        """Fit every part without the outliers among the training rows; watched rows are left as they are."""
        with (folder / HISTORY).open("w", newline="") as file:
            history = csv.writer(file)
            history.writerow(["step", "valid_mae"])
            kept = self._inliers(inputs, target, folder)
            if self.config.outlier_fraction:
                history.writerow(["outliers", ""])
            self.parts = []
            for i, config in enumerate(self.config.parts):
                part = GbdtLearner(config, self.seed + MEMBER_SEEDS * i)
                part.fit(inputs[kept], target[kept], _part_folder(folder, i), watched)
                self.parts.append(part)
                error = np.abs(self.predict(watched.inputs) - watched.target).mean() if watched else float("nan")
                history.writerow([f"mean of {i + 1}", error])
                file.flush()

    def _inliers(self, inputs: TableInputs, target: Values, folder: Path) -> NDArray[np.int64]:
        """Return the rows with the smaller errors, each judged by a model that was not fitted on it.

        The models have the settings of the first part.
        """
        n_removed = int(self.config.outlier_fraction * len(target))
        if n_removed == 0:
            return np.arange(len(target))
        error = np.empty(len(target))
        folds = KFold(N_INNER_FOLDS, shuffle=True, random_state=self.seed)
        for rest, held_out in folds.split(target):
            model = GbdtLearner(self.config.parts[0], self.seed)
            model.fit(inputs[rest], target[rest], _part_folder(folder, 0))
            error[held_out] = np.abs(model.predict(inputs[held_out]) - target[held_out])
        kept = np.sort(np.argsort(error, kind="stable")[: len(target) - n_removed])
        log.info("outliers: %d of %d training rows removed, errors above %.3f", n_removed, len(target), error[kept].max())
        return kept

    def predict(self, inputs: TableInputs) -> Values:
        return np.mean([part.predict(inputs) for part in fitted(self.parts)], axis=0)

    def save(self, folder: Path) -> None:
        for i, part in enumerate(fitted(self.parts)):
            part.save(_part_folder(folder, i))
        write_learner(folder, self.config, seed=self.seed)

    def restore(self, folder: Path, settings: dict[str, Any]) -> None:
        self.parts = [GbdtLearner(config) for config in self.config.parts]
        for i, part in enumerate(self.parts):
            part.restore(folder / f"member_{i}", read_settings(folder / f"member_{i}")[1])

    @property
    def n_parameters(self) -> int:
        """Number of leaves of all trees of all parts."""
        return sum(part.n_parameters for part in fitted(self.parts))


def _part_folder(folder: Path, i: int) -> Path:
    path = folder / f"member_{i}"
    path.mkdir(exist_ok=True)
    return path
