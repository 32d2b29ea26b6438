"""Extremely randomised trees on tables of features: strong if boosting overfits, for example on a few hundred rows."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit
from scipy.stats import trim_mean
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

from src.config import ForestConfig
from src.data.target import class_of
from src.learners.learner import Values, Watched, check_sha256, fitted, read_encoder, write_learner
from src.learners.tabular import TableInputs, TableLearner, predicted_in_parts, write_history
from src.storage.files import npz_bytes, read_npz
from src.storage.names import HISTORY

FOREST_FILE = "forest.npz"
ARRAYS = ("root", "feature", "number", "right", "filling", "log_odds")
LEFT_OUT = 0.25  # of the trees at each end, for absolute errors: what remains is the interquartile mean


class ForestLearner(TableLearner[ForestConfig]):
    """The mean of trees; each split is the best of random ones, one for each feature that is tried.

    Geurts, Ernst, Wehenkel, Mach. Learn. 63, 3 (2006), doi:10.1007/s10994-006-6226-1; grown by scikit-learn. The trees are kept
    as arrays over nodes, one tree after the other. Rows whose feature is at most `number` go to the left child, the next node.
    For absolute errors, the prediction for a row is the mean over the middle half of the trees, so the few that end at an
    exceptional crystal do not count; their median would be that of Meinshausen, J. Mach. Learn. Res. 7, 983 (2006).

    root: (n_trees,), nodes. feature: (n_nodes,), -1 for a leaf. number: (n_nodes,), threshold or, for a leaf, its value; for
    classes, the share of the second. right: (n_nodes,), the other child. filling: (n_features,), values for missing features.
    log_odds: of the second class in training; 0 for a number.
    """

    root: NDArray[np.int64] | None = None
    feature: NDArray[np.int16]
    number: Values
    right: NDArray[np.int32]
    filling: NDArray[np.float32]
    log_odds: float

    def histories(self) -> dict[str, int]:
        return {HISTORY: 1}

    def fit(self, inputs: TableInputs, target: Values, folder: Path, watched: Watched | None = None) -> None:
        """Grow all trees; the history has one line."""
        c = self.config
        self.encoder = inputs.fit_encoder(c.features)
        x = inputs.matrix(c.features, self.encoder).astype(np.float32)
        known = ~np.isnan(x)
        self.filling = (np.where(known, x, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)).astype(np.float32)
        label, start = class_of(target) if c.of_classes else (target, np.zeros(1))
        self.log_odds = float(start[0])
        kind = ExtraTreesClassifier if c.of_classes else ExtraTreesRegressor
        forest = kind(c.n_trees, max_features=c.max_features, random_state=self.seed).fit(self._filled(x), label)
        trees = [one.tree_ for one in forest.estimators_]
        self.root = np.cumsum([0, *(one.node_count for one in trees[:-1])])
        right = [one.children_right + root for one, root in zip(trees, self.root, strict=True)]
        self.right = np.concatenate(right, dtype=np.int32)
        leaf = np.concatenate([one.children_left for one in trees]) < 0
        shares = np.concatenate([one.value[:, 0] for one in trees])  # of each class; the values of a number
        value = shares @ forest.classes_ if c.of_classes else shares[:, 0]
        self.feature = np.where(leaf, -1, np.concatenate([one.feature for one in trees])).astype(np.int16)
        self.number = np.where(leaf, value, np.concatenate([one.threshold for one in trees]))
        write_history(self, folder, watched)

    def predict(self, inputs: TableInputs) -> Values:
        n_trees = len(fitted(self.root))
        x = inputs.matrix(self.config.features, self.encoder).astype(np.float32)
        mean = predicted_in_parts(self._mean, self._filled(x))
        if not self.config.of_classes:
            return mean
        return np.asarray(logit((n_trees * mean + 1) / (n_trees + 2)) - self.log_odds)  # Laplace's share: never 0 or 1

    def _filled(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.where(np.isnan(x), self.filling, x)

    def _mean(self, x: NDArray[np.float32]) -> Values:
        """Return the mean over trees of the leaves that rows end in, (n_rows,). x: (n_rows, n_features)."""
        at, row = np.repeat(fitted(self.root)[:, None], len(x), axis=1), np.arange(len(x))
        while (inner := (feature := self.feature[at]) >= 0).any():
            goes_left = x[row, feature] <= self.number[at]
            at = np.where(inner, np.where(goes_left, at + 1, self.right[at]), at)
        of_trees = self.number[at]
        return np.asarray(trim_mean(of_trees, LEFT_OUT, axis=0) if self.config.objective == "l1" else of_trees.mean(axis=0))

    def save(self, folder: Path) -> None:
        content = npz_bytes({name: getattr(self, name) for name in ARRAYS})
        write_learner(folder, self.config, (FOREST_FILE, content), self.encoder, seed=self.seed)

    def restore(self, folder: Path, settings: dict[str, Any]) -> None:
        self.encoder = read_encoder(folder, self.config.features, settings)
        check_sha256(folder / FOREST_FILE, settings.get("sha256"))
        for name, array in zip(ARRAYS, read_npz(folder / FOREST_FILE, ARRAYS), strict=True):
            setattr(self, name, array)

    @property
    def n_parameters(self) -> int:
        """Number of leaves of all trees."""
        return int((self.feature < 0).sum())
