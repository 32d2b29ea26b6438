"""The difficulty of a crystal for a model, learned from out-of-fold errors and from similar training crystals.

The difficulty of a crystal is an upper quantile of its error, as boosted trees predict it: from the out-of-fold errors of its 25
and 8 nearest training crystals in the coordinates of `Likeness.point`, from how far its prediction is from the targets of those
8, from the prediction itself, from the spread over members and parts of a blend, and from its coordinates. All of this is known
for an out-of-fold row as well as for a new one. The scatter of all fold models is not (an out-of-fold row has one of them), so
`intervals.py` uses it only as a bound. A tenth of the median error is added. Dividing errors by such an estimate is the
normalised score of conformal prediction (Papadopoulos, Vovk, Gammerman, J. Artif. Intell. Res. 40, 815 (2011),
doi:10.1613/jair.3198; Bostrom, Proc. Mach. Learn. Res. 179, 24 (2022)); a quantile in place of the mean is due to Romano,
Patterson, Candes, NeurIPS 2019. No crystal's difficulty is fitted to its own error.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from src.data.crystal import N_ELEMENTS
from src.data.task import Task
from src.results.predictions import Predictions
from src.results.trees import GROWN, N_GROWN, Trees, read_trees, write_trees
from src.storage.cache import ALL_CORES, in_chunks

Values = NDArray[np.float64]
FloatArray = NDArray[np.floating]
IntArray = NDArray[np.int64]
N_NEIGHBORS = 25
N_CLOSE = 8  # of the neighbours
FLOOR = 0.1  # of the median error, added to the difficulty
QUANTILE = 0.8  # of the errors
N_PARTS = 3  # of the folds that judge another one: the errors in each are predicted by trees of the others
AT_LEAST = 40  # training crystals of a kind
N_KNOWN = 10_000  # training crystals whose errors are looked at; of more, a random choice
FROM_EACH = 100  # of these from each fold, if it has as many: it has an interval of its own
CRYSTALS_AT_ONCE = 64  # crystals


@dataclass(frozen=True, eq=False)
class Seen:
    """Out-of-fold results of training crystals: (n_known,) each, on the scale of the errors.

    error: absolute. spread: standard deviation over members and parts.
    """

    error: Values
    target: Values
    pred: Values
    spread: Values

    def of(self, rows: IntArray) -> "Seen":
        """Return the results of these crystals."""
        return Seen(*(values[rows] for values in vars(self).values()))

    def signs(self, nearest: NDArray[np.int32], pred: Values, spread: Values, points: Values) -> Values:
        """Return the features of difficulty, (n, n_signs): results of the nearest training crystals and of each crystal itself.

        nearest: (n, n_neighbors), the nearest first. pred, spread: (n,). points: (n, n_coordinates).
        """
        unit, close = max(self.error.mean(), np.finfo(float).tiny), nearest[:, :N_CLOSE]
        surprise = np.abs(pred - self.target[close].mean(axis=1))
        own = [self.error[nearest].mean(axis=1), self.error[close].mean(axis=1), surprise, pred, spread]
        return np.column_stack([np.stack(own, axis=1) / unit, points]).astype(np.float32)  # without the last digits of the unit


@dataclass(frozen=True)
class Kinds:
    """Kinds of crystals that have intervals of their own: pure elements, compounds of two elements, and all others.

    kind: of one, two, and more elements. One of fewer than AT_LEAST training crystals is merged with the next.
    """

    kind: tuple[int, ...]

    @classmethod
    def of(cls, known: FloatArray) -> "Kinds":
        """Return the kinds of training crystals. known: (n_known, n_coordinates), their points."""
        count = np.bincount(_n_elements(known), minlength=3)
        groups = [[0], [1], [2]]
        while len(groups) > 1 and (small := [group for group in groups if count[group].sum() < AT_LEAST]):
            i = min(groups.index(small[0]), len(groups) - 2)
            groups[i : i + 2] = [groups[i] + groups[i + 1]]
        return cls(tuple(next(j for j, group in enumerate(groups) if n in group) for n in range(3)))

    def find(self, points: FloatArray) -> IntArray:
        """Return the kind of each crystal, (n,). points: (n, n_coordinates)."""
        return np.array(self.kind)[_n_elements(points)]


def _n_elements(points: FloatArray) -> IntArray:
    """Return 0 for a pure element, 1 for two elements, 2 for more, (n,). points: they begin with atomic fractions."""
    return np.clip((points[:, :N_ELEMENTS] > 0).sum(axis=1), 1, 3) - 1


@dataclass(frozen=True, eq=False)
class Surroundings:
    """The training crystals most like each crystal, when the crystals of one fold are left out.

    known: (n_known, n_coordinates), of the training crystals. fold: (n_known,).
    own: (n_known, n_folds, n_neighbors), of a training crystal, positions in `fold`, also without its own fold.
    points: (n_new, n_coordinates), of new crystals. new: (n_new, n_folds, n_neighbors), as `own`. With two folds no crystals are
    left: there are 0 neighbours.
    """

    known: Values
    fold: IntArray
    own: NDArray[np.int32]
    points: Values
    new: NDArray[np.int32]
    _learned: "dict[tuple[str, bool], Difficulty]" = field(default_factory=dict)

    @classmethod
    def of(cls, known: FloatArray, fold: IntArray) -> "Surroundings":
        """Return the neighbours of training crystals, and no new ones. known: (n_known, n_coordinates)."""
        points, sizes = known.astype(np.float64), np.sort(np.bincount(fold))
        own = _nearest(points, fold, points, fold, int(min(N_NEIGHBORS, len(fold) - sizes[-2:].sum())))
        return cls(points, fold, own, points[:0], own[:0])

    def with_new(self, new: FloatArray) -> "Surroundings":
        """Return the same with the neighbours of new crystals. new: (n_new, n_coordinates)."""
        points, no_fold = new.astype(np.float64), np.full(len(new), -1)
        return replace(self, points=points, new=_nearest(self.known, self.fold, points, no_fold, self.own.shape[2]))

    def learn(self, seen: Seen, judged: bool = True, kept: Path | None = None) -> "Difficulty":
        """Return the difficulty of the training crystals, with the trees for new ones; the result of the last call is kept.

        judged: whether folds are judged by the others; if not, a crystal has only the difficulty learned without its own fold.
        kept: file of the trees, if they were grown and written before.
        """
        known = b"".join(values.tobytes() for values in (*vars(seen).values(), self.known, self.fold))
        key = hashlib.sha256(known + repr((N_NEIGHBORS, N_CLOSE, QUANTILE, N_GROWN, GROWN)).encode()).hexdigest()
        if (key, judged) not in self._learned:
            self._learned.clear()
            self._learned[key, judged] = Difficulty.of(self, seen, judged, key, kept)
        return self._learned[key, judged]


class ErrorTrees(NamedTuple):
    """Trees that predict an upper quantile of errors. unit: of their predictions. floor: added to these."""

    trees: Trees
    unit: float
    floor: float

    @classmethod
    def of(cls, signs: Values, error: Values, trees: Trees | None = None) -> "ErrorTrees":
        """Return the trees for these errors, (n,). signs: (n, n_signs). trees: those that were grown from them before."""
        unit, floor = max(error.mean(), np.finfo(float).tiny), max(FLOOR * np.median(error), np.finfo(float).tiny)
        return cls(trees or Trees.grow(signs, (error / unit).astype(np.float32), QUANTILE), unit, floor)

    def predict(self, signs: Values) -> Values:
        """Return difficulties, (n,)."""
        return np.maximum(self.unit * self.trees.predict(signs), 0) + self.floor


@dataclass(frozen=True, eq=False)
class Difficulty:
    """The difficulty of crystals; column k is learned without the errors in fold k, and has the unit of the errors.

    seen: of training crystals. own: (n_known, n_folds), theirs; NaN in columns of other folds if these are not judged.
    trees: of each fold; none if no crystals are left to learn from. key: of what they were grown from.
    """

    seen: Seen
    own: Values
    trees: list[ErrorTrees]
    key: str

    @classmethod
    def of(cls, around: Surroundings, seen: Seen, judged: bool, key: str, kept: Path | None) -> "Difficulty":
        """Return the difficulty that `Surroundings.learn` describes."""
        n_folds = around.own.shape[1]
        if not around.own.shape[2]:
            return cls(seen, np.ones(around.own.shape[:2]), [], key)
        own = np.full(around.own.shape[:2], np.nan)
        signs = [seen.signs(around.own[:, k], seen.pred, seen.spread, around.known) for k in range(n_folds)]
        others = [around.fold != k for k in range(n_folds)]
        known = [(signs[k][others[k]], seen.error[others[k]]) for k in range(n_folds)]
        grown = read_trees(kept, key) if kept else []
        trees = [ErrorTrees.of(*known[k], grown[k] if grown else None) for k in range(n_folds)]
        for k in range(n_folds):
            own[~others[k], k] = trees[k].predict(signs[k][~others[k]])
            part = np.where(others[k], (around.fold - (around.fold > k)) % N_PARTS, -1)  # the folds that are left, in turn
            for one in np.unique(part[others[k]]) if judged else ():
                rows, rest = part == one, others[k] & (part != one)
                of_rest = ErrorTrees.of(signs[k][rest], seen.error[rest]) if rest.any() else trees[k]
                own[rows, k] = of_rest.predict(signs[k][rows])
        return cls(seen, own, trees, key)

    def write(self, path: Path) -> None:
        """Write the trees, which take seconds to grow, if there are any."""
        if self.trees:
            write_trees(path, self.key, [one.trees for one in self.trees])

    def of_new(self, around: Surroundings, pred: Values, spread: Values) -> Values:
        """Return the difficulty of new crystals, (n_new, n_folds). pred, spread: (n_new, n_folds), by fold model."""
        signs = [self.seen.signs(around.new[:, k], pred[:, k], spread[:, k], around.points) for k in range(len(self.trees))]
        found = [tree.predict(sign) for tree, sign in zip(self.trees, signs, strict=True)]
        return np.stack(found, axis=1) if found else np.ones(around.new.shape[:2])


def considered(fold: IntArray) -> IntArray:
    """Return the positions of the training crystals whose errors are used, in order. fold: (n_training,).

    All of a small fold, such as that of a rare element, are among them.
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
            near = np.sort(np.argpartition(distance, n_candidates - 1)[:, :n_candidates])
            nearest_first = np.take_along_axis(distance, near).argsort(kind="stable")
            near = np.take_along_axis(near, nearest_first)
            allowed = np.isfinite(np.take_along_axis(distance, near))[:, None]
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
    """Coordinates of crystals, in which similar crystals are close.

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
