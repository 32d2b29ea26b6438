"""Intervals around predictions, calibrated out of fold; no test label is used, and no other row of the file.

Each fold is a calibration set for its own model, which was fitted without it. So every fold model has an interval by normalised
split conformal prediction (Papadopoulos et al. 2011; Lei et al., J. Am. Stat. Assoc. 113, 1094 (2018)): its prediction plus and
minus q_k times the crystal's difficulty (`surroundings.py`), q_k the conformal quantile of error over difficulty in fold k among
crystals of the same kind: pure elements, two elements, the rest (Mondrian conformal prediction: Vovk, Gammerman, Shafer,
Algorithmic Learning in a Random World (2005)). The bounds here are the medians of the lower and of the upper bounds; they enclose
whatever more than half of these intervals contain. If each interval covers with probability `level`, the merged one covers with
at least 2 level - 1, however the models depend on each other (Solari, Djordjilovic, Stat. Probab. Lett. 184, 109395 (2022),
doi:10.1016/j.spl.2022.109395), and with about `level` in practice. Two rules follow: a bound is at least 2.5 standard deviations
of the fold models' predictions from the middle, and not below zero if no training target of the kind is.

The difficulty of fold k's crystals and the weights of a blend are learned from the errors in other folds only. The models behind
these errors have seen fold k, so the guarantee holds up to that influence; the coverage on held-out crystals is in
docs/results.md. If all parts learned the same transform of the target, all of this happens on its scale. The library crepes has
the quantiles too, but one calibration set per model, infinite widths for kinds with too few rows, and no merging of fold models.
Tests compare with it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from src.config.catalogue import transforms_of
from src.data.target import TRANSFORMS, Transform
from src.results.blend import Blend, mixed, shared_folds, stack_oof, stack_oof_spread, stack_test_folds
from src.results.predictions import Predictions
from src.results.surroundings import FROM_EACH, Difficulty, Kinds, Points, Seen, Surroundings

Values = NDArray[np.float64]
IntArray = NDArray[np.int64]
SCATTER = 2.5  # standard deviations of the fold models' predictions that an interval reaches at least


@dataclass(frozen=True)
class Scale:
    """The scale of errors, on which intervals are symmetric. smallest: the least bound in the target's domain.

    transform: that of all parts; None: that of some, or of none.
    """

    transform: Transform | None = None
    smallest: float = -np.inf

    @classmethod
    def of(cls, names: Collection[str]) -> "Scale":
        """Return the scale for parts that learned these transforms. names: in TRANSFORMS, or `none`."""
        used = [TRANSFORMS[name] for name in names if name != "none"]
        shared = used[0] if used and len(set(names)) == 1 else None
        return cls(shared, max((transform.smallest for transform in used), default=-np.inf))

    def forward(self, target: Values) -> Values:
        """Return targets or predictions of them on the scale; those outside the domain count as its least number."""
        return target if self.transform is None else self.transform.forward(np.maximum(target, self.smallest))

    def back(self, bound: Values) -> Values:
        """Return bounds as targets, in the domain of every part's transform."""
        return np.maximum(bound, self.smallest) if self.transform is None else self.transform.back(bound)


@dataclass(frozen=True, eq=False)
class Intervals:
    """Prediction intervals at one level.

    lower, upper: (n_test,), eV/atom. spread: (n_test,), eV/atom, standard deviation over fold models, parts and members.
    oof_half_width: (n_calibrated,), eV/atom, around nested predictions, calibrated without the fold of the row.
    oof_error: (n_calibrated,), eV/atom, absolute. oof_covered: (n_calibrated,), whether the target is inside.
    coverage: (n_folds,), share of a fold's crystals that are. All four are NaN or False if no fold was judged.
    """

    lower: Values
    upper: Values
    spread: Values
    oof_half_width: Values
    oof_error: Values
    oof_covered: NDArray[np.bool_]
    coverage: Values

    @property
    def half_width(self) -> Values:
        """Half the width for each test row, (n_test,), eV/atom."""
        return (self.upper - self.lower) / 2


def calibrate(
    parts: Sequence[Predictions],
    blend: Blend,
    ids: Sequence[str],
    points: Points,
    level: float = 0.9,
    on: Scale | None = None,
    judged: bool = True,
) -> Intervals:
    """Return intervals for the test rows `ids` and for the out-of-fold rows of a blend.

    points: where the crystals lie, to judge their difficulty. Of more than 10,000 out-of-fold rows a random choice is used.
    on: the scale of the blend's errors (None: that of its parts' configs). judged: whether out-of-fold rows get intervals too.
    Raises ValueError if parts have different folds, or test tables without fold models.
    """
    on = on or Scale.of(transforms_of(part.name for part in parts))
    every_fold, every_target = shared_folds(parts), stack_oof(parts)[0]
    n_folds = int(every_fold.max()) + 1
    around, rows = points.around(parts[0].oof["id"].tolist(), every_fold, ids)
    fold, target, nested = every_fold[rows], every_target[rows], blend.nested_pred[rows]
    center, scaled = on.forward(nested), on.forward(target)
    error = np.abs(scaled - center)
    pred, within = fold_predictions(parts, blend, ids, n_folds)
    difficulty = around.learn(Seen(error, scaled, center, part_spread_of_oof(parts, blend, every_fold)[rows]), judged)
    every_point = points.train.reindex(parts[0].oof["id"]).to_numpy()
    lower, upper = bounds_of_new(around, difficulty, pred, within, on, every_target, every_point, level)
    kind = Kinds.of(around.known).find(around.known)
    half_width = oof_half_width(error, difficulty.own, fold, level, kind) if judged else np.full(len(error), np.nan)
    covered = error <= half_width
    if on.transform is not None:
        half_width = (on.back(center + half_width) - on.back(center - half_width)) / 2
    return Intervals(
        lower=lower,
        upper=upper,
        spread=total_spread(pred, within),
        oof_half_width=half_width,
        oof_error=np.abs(target - nested),
        oof_covered=covered,
        coverage=np.array([covered[fold == k].mean() if judged else np.nan for k in range(n_folds)]),
    )


def least_of(target: Values) -> float:
    """Return the least value that a task's training targets admit: 0 if there are some and none is negative, else none."""
    return 0.0 if len(target) and target.min() >= 0 else -np.inf


def bounds_of_new(
    around: Surroundings,
    difficulty: Difficulty,
    pred: Values,
    within: Values,
    on: Scale,
    target: Values,
    points: NDArray[np.floating],
    level: float = 0.9,
) -> tuple[Values, Values]:
    """Return lower and upper bounds of the new crystals, (n_new,) each, not below what the targets of their kind admit.

    pred, within: (n_new, n_folds), predictions of the fold models and their spread over members and parts. on: the scale of the
    errors. target, points: (n,) and (n, n_coordinates), of all training crystals.
    """
    kinds, scaled = Kinds.of(around.known), on.forward(pred)
    kind, new_kind, every_kind = map(kinds.find, (around.known, around.points, points))
    new = difficulty.of_new(around, scaled, within)
    bounds = merged_bounds(difficulty.seen.error, difficulty.own, around.fold, scaled, new, level, (kind, new_kind))
    least = [least_of(target[every_kind == j]) for j in range(max(kinds.kind) + 1)]
    lower, upper = (np.maximum(on.back(bound), np.array(least)[new_kind]) for bound in bounds)
    return lower, upper


def merged_bounds(
    error: Values,
    own: Values,
    fold: IntArray,
    pred: Values,
    new: Values,
    level: float = 0.9,
    kinds: tuple[IntArray, IntArray] | None = None,
) -> tuple[Values, Values]:
    """Return the medians over fold models of their lower and upper bounds, (n_new,) each, or further apart if these scatter.

    error, fold: (n,), absolute and out of fold. own: (n, n_folds), difficulty of these crystals. pred, new: (n_new, n_folds),
    predictions of the fold models, and the difficulty of the new crystals as seen without each fold. kinds: of the crystals and
    of the new ones, (n,) and (n_new,); None: they are all of one kind.
    """
    kind, new_kind = kinds or (np.zeros(len(error), dtype=np.int64), np.zeros(len(pred), dtype=np.int64))
    half_width = _quantiles(error / own[np.arange(len(fold)), fold], fold, level, kind)[new_kind] * new
    lower, upper = np.median(pred - half_width, axis=1), np.median(pred + half_width, axis=1)
    middle, reach = (lower + upper) / 2, SCATTER * pred.std(axis=1)
    return np.minimum(lower, middle - reach), np.maximum(upper, middle + reach)


def oof_half_width(error: Values, own: Values, fold: IntArray, level: float, kind: IntArray | None = None) -> Values:
    """Return half the widths around out-of-fold predictions, (n,), each by the other folds, as for a new crystal.

    Arguments are those of `merged_bounds`; the errors in a row's fold have no influence on its width.
    """
    kind = np.zeros(len(error), dtype=np.int64) if kind is None else kind
    found = np.empty_like(error)
    for k in np.unique(fold):
        rows, others = fold == k, fold != k
        ratio = error[others] / own[others, k]  # learned without this fold and without their own
        quantile = np.median(_quantiles(ratio, fold[others], level, kind[others], kind.max() + 1), axis=1)
        found[rows] = quantile[kind[rows]] * own[rows, k]
    return found


def fold_predictions(parts: Sequence[Predictions], blend: Blend, ids: Sequence[str], n_folds: int) -> tuple[Values, Values]:
    """Return the blended predictions of each fold's models and the standard deviation over the parts in each fold.

    Both: (n_test, n_folds), eV/atom. Each fold has its own weights.
    """
    pred, own = (stack_test_folds(parts, ids, n_folds, prefix) for prefix in ("fold", "spread"))
    return mixed(pred, blend.fold_weights, blend.fold_on_logits), part_spread(pred, own, blend.fold_weights)


def part_spread_of_oof(parts: Sequence[Predictions], blend: Blend, fold: IntArray) -> Values:
    """Return the standard deviation over the parts' models of out-of-fold rows, (n_crystals,), eV/atom. fold: theirs."""
    weights = np.broadcast_to(blend.fold_weights, (fold.max() + 1, len(parts)))
    return part_spread(stack_oof(parts)[1], stack_oof_spread(parts), weights[fold])


def part_spread(pred: Values, own: Values, weights: Values) -> Values:
    """Return the standard deviation over parts, (...,), including that within each of them.

    pred, own: (..., n_parts). weights: broadcast to these; negative ones count by their absolute value.
    """
    blended = (pred * weights).sum(axis=-1, keepdims=True)
    share = np.abs(weights) / np.abs(weights).sum(axis=-1, keepdims=True)
    return np.sqrt((share * ((pred - blended) ** 2 + own**2)).sum(axis=-1))


def total_spread(pred: Values, within: Values) -> Values:
    """Return the standard deviation over fold models and parts, (n_test,). pred, within: (n_test, n_folds), by fold model."""
    return np.sqrt((within**2).mean(axis=1) + pred.var(axis=1))


def _quantiles(ratio: Values, fold: IntArray, level: float, kind: IntArray, n_kinds: int | None = None) -> Values:
    """Return the conformal quantile of each kind and fold that is there, (n_kinds, n_folds).

    It is the ceil((n + 1) level)-th smallest of n ratios: of the kind in the fold, if these are enough for the level and, where
    there are several kinds, at least FROM_EACH; else of the kind in all folds; else of all rows.
    Raises ValueError if these are too few as well.
    """

    def rank(n: int) -> int:
        return int(np.ceil(round((n + 1) * level, 9)))  # 0.9 * 10 is a little more than 9

    if rank(len(ratio)) > len(ratio):
        raise ValueError(f"{len(ratio)} out-of-fold rows are too few for intervals at {level:.0%}")
    n_kinds = n_kinds or int(kind.max()) + 1
    least, found = FROM_EACH if n_kinds > 1 else 0, np.empty((n_kinds, len(np.unique(fold))))
    for j in range(n_kinds):
        whole = ratio[kind == j] if rank(np.sum(kind == j)) <= np.sum(kind == j) else ratio
        for column, k in enumerate(np.unique(fold)):
            part = ratio[(kind == j) & (fold == k)]
            used = part if rank(len(part)) <= len(part) and len(part) >= least else whole
            found[j, column] = np.sort(used)[rank(len(used)) - 1]
    return found
