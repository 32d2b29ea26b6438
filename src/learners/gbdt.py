"""LightGBM on tables of features."""

import csv
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray

from src.config import GbdtConfig
from src.data.table import Crystals
from src.learners.learner import Learner, Values, Watched, check_sha256, fitted, loading, read_encoder, write_learner
from src.learners.table_inputs import TableInputs
from src.storage.names import HISTORY

WEIGHTS = "model.txt"
SUBSAMPLE = 0.8  # share of the rows that each tree is grown on
EVERY = 100  # trees between two lines of history


class GbdtLearner(Learner[GbdtConfig]):
    """Gradient-boosted trees; the number of trees is fixed."""

    booster: lightgbm.Booster | None = None

    def prepare_inputs(self, crystals: Crystals, key: str, cache: Path | None, n_jobs: int) -> TableInputs:
        """Return a table for each group of features."""
        return TableInputs.prepare(self.config.features, crystals, key, cache, n_jobs, self.word2vec)

    def histories(self) -> dict[str, int]:
        return {HISTORY: -(-self.config.n_trees // EVERY)}

    def fit(self, inputs: TableInputs, target: Values, folder: Path, watched: Watched | None = None) -> None:
        """Grow all trees; the history has one line for every 100."""
        c = self.config
        parameters = {
            "objective": c.objective, "metric": "l1", "learning_rate": c.learning_rate, "num_leaves": c.num_leaves,
            "min_child_samples": c.min_child_samples, "colsample_bytree": c.colsample_bytree, "subsample": SUBSAMPLE,
            "subsample_freq": 1, "reg_lambda": c.reg_lambda, "seed": self.seed, "deterministic": True, "force_row_wise": True,
            "num_threads": 1, "verbose": -1,
        }  # fmt: skip
        self.encoder = inputs.fit_encoder(c.features)
        x = self._matrix(inputs)
        columns = [f"f{i}" for i in range(x.shape[1])]  # LightGBM allows no brackets in names
        data = lightgbm.Dataset(x, target, feature_name=columns)
        valid = [lightgbm.Dataset(self._matrix(watched.inputs), watched.target, reference=data)] if watched else []
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
        return np.asarray(fitted(self.booster).predict(self._matrix(inputs)))

    def _matrix(self, inputs: TableInputs) -> NDArray[np.floating]:
        return inputs.matrix(self.config.features, self.encoder.for_trees if self.encoder else None)

    def save(self, folder: Path) -> None:
        weights = fitted(self.booster).model_to_string().encode()
        write_learner(folder, self.config, (WEIGHTS, weights), self.encoder, seed=self.seed)

    def restore(self, folder: Path, settings: dict[str, Any]) -> None:
        self.encoder = read_encoder(folder, self.config.features, settings)
        check_sha256(folder / WEIGHTS, settings.get("sha256"))
        with loading(folder / WEIGHTS):
            self.booster = lightgbm.Booster(model_file=str(folder / WEIGHTS))

    @property
    def n_parameters(self) -> int:
        """Number of leaves of all trees."""
        return sum(tree["num_leaves"] for tree in fitted(self.booster).dump_model()["tree_info"])
