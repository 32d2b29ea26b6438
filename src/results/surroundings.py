"""How hard is a crystal for a model? Measured by the out-of-fold errors of the training crystals that are most like it.

The difficulty of a crystal is the mean absolute out-of-fold error of its 25 nearest training crystals, in the coordinates of
composition and structure of `Likeness.point`, plus a tenth of the median error: the normalised scores of conformal prediction
(Papadopoulos, Vovk, Gammerman, J. Artif. Intell. Res. 40, 815 (2011), doi:10.1613/jair.3198), whose estimate by neighbours is
the default of the library crepes too (Bostrom, Proc. Mach. Learn. Res. 179, 24 (2022)). Errors and crystals of some folds are
left out, so that nobody's difficulty is learned from its own error.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from src.data.task import Task
from src.results.predictions import Predictions
from src.storage.cache import ALL_CORES, in_chunks

Values = NDArray[np.float64]
FloatArray = NDArray[np.floating]
IntArray = NDArray[np.int64]
N_NEIGHBORS = 25
FLOOR = 0.1  # of the median error, added to the difficulty
N_KNOWN = 10_000  # training crystals whose errors are looked at; of more, a random choice
FROM_EACH = 100  # of these from each fold, if it has as many: it has an interval of its own
CRYSTALS_AT_ONCE = 64  # crystals


@dataclass(frozen=True, eq=False)
class Surroundings:
    """The training crystals most like each crystal, when the crystals of one fold are left out.

    known: (n_known, n_coordinates), of the training crystals. fold: (n_known,).
    own: (n_known, n_folds, n_neighbors), of a training crystal, positions in `fold`, also without its own fold.
    new: (n_new, n_folds, n_neighbors), the same of new crystals. With two folds nobody is left: there are 0 neighbours.
    """

    known: Values
    fold: IntArray
    own: NDArray[np.int32]
    new: NDArray[np.int32]

    @classmethod
    def of(cls, known: FloatArray, fold: IntArray) -> "Surroundings":
        """Return the neighbours of training crystals, and no new ones. known: (n_known, n_coordinates)."""
        points, sizes = known.astype(np.float64), np.sort(np.bincount(fold))
        own = _nearest(points, fold, points, fold, int(min(N_NEIGHBORS, len(fold) - sizes[-2:].sum())))
        return cls(points, fold, own, own[:0])

    def with_new(self, new: FloatArray) -> "Surroundings":
        """Return the same with the neighbours of new crystals. new: (n_new, n_coordinates)."""
        no_fold = np.full(len(new), -1)
        return replace(self, new=_nearest(self.known, self.fold, new.astype(np.float64), no_fold, self.own.shape[2]))

    def difficulty(self, error: Values) -> tuple[Values, Values]:
        """Return the difficulty of training crystals, (n_known, n_folds), and of new ones, (n_new, n_folds).

        Column k is learned without fold k; that of a training crystal also without the crystal's own fold.
        error: (n_known,), absolute, out of fold; the difficulty has its unit.
        """
        n_folds = self.own.shape[1]
        if not self.own.shape[2]:
            return np.ones(self.own.shape[:2]), np.ones(self.new.shape[:2])
        left_out = [[(self.fold != j) & (self.fold != k) for k in range(n_folds)] for j in range(n_folds)]
        floor = FLOOR * np.array([[np.median(error[left]) for left in row] for row in left_out])
        floor = np.maximum(floor, np.finfo(float).tiny)  # nobody is divided by zero if all errors are
        own, new = (error[index].mean(axis=2) for index in (self.own, self.new))
        return own + floor[self.fold], new + np.diag(floor)


def considered(fold: IntArray) -> IntArray:
    """Return the positions of the training crystals whose errors are looked at, in order. fold: (n_training,).

    Those of a small fold are among them, such as one of a rare element.
    """
    order = np.random.default_rng(0).permutation(len(fold))
    rank = pd.Series(fold[order]).groupby(fold[order]).cumcount().clip(upper=FROM_EACH)
    return np.sort(order[rank.argsort(kind="stable")[:N_KNOWN]])


def _nearest(known: Values, fold: IntArray, points: Values, own_fold: IntArray, n: int) -> NDArray[np.int32]:
    """Return the n nearest known points of each point, (n_points, n_folds, n), without fold k and without the point's own."""
    n_folds, square = int(fold.max()) + 1, (known**2).sum(axis=1)

    def chunk(rows: list[int]) -> NDArray[np.int32]:
        # up to a constant of the row, and without the digits that depend on the other rows of a matrix product
        distance = np.round(square - 2 * points[rows] @ known.T, 9)
        distance[own_fold[rows][:, None] == fold] = np.inf
        n_candidates = min(4 * n, len(fold))
        while True:  # those of one fold may be among themselves
            near = np.sort(np.argpartition(distance, n_candidates - 1, axis=1)[:, :n_candidates], axis=1)
            nearest_first = np.take_along_axis(distance, near, axis=1).argsort(axis=1, kind="stable")
            near = np.take_along_axis(near, nearest_first, axis=1)
            allowed = np.isfinite(np.take_along_axis(distance, near, axis=1))[:, None]
            allowed = allowed & (fold[near][:, None] != np.arange(n_folds)[:, None])  # (n_rows, n_folds, n_candidates)
            rank = allowed.cumsum(axis=2)
            if (rank[..., -1] >= n).all():
                return (
                    np.broadcast_to(near[:, None], allowed.shape)[allowed & (rank <= n)].reshape(-1, n_folds, n).astype(np.int32)
                )
            n_candidates = min(2 * n_candidates, len(fold))

    if not n:
        return np.zeros((len(points), n_folds, 0), dtype=np.int32)
    parts = in_chunks(chunk, range(len(points)), len(points), CRYSTALS_AT_ONCE, "looking for neighbours", 1, worth_workers=20_000)
    return np.concatenate([np.zeros((0, n_folds, n), dtype=np.int32), *parts])


@dataclass(frozen=True, eq=False)
class Points:
    """Coordinates of crystals, in which those that are alike are near.

    train, test: (n, n_coordinates), index: ids, which mean other crystals in the other table.
    """

    train: pd.DataFrame
    test: pd.DataFrame
    _found: dict[bytes, Surroundings] = field(default_factory=dict)

    def around(self, ids: Sequence[str], fold: IntArray, new_ids: Sequence[str]) -> tuple[Surroundings, IntArray]:
        """Return the neighbours of training crystals and of new ones, and the positions in `ids` of those that were considered.

        ids, fold: of the training crystals. Experiments with the same folds share the search.
        """
        rows = considered(fold)
        key = "\0".join([*ids, "", *new_ids]).encode() + fold.tobytes()
        if key not in self._found:
            known, new = self.train.reindex(np.array(ids)[rows]), self.test.reindex(list(new_ids))
            if known.isna().to_numpy().any() or new.isna().to_numpy().any():
                raise ValueError("predictions of crystals that the task's tables do not have: the tables differ; train again")
            self._found[key] = Surroundings.of(known.to_numpy(), fold[rows]).with_new(new.to_numpy())
        return self._found[key], rows


def points_of(task: Task, outputs: Path, experiment: Predictions) -> Points:
    """Return the coordinates of a task's training and test crystals, read as for that experiment; they are cached."""
    from src.data.load import load_task_data  # pymatgen is slow to import
    from src.features.similarity import TrainingSet

    data = load_task_data(task.folder, outputs, bool(experiment.metrics.get("rows_left_out")), ALL_CORES, task.target_column)
    train = TrainingSet.cached(data.train, data.train_key, data.cache, ALL_CORES)
    known = pd.DataFrame(train.coordinates(train.known), index=train.ids)
    if not task.has_test:
        return Points(known, known[:0])
    test = TrainingSet.cached(data.test, data.test_key, data.cache, ALL_CORES)
    return Points(known, pd.DataFrame(train.coordinates(test.known), index=test.ids))
