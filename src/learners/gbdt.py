"""LightGBM on tables of features: one, or the mean of several, without the outliers among their training rows (3rd place)."""

import csv
import logging
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import KFold

from src.config import GbdtConfig, GbdtEnsembleConfig
from src.data.target import class_of
from src.data.task import ColumnNames
from src.learners.learner import (
    MEMBER_SEEDS,
    Learner,
    Values,
    Watched,
    check_sha256,
    fitted,
    load_learner,
    loading,
    read_encoder,
    write_learner,
)
from src.learners.tabular import TableInputs, TableLearner
from src.storage.names import HISTORY

log = logging.getLogger(__name__)
TREE_FILE = "model.txt"
SUBSAMPLE = 0.8  # share of the rows that each tree is grown on
EVERY = 100  # trees between two lines of history
N_INNER_FOLDS = 5  # of the training rows, for the models that judge outliers


class GbdtLearner(TableLearner[GbdtConfig]):
    """Gradient-boosted trees; the number of trees is fixed."""

    booster: lightgbm.Booster | None = None

    def histories(self) -> dict[str, int]:
        return {HISTORY: -(-self.config.n_trees // EVERY)}

    def fit(self, inputs: TableInputs, target: Values, folder: Path, watched: Watched | None = None) -> None:
        """Grow all trees; the history has one line for every 100."""
        c = self.config
        parameters = {
            "objective": c.objective, "metric": "binary_logloss" if c.of_classes else "l1",
            "learning_rate": c.learning_rate, "num_leaves": c.num_leaves,
            "min_child_samples": c.min_child_samples, "colsample_bytree": c.colsample_bytree, "subsample": SUBSAMPLE,
            "subsample_freq": 1, "reg_lambda": c.reg_lambda, "seed": self.seed, "deterministic": True, "force_row_wise": True,
            "num_threads": 1, "verbose": -1, "max_bin": c.max_bin,
        }  # fmt: skip
        self.encoder = inputs.fit_encoder(c.features)

        def dataset(rows: TableInputs, values: Values, like: lightgbm.Dataset | None = None) -> lightgbm.Dataset:
            x = rows.matrix(c.features, self.encoder)
            columns = [f"f{i}" for i in range(x.shape[1])]  # LightGBM allows no brackets in names
            label, start = class_of(values) if c.of_classes else (values, None)
            return lightgbm.Dataset(x, label, reference=like, init_score=start, feature_name=columns)

        data = dataset(inputs, target)
        valid = [dataset(watched.inputs, watched.target, data)] if watched else []
        with (folder / HISTORY).open("w", newline="") as file:
            history = csv.writer(file)
            history.writerow(["tree", "valid_mae"])

            def record(state: lightgbm.callback.CallbackEnv) -> None:
                done = state.iteration + 1
                if done % EVERY == 0 or done == c.n_trees:
                    history.writerow([done, *(result[2] for result in state.evaluation_result_list)])
                    file.flush()
                    if watched:
                        watched.report(state.evaluation_result_list[0][2])

            try:
                self.booster = lightgbm.train(parameters, data, c.n_trees, valid_sets=valid, callbacks=[record])
            except lightgbm.basic.LightGBMError as error:
                raise ValueError(f"LightGBM does not accept {c}: {error}") from error

    def predict(self, inputs: TableInputs) -> Values:
        matrix = inputs.matrix(self.config.features, self.encoder)
        return np.asarray(fitted(self.booster).predict(matrix, raw_score=self.config.of_classes))

    def save(self, folder: Path) -> None:
        weights = fitted(self.booster).model_to_string().encode()
        write_learner(folder, self.config, (TREE_FILE, weights), self.encoder, seed=self.seed)

    def restore(self, folder: Path, settings: dict[str, Any]) -> None:
        self.encoder = read_encoder(folder, self.config.features, settings)
        check_sha256(folder / TREE_FILE, settings.get("sha256"))
        with loading(folder / TREE_FILE):
            self.booster = lightgbm.Booster(model_file=str(folder / TREE_FILE))

    @property
    def n_parameters(self) -> int:
        """Number of leaves of all trees."""
        return sum(tree["num_leaves"] for tree in fitted(self.booster).dump_model()["tree_info"])


class GbdtEnsembleLearner(TableLearner[GbdtEnsembleConfig]):
    """Fits the parts one after another and predicts their mean."""

    parts: list[Learner[GbdtConfig]] | None = None

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
            c, kept = self.config, self._inliers(inputs, target, folder)
            if c.outlier_fraction:
                history.writerow(["outliers", ""])
            self.parts = []
            for i, config in enumerate(c.parts):
                part = GbdtLearner(config, self.seed + MEMBER_SEEDS * i)
                part.fit(inputs[kept], target[kept], _part_folder(folder, i), watched)
                self.parts.append(part)
                error = watched.error(self.predict(watched.inputs)[None], c.of_classes) if watched else float("nan")
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
        self.parts = [load_learner(folder / f"member_{i}") for i in range(len(self.config.parts))]

    @property
    def n_parameters(self) -> int:
        """Number of leaves of all trees of all parts."""
        return sum(part.n_parameters for part in fitted(self.parts))


def _part_folder(folder: Path, i: int) -> Path:
    path = folder / f"member_{i}"
    path.mkdir(exist_ok=True)
    return path
