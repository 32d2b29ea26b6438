"""Support vector regression on tables of features, for smooth targets that few features describe."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from src.config import SvrConfig
from src.data.table import Crystals
from src.features.columns import COLUMNS
from src.features.tables import finite_features
from src.learners.learner import Learner, Values, Watched, check_sha256, fitted, loading, read_encoder, write_learner
from src.learners.table_inputs import TableInputs
from src.storage.files import to_bytes
from src.storage.names import HISTORY

WEIGHTS = "model.npz"
MAX_DEVIATION = 6.0  # standard deviations of a feature
CHUNK = 1024  # rows of a kernel matrix in memory


class SvrLearner(Learner[SvrConfig]):
    """Radial kernel on standardised features. It keeps arrays only, so that loading unpickles nothing."""

    arrays: dict[str, NDArray[np.float64]] | None = None

    def prepare_inputs(self, crystals: Crystals, key: str, cache: Path | None, n_jobs: int) -> TableInputs:
        """Return a table for each group of features. Raises ValueError if a value is undefined."""
        groups = self.config.features
        if computed := tuple(group for group in groups if group != COLUMNS):  # trees take undefined values, a kernel does not
            finite_features(crystals, key, computed, cache, n_jobs, self.word2vec)
        return TableInputs.prepare(groups, crystals, key, cache, n_jobs, self.word2vec)

    def histories(self) -> dict[str, int]:
        return {HISTORY: 1}

    def fit(self, inputs: TableInputs, target: Values, folder: Path, watched: Watched | None = None) -> None:
        """Fit the kernel to targets cut off at `max_target`; the history has one line."""
        self.encoder = inputs.fit_encoder(self.config.features)
        c, x = self.config, self._matrix(inputs)
        scaler = StandardScaler().fit(x)
        scale = {"mean": scaler.mean_, "spread": scaler.scale_}
        machine = SVR(kernel="rbf", gamma=c.gamma / x.shape[1], C=c.C, epsilon=c.epsilon, cache_size=500)
        machine.fit(_standardised(x, scale), np.clip(target, -c.max_target, c.max_target))
        self.arrays = {
            **scale,
            "support": machine.support_vectors_,
            "dual": machine.dual_coef_[0],
            "intercept": np.asarray(machine.intercept_),
        }
        error = np.abs(self.predict(watched.inputs) - watched.target).mean() if watched else float("nan")
        with (folder / HISTORY).open("w", newline="") as file:
            csv.writer(file).writerows([["support_vectors", "valid_mae"], [len(machine.support_), error]])

    def predict(self, inputs: TableInputs) -> Values:
        arrays = fitted(self.arrays)
        x = _standardised(self._matrix(inputs), arrays)
        support, gamma = arrays["support"], self.config.gamma / x.shape[1]
        if not len(support):  # every training target lay within epsilon
            return np.full(len(x), arrays["intercept"][0])
        chunks = (x[i : i + CHUNK] for i in range(0, len(x), CHUNK))
        return np.concatenate([rbf_kernel(chunk, support, gamma) @ arrays["dual"] for chunk in chunks]) + arrays["intercept"]

    def _matrix(self, inputs: TableInputs) -> NDArray[np.float64]:
        return inputs.matrix(self.config.features, self.encoder.scaled if self.encoder else None).astype(np.float64)

    def save(self, folder: Path) -> None:
        arrays = fitted(self.arrays)
        weights = to_bytes(lambda file: np.savez(file, allow_pickle=False, **arrays))
        write_learner(folder, self.config, (WEIGHTS, weights), self.encoder, seed=self.seed)

    def restore(self, folder: Path, settings: dict[str, Any]) -> None:
        self.encoder = read_encoder(folder, self.config.features, settings)
        check_sha256(folder / WEIGHTS, settings.get("sha256"))
        with loading(folder / WEIGHTS), np.load(folder / WEIGHTS, allow_pickle=False) as stored:
            self.arrays = dict(stored)

    @property
    def n_parameters(self) -> int:
        """Number of support vectors, and the intercept."""
        return len(fitted(self.arrays)["dual"]) + 1


def _standardised(x: NDArray[np.float64], scale: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.clip((x - scale["mean"]) / scale["spread"], -MAX_DEVIATION, MAX_DEVIATION)
