"""Intervals around a blend's predictions, calibrated out of fold; no test label is used.

Three steps (normalised split conformal prediction, Lei et al., J. Am. Stat. Assoc. 113, 1094 (2018), with folds as splits):

1. The error of a fold model is divided by a local scale, the spread between members plus a floor, which is known for
   out-of-fold and test rows alike.
2. The conformal quantile of these ratios over out-of-fold rows gives intervals for the prediction of *one* fold model.
3. A test prediction is the mean of all fold models and more accurate than each, so the intervals of step 2 would be too wide.
   The scatter of the fold models around their mean is known for every test row. The error of the mean is assumed to have the
   shape of the out-of-fold errors, shrunk by one factor: the one with which the error of the mean and the scatter together give
   a single fold model its out-of-fold coverage.

If all members learned one transform of the target, all of this happens on its scale, and the bounds are transformed back.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from src.config.load import transforms_of
from src.data.domain import TRANSFORMS, Transform
from src.results.blend import Blend, shared_folds, stack_oof, stack_oof_spread, stack_test, stack_test_folds
from src.results.predictions import Predictions

Values = NDArray[np.float64]
FLOORS = (0.3, 1.0, 3.0, 10.0)  # in units of the median spread; chosen for the narrowest out-of-fold intervals


@dataclass(frozen=True)
class Scale:
    """The scale of errors, on which intervals are symmetric. smallest: the least bound in the target's domain.

    transform: that of all members; None: that of some, or of none.
    """

    transform: Transform | None = None
    smallest: float = -np.inf

    @classmethod
    def of(cls, names: Collection[str]) -> "Scale":
        """Return the scale for members that learned these transforms. names: in TRANSFORMS, or `none`."""
        used = [TRANSFORMS[name] for name in names if name != "none"]
        shared = used[0] if used and len(set(names)) == 1 else None
        return cls(shared, max((transform.smallest for transform in used), default=-np.inf))

    def forward(self, target: Values) -> Values:
        """Return targets or predictions of them on the scale; those outside the domain count as its least number."""
        return target if self.transform is None else self.transform.forward(np.maximum(target, self.smallest))

    def back(self, bound: Values) -> Values:
        """Return bounds as targets, in the domain of every member's transform."""
        return np.maximum(bound, self.smallest) if self.transform is None else self.transform.back(bound)


ORIGINAL = Scale()


@dataclass(frozen=True, eq=False)
class Intervals:
    """Prediction intervals at one level.

    lower, upper: (n_test,), eV/atom. spread: (n_test,), eV/atom, standard deviation over fold models and members.
    oof_half_width: (n_crystals,), eV/atom, around nested predictions, calibrated without the row's fold.
    oof_covered: (n_crystals,), whether the target is inside. coverage: (n_folds,), share of a fold's crystals that are.
    shrinkage: the factor of step 3.
    """

    lower: Values
    upper: Values
    spread: Values
    oof_half_width: Values
    oof_covered: NDArray[np.bool_]
    coverage: Values
    shrinkage: float

    @property
    def half_width(self) -> Values:
        """Half the width for each test row, (n_test,), eV/atom."""
        return (self.upper - self.lower) / 2


def scale_of(members: Sequence[Predictions]) -> Scale:
    """Return the scale of the errors of experiments, by their configs in exp/."""
    return Scale.of(transforms_of(member.name for member in members))


def calibrate(
    members: Sequence[Predictions], blend: Blend, ids: Sequence[str], level: float = 0.9, on: Scale = ORIGINAL
) -> Intervals:
    """Return intervals for the test rows `ids` and for the out-of-fold rows of a blend. on: the scale of its errors.

    Raises ValueError if members have different folds, or test tables without fold models.
    """
    fold = shared_folds(members)
    n_folds = int(fold.max()) + 1
    e_form, nested = on.forward(stack_oof(members)[0]), on.forward(blend.nested_pred)
    spread = member_spread_of_oof(members, blend, fold, on)
    test_spread = member_spread_of_test(members, blend, ids, n_folds, on)
    test_pred = fold_predictions(members, blend, ids, n_folds)
    error = np.abs(e_form - nested)
    floor = _floor(error, spread, level)
    scale, test_scale = spread + floor, test_spread + floor
    oof_half_width = np.empty_like(error)
    for k in range(n_folds):
        oof_half_width[fold == k] = _quantile((error / scale)[fold != k], level) * scale[fold == k]
    covered = error <= oof_half_width
    quantile = _quantile(error / scale, level)
    shrinkage = _shrinkage((e_form - nested) / scale, on.forward(test_pred), test_scale, quantile, level)
    center = on.forward(stack_test(members, ids) @ blend.weights)
    half_width = shrinkage * quantile * test_scale.mean(axis=1)
    within = test_spread if on.transform is None else member_spread_of_test(members, blend, ids, n_folds)
    return Intervals(
        lower=on.back(center - half_width),
        upper=on.back(center + half_width),
        spread=np.sqrt((within**2).mean(axis=1) + test_pred.var(axis=1)),
        oof_half_width=_half_width(nested, oof_half_width, on),
        oof_covered=covered,
        coverage=np.array([covered[fold == k].mean() for k in range(n_folds)]),
        shrinkage=shrinkage,
    )


def _half_width(center: Values, half_width: Values, scale: Scale) -> Values:
    """Return half the widths, eV/atom, of intervals around centers on a scale."""
    if scale.transform is None:
        return half_width
    return (scale.back(center + half_width) - scale.back(center - half_width)) / 2


def fold_predictions(members: Sequence[Predictions], blend: Blend, ids: Sequence[str], n_folds: int) -> Values:
    """Return the predictions of the blended fold models, (n_test, n_folds), eV/atom, each fold with its own weights."""
    return (stack_test_folds(members, ids, n_folds) * blend.fold_weights).sum(axis=2)


def member_spread_of_oof(
    members: Sequence[Predictions], blend: Blend, fold: NDArray[np.int64], scale: Scale = ORIGINAL
) -> Values:
    """Return the standard deviation of out-of-fold predictions over members, (n_crystals,), eV/atom or on a scale."""
    oof, own = stack_oof(members)[1], stack_oof_spread(members)
    weights = np.broadcast_to(blend.fold_weights, (fold.max() + 1, len(members)))[fold]
    return member_spread(*_on(scale, oof, own), weights)


def member_spread_of_test(
    members: Sequence[Predictions], blend: Blend, ids: Sequence[str], n_folds: int, scale: Scale = ORIGINAL
) -> Values:
    """Return the standard deviation over the members' models of each fold, (n_test, n_folds), eV/atom or on a scale."""
    pred, own = (stack_test_folds(members, ids, n_folds, prefix) for prefix in ("fold", "spread"))
    return member_spread(*_on(scale, pred, own), blend.fold_weights)


def _on(scale: Scale, pred: Values, spread: Values) -> tuple[Values, Values]:
    """Return predictions and their spread on a scale; a spread is there that between a prediction and one larger by it."""
    if scale.transform is None:
        return pred, spread
    return scale.forward(pred), scale.forward(pred + spread) - scale.forward(pred)


def member_spread(pred: Values, own: Values, weights: Values) -> Values:
    """Return the standard deviation over members, (...,), including that within a member that is an ensemble.

    pred, own: (..., n_members). weights: broadcast to these; negative ones count by their absolute value.
    """
    blended = (pred * weights).sum(axis=-1, keepdims=True)
    share = np.abs(weights) / np.abs(weights).sum(axis=-1, keepdims=True)
    return np.sqrt((share * ((pred - blended) ** 2 + own**2)).sum(axis=-1))


def cv_plus(residual: Values, fold: NDArray[np.int64], pred: Values, level: float = 0.9) -> tuple[Values, Values]:
    """Return the bounds of CV+ intervals, (n_rows,) each, eV/atom.

    With r_i the absolute error of crystal i by the model of its fold k(i), which was fitted without it, and mu_k(x) the
    prediction of fold model k, the upper bound at x is the ceil((n + 1) level)-th smallest of mu_k(i)(x) + r_i, and the lower
    one likewise of mu_k(i)(x) - r_i from above. A bound is a function of its row and the out-of-fold rows alone. At least
    2 level - 1 of new crystals of the same kind are inside, and about `level` in practice.
    For targets with a transform, residual, pred and bounds are on its scale: see `Scale`.
    Source: Barber, Candes, Ramdas, Tibshirani, Ann. Statist. 49, 486 (2021), section 3, doi:10.1214/20-AOS1965.
    residual, fold: (n_crystals,). pred: (n_rows, n_folds), eV/atom.
    """
    n, rows_at_once = len(residual), max(1, 4_000_000 // len(residual))  # 32 MB
    rank = int(np.ceil(round((n + 1) * level, 9)))  # 0.9 * 10 is a little more than 9
    if rank > n:
        raise ValueError(f"{n} out-of-fold rows are too few for intervals at {level:.0%}")
    bounds = []
    for sign in (-1, 1):
        parts = [sign * pred[i : i + rows_at_once][:, fold] + residual for i in range(0, len(pred), rows_at_once)]
        found = [np.partition(part, rank - 1, axis=1)[:, rank - 1] for part in parts]
        bounds.append(sign * np.concatenate([np.zeros(0), *found]))
    return bounds[0], bounds[1]


def _floor(error: Values, spread: Values, level: float) -> float:
    """Return what is added to the spread, eV/atom; one if there is no spread, so that all intervals are equally wide."""
    median = float(np.median(spread))
    if median == 0:
        return 1.0
    floors = [factor * median for factor in FLOORS]
    return min(floors, key=lambda floor: _quantile(error / (spread + floor), level) * (spread + floor).mean())


def _quantile(ratio: Values, level: float) -> float:
    """Return the conformal quantile: the ceil((n + 1) level)-th smallest ratio, or the largest if there are too few."""
    rank = int(np.ceil((len(ratio) + 1) * level))
    return float(np.sort(ratio)[min(rank, len(ratio)) - 1])


def _shrinkage(ratio: Values, test_pred: Values, test_scale: Values, quantile: float, level: float) -> float:
    """Return the factor of step 3, by root finding.

    ratio: (n_crystals,), signed error over scale. test_pred, test_scale: (n_test, n_folds).
    """
    from scipy.optimize import brentq

    if not len(test_pred):
        return 1.0

    both_signs = np.sort(np.concatenate([ratio, -ratio]))
    scatter = test_pred - test_pred.mean(axis=1, keepdims=True)
    mean_scale = test_scale.mean(axis=1, keepdims=True)

    def excess(factor: float) -> float:
        upper = np.searchsorted(both_signs, (quantile * test_scale - scatter) / (factor * mean_scale), "right")
        lower = np.searchsorted(both_signs, (-quantile * test_scale - scatter) / (factor * mean_scale), "left")
        return float((upper - lower).mean() / len(both_signs) - level)

    smallest = 0.05
    if excess(smallest) <= 0 or excess(1.0) >= 0:  # the scatter explains all of the error, or none of it
        return smallest if excess(smallest) <= 0 else 1.0
    return float(brentq(excess, smallest, 1.0, xtol=1e-3))
