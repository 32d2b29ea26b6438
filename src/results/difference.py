"""The difference between the scores of two predictions: two intervals, and the rule by which it is called a win.

A bootstrap over crystals asks whether other crystals would change the sign; it takes the trained models as given. The
corrected t-interval over folds asks whether other training sets and trainings would. A win has to survive both.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from src.data.task import MetricName
from src.results.blend import stack_oof
from src.results.metrics import METRICS, decided, score_differences
from src.results.predictions import Predictions

Values = NDArray[np.float64]
IntArray = NDArray[np.int64]
Verdict = Literal["wins", "loses", "no difference", "undecided"]


@dataclass(frozen=True)
class FoldInterval:
    """95% interval of the mean difference over folds, in the metric's unit, and the two-sided p-value of its test."""

    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Difference:
    """Difference of an OOF score from a reference, in the task's unit if the metric has one.

    low, high: 95% bootstrap interval over crystals. folds_won, n_folds: number of folds with a better score, and of all folds.
    folds: the interval over folds, centred on the plain mean of their differences. This is not exactly `value` if the metric
    is not a mean over crystals or folds differ in size. None if a fold's score is undefined or there is only one fold.
    """

    metric: MetricName
    value: float
    low: float
    high: float
    folds_won: int
    n_folds: int
    folds: FoldInterval | None

    @property
    def verdict(self) -> Verdict:
        """The verdict on the experiment that is compared with the reference."""
        return decide((self.low, self.high), self.folds, METRICS[self.metric].larger_is_better)

    def __str__(self) -> str:
        if not np.isfinite([self.value, self.low, self.high]).all():
            return "undefined"
        folds = f"{self.folds.low:+.4f} to {self.folds.high:+.4f}" if self.folds else "none over folds"
        star = " *" if self.verdict in ("wins", "loses") else ""
        return f"{self.value:+.4f} ({self.low:+.4f} to {self.high:+.4f}; {folds}){star}"


def decide(crystals: tuple[float, float], folds: FoldInterval | None, larger_is_better: bool) -> Verdict:
    """Return `wins` or `loses` only if zero is outside both intervals, on the same side of each.

    crystals: the interval over crystals. Without an interval over folds, or with one that is undefined, nothing is decided.
    """
    if folds is None or not np.isfinite(crystals).all():
        return "undecided"
    low, high = min(crystals[0], folds.low), max(crystals[1], folds.high)
    if low <= 0 <= high:
        return "no difference"
    return "wins" if (low > 0) == larger_is_better else "loses"


def paired_differences(reference: Predictions, others: Sequence[Predictions], metric: MetricName = "mae") -> list[Difference]:
    """Return the difference of each of `others` to `reference` over the same crystals and the folds of `reference`."""
    if not others:
        return []
    target, oof = stack_oof([reference, *others])
    return differences_of_scores(target, oof[:, 0], oof[:, 1:], reference.oof["fold"].to_numpy(), metric)


def difference_of_scores(target: Values, reference: Values, other: Values, fold: IntArray, metric: MetricName) -> Difference:
    """Return how much larger the score of the predictions `other` is; all arrays: (n_crystals,)."""
    return differences_of_scores(target, reference, other[:, None], fold, metric)[0]


def differences_of_scores(
    target: Values, reference: Values, others: Values, fold: IntArray, metric: MetricName
) -> list[Difference]:
    """Return how much larger the score of each column of `others` is, (n_crystals, n_others), all of them out of fold."""
    if METRICS[metric].curve is not None:
        reference, *each = [decided(metric, target, pred, fold) for pred in (reference, *others.T)]
        others = np.stack(each, axis=1)
    sign, ratio = -1 if METRICS[metric].larger_is_better else 1, scored_per_trained(fold)
    own, found = fold_scores(target, reference, fold, METRICS[metric].loss), []
    for other, gain in zip(others.T, score_differences(metric, target, reference, others), strict=True):
        losses = fold_scores(target, other, fold, METRICS[metric].loss)
        folds = corrected_t(sign * (losses - own), ratio) if np.isfinite([own, losses]).all() else None
        found.append(Difference(metric, *gain, int((losses < own).sum()), len(own), folds))
    return found


def fold_scores(target: Values, pred: Values, fold: IntArray, score: Callable[[Values, Values], float]) -> Values:
    """Return the score of each fold's rows, (n_folds,)."""
    return np.array([score(target[fold == k], pred[fold == k]) for k in np.unique(fold)])


def scored_per_trained(fold: IntArray) -> float:
    """Return n_test / n_train, its mean over folds: 1 / (K - 1) for K folds of equal size. fold: (n_crystals,).

    A fold's model is taken to be trained on all other folds. One that is trained on fewer crystals (`FoldConfig.n_train`,
    `elements`) has a larger ratio, and a wider interval than the one found here.
    """
    sizes = np.unique(fold, return_counts=True)[1]
    return float((sizes / np.maximum(len(fold) - sizes, 1)).mean())


def corrected_t(differences: Values, ratio: float, level: float = 0.95) -> FoldInterval | None:
    """Return the corrected resampled t-interval of the mean of fold differences; None for a single fold.

    Training sets of folds overlap, so differences are correlated and a plain t-test is overconfident. The variance of the mean
    is taken as (1 / K + n_test / n_train) s^2, with K - 1 degrees of freedom (Nadeau, Bengio, Machine Learning 52, 239 (2003),
    doi:10.1023/A:1024068626366). If all differences are equal, the interval is that point, and p is one if it is zero, else zero.
    differences: (n_folds,). ratio: n_test / n_train.
    """
    n = len(differences)
    if n < 2:
        return None
    if np.ptp(differences) == 0:
        point = float(differences[0])
        return FoldInterval(point, point, float(point == 0))
    from scipy.stats import t

    mean, scale = differences.mean(), np.sqrt((1 / n + ratio) * differences.var(ddof=1))
    low, high = t.interval(level, n - 1, loc=mean, scale=scale)
    return FoldInterval(float(low), float(high), float(2 * t.sf(abs(mean) / scale, n - 1)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number (Holm, Scand. J. Stat. 6, 65 (1979)).

    The i-th smallest of m is multiplied by m - i + 1, and none may be smaller than the one before it, or larger than one.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return corrected.tolist()


def holm_of(differences: Sequence[Difference | None]) -> list[float | None]:
    """Return Holm's p-value of each of a table's differences, and None if there is none or it has no p-value."""
    p_values = {i: difference.folds.p for i, difference in enumerate(differences) if difference and difference.folds}
    corrected = dict(zip(p_values, holm(list(p_values.values())), strict=True))
    return [corrected.get(i) for i in range(len(differences))]


def p_text(p: float | None) -> str:
    """Return a p-value for display; nothing for None."""
    if p is None:
        return ""
    return "<0.0001" if p < 1e-4 else f"{p:.2g}"
