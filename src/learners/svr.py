"""Support vector regression on tables of features, for smooth targets that few features describe."""

import csv
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from src.config import SvrConfig
from src.data.table import Crystals
from src.features.tables import finite_features
from src.learners.learner import Learner, Values, Watched, loading, read_settings, write_learner
from src.learners.tables import TableInputs
from src.storage.files import to_bytes
from src.storage.names import HISTORY

WEIGHTS = "model.npz"
MAX_DEVIATION = 6.0  # standard deviations of a feature
CHUNK = 1024  # rows of a kernel matrix in memory


class SvrLearner(Learner[SvrConfig]):
    """Radial kernel on standardised features. It keeps arrays only, so that loading unpickles nothing."""

    arrays: Mapping[str, NDArray[np.float64]] = MappingProxyType({})

    def prepare_inputs(self, crystals: Crystals, key: str, cache: Path, n_jobs: int) -> TableInputs:
        groups = self.config.features
        finite_features(crystals, key, groups, cache, n_jobs, self.word2vec)  # trees take undefined values, a kernel does not
        return TableInputs.prepare(groups, crystals, key, cache, n_jobs, self.word2vec)

    def histories(self) -> dict[str, int]:
        return {HISTORY: 1}

    def fit(self, inputs: TableInputs, target: Values, folder: Path, watched: Watched | None = None) -> None:
        c, x = self.config, inputs.matrix(self.config.features).astype(np.float64)
        scaler = StandardScaler().fit(x)
        self.arrays = {"mean": scaler.mean_, "spread": scaler.scale_}
        machine = SVR(kernel="rbf", gamma=self._gamma, C=c.C, epsilon=c.epsilon, cache_size=500)
        machine.fit(self._standardised(x), np.clip(target, -c.max_target, c.max_target))
        self.arrays = {
            **self.arrays,
            "support": machine.support_vectors_,
            "dual": machine.dual_coef_[0],
            "intercept": np.asarray(machine.intercept_),
        }
        error = np.abs(self.predict(watched.inputs) - watched.target).mean() if watched else float("nan")
        with (folder / HISTORY).open("w", newline="") as file:
            csv.writer(file).writerows([["support_vectors", "valid_mae"], [len(machine.support_), error]])

    @property
    def _gamma(self) -> float:
        return self.config.gamma / len(self.arrays["mean"])

    def _standardised(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.clip((x - self.arrays["mean"]) / self.arrays["spread"], -MAX_DEVIATION, MAX_DEVIATION)

    def predict(self, inputs: TableInputs) -> Values:
        if not self.arrays:
            raise ValueError("predict: the learner is not fitted")
        x = self._standardised(inputs.matrix(self.config.features).astype(np.float64))
        support, dual = self.arrays["support"], self.arrays["dual"]
        if not len(support):  # every training target lay within epsilon
            return np.full(len(x), self.arrays["intercept"][0])
        parts = [rbf_kernel(x[i : i + CHUNK], support, self._gamma) @ dual for i in range(0, len(x), CHUNK)]
        return np.concatenate(parts) + self.arrays["intercept"]

    def save(self, folder: Path) -> None:
        if not self.arrays:
            raise ValueError("save: the learner is not fitted")
        write_learner(folder, self.config, (WEIGHTS, to_bytes(lambda file: np.savez(file, allow_pickle=False, **self.arrays))))

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> Self:
        config, _ = read_settings(folder, SvrConfig, WEIGHTS)
        learner = cls(config, device=device)
        with loading(folder / WEIGHTS), np.load(folder / WEIGHTS, allow_pickle=False) as stored:
            learner.arrays = dict(stored)
        return learner

    @property
    def n_parameters(self) -> int:
        return len(self.arrays["dual"]) + 1 if self.arrays else 0
