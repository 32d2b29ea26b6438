"""Scores over whole arrays of predictions.

Slow libraries are imported inside functions, so that commands that only look at results start quickly.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name

import numpy as np
from numpy.typing import NDArray

from src.data.target import ABOVE_MINUS_ONE, Domain
from src.data.task import CLASS_METRICS, MetricName

Values = NDArray[np.float64]
Folds = NDArray[np.int64]
HALF = 0.5  # probability above which a class is taken for the second, if no threshold was chosen
N_RESAMPLES = 999  # of a metric that is not a mean over crystals and is computed again for each
N_OF_MEANS, DRAWN_AT_ONCE = 9_999, 200  # resamples of a mean over crystals, and how many are drawn at once


def _rmsle(target: Values, pred: Values) -> float:
    """Return the RMSLE; predictions below zero count as zero, as in contests with targets that cannot be negative."""
    from sklearn.metrics import root_mean_squared_log_error

    return float(root_mean_squared_log_error(target, np.maximum(pred, 0)))


def _spearman(target: Values, pred: Values) -> float:
    """Return the rank correlation; NaN if all targets or all predictions are equal."""
    from scipy.stats import spearmanr

    if not (np.ptp(target) and np.ptp(pred)):
        return float("nan")
    return float(spearmanr(target, pred).statistic)


def _roc_auc(target: Values, pred: Values) -> float:
    """Return the area under the curve, from ranks, as bootstraps need it often; NaN if there is only one class."""
    from scipy.stats import rankdata

    n_ones = target.sum()
    if not 0 < n_ones < len(target):
        return float("nan")
    return float((rankdata(pred)[target == 1].mean() - (n_ones + 1) / 2) / (len(target) - n_ones))


def _log_loss(target: Values, pred: Values) -> float:
    chance = np.where(target == 1, pred, 1 - pred)  # of the true class
    return float(-np.log(np.clip(chance, np.finfo(np.float64).eps, 1)).mean())


def _balanced_accuracy(target: Values, pred: Values) -> float:
    """Return the mean over classes of the share of their crystals that are recognised; NaN if there is only one class."""
    ones = target == 1
    return float(((pred[ones] > HALF).mean() + (pred[~ones] <= HALF).mean()) / 2) if np.ptp(target) else float("nan")


def _accuracy(target: Values, pred: Values) -> float:
    return float(((pred > HALF) == target).mean())


def _f1(target: Values, pred: Values) -> float:
    """Return the F1 of ones; 0 if there are none, neither true nor predicted."""
    chosen = pred > HALF
    return float(2 * (chosen * target).sum() / max(chosen.sum() + target.sum(), 1))


@dataclass(frozen=True)
class Metric:
    """A score of predictions; for classes, 0 or 1, predictions are probabilities of 1.

    text: its name for display. function: (target, prediction) -> score, or where to import it from.
    has_unit: it has the target's unit. domain: the targets it is defined for (None: all).
    curve: the score at each point of a ROC curve, from the numbers of true and false positives and of ones and zeros. A metric
        with a curve scores decisions: a class is predicted if its probability is above a threshold.
    """

    text: str
    function: str | Callable[[Values, Values], float]
    larger_is_better: bool = False
    has_unit: bool = False
    domain: Domain | None = None
    curve: Callable[[Values, Values, float, float], Values] | None = None

    def __call__(self, target: Values, pred: Values) -> float:
        function = resolve_name(self.function) if isinstance(self.function, str) else self.function
        return float(function(target, pred))

    def loss(self, target: Values, pred: Values) -> float:
        """Return the score, negated if larger is better; infinity if it is undefined."""
        value = -self(target, pred) if self.larger_is_better else self(target, pred)
        return np.inf if np.isnan(value) else value

    def label(self, unit: str) -> str:
        """Return the name with the unit if it has one, such as `MAE (eV/atom)`."""
        return f"{self.text} ({unit})" if self.has_unit else self.text


NONZERO = Domain("other than 0", lambda target: target != 0)
METRICS: dict[MetricName, Metric] = {
    "mae": Metric("MAE", "sklearn.metrics:mean_absolute_error", has_unit=True),
    "rmse": Metric("RMSE", "sklearn.metrics:root_mean_squared_error", has_unit=True),
    "rmsle": Metric("RMSLE", _rmsle, domain=ABOVE_MINUS_ONE),
    "mape": Metric("MAPE", "sklearn.metrics:mean_absolute_percentage_error", domain=NONZERO),
    "r2": Metric("R2", "sklearn.metrics:r2_score", larger_is_better=True),
    "spearman": Metric("Spearman", _spearman, larger_is_better=True),
    "roc_auc": Metric("ROC AUC", _roc_auc, larger_is_better=True),
    "logloss": Metric("log loss", _log_loss),
    "accuracy": Metric("accuracy", _accuracy, True, curve=lambda tp, fp, n1, n0: (tp + n0 - fp) / (n1 + n0)),
    "balanced_accuracy": Metric(
        "balanced accuracy", _balanced_accuracy, True, curve=lambda tp, fp, n1, n0: (tp / n1 + 1 - fp / n0) / 2
    ),
    "f1": Metric("F1", _f1, True, curve=lambda tp, fp, n1, n0: 2 * tp / (tp + fp + n1)),
}


def figures_of(metric: MetricName) -> tuple[MetricName, ...]:
    """Return the metrics that are shown beside each other, the task's first."""
    others: tuple[MetricName, ...] = ("roc_auc", "logloss", "balanced_accuracy") if metric in CLASS_METRICS else ("mae", "rmse")
    return tuple(dict.fromkeys((metric, *others)))


def judge_of(metric: MetricName) -> MetricName:
    """Return the metric that judges trials inside training rows: the log loss for metrics of decisions, as thresholds vary."""
    return metric if METRICS[metric].curve is None else "logloss"


def oof_score(metric: MetricName, target: Values, pred: Values, fold: Folds) -> float:
    """Return the score of out-of-fold predictions; `decided` makes the decisions."""
    return METRICS[metric](target, decided(metric, target, pred, fold))


def scores(
    target: Values,
    pred: Values,
    metric: MetricName = "mae",
    fold: Folds | None = None,
    known: tuple[Values, Values] | None = None,
) -> dict[str, float]:
    """Return MAE, RMSE (both in the task's unit), R2 and the others of `figures_of` over all rows.

    fold: of rows that are predicted out of fold. known: for test rows, truth and out-of-fold predictions of the training rows.
    Either is for the thresholds of metrics of decisions, which are 0.5 otherwise.
    """

    def score(name: MetricName) -> float:
        chosen = pred
        if known is not None and METRICS[name].curve is not None:
            chosen = (pred > best_threshold(name, *known)).astype(float)
        return METRICS[name](target, chosen if fold is None else decided(name, target, pred, fold))

    names = dict.fromkeys(("mae", "rmse", "r2", *figures_of(metric)))
    undefined = ("r2", "spearman") if len(target) < 2 else ()
    return {name: float("nan") if name in undefined else score(name) for name in names}


def best_threshold(metric: MetricName, target: Values, pred: Values) -> float:
    """Return the threshold of a metric of decisions with the best score; of several, the one that is nearest to 0.5."""
    from sklearn.metrics import roc_curve

    curve = METRICS[metric].curve
    if curve is None or len(np.unique(target)) < 2:
        return HALF
    n_ones, n_zeros = float(target.sum()), float((1 - target).sum())
    false, true, steps = roc_curve(target, pred, drop_intermediate=False)
    between = (steps + np.append(steps[1:], -np.inf)) / 2  # above the next value, and not above this one
    between[0], between[-1] = (1 + pred.max()) / 2, (pred.min() - 1) / 2
    score = np.round(curve(true * n_ones, false * n_zeros, n_ones, n_zeros), 12)
    best = between[score == score.max()]
    return float(best[np.abs(best - HALF).argmin()])


def decided(metric: MetricName, target: Values, pred: Values, fold: Folds) -> Values:
    """Return what a metric scores: predictions or, of a metric of decisions, the class of each row, 0 or 1.

    The threshold for a fold is the best one on the other folds, whose truth and out-of-fold predictions it is chosen by.
    """
    if METRICS[metric].curve is None:
        return pred
    found = np.empty(len(pred))
    for k in np.unique(fold):
        rows = fold == k
        found[rows] = pred[rows] > best_threshold(metric, target[~rows], pred[~rows])
    return found


def check_targets(metric: MetricName, path: Path, ids: Sequence[str], targets: Values) -> None:
    """Raise ValueError, which names the file and the rows, if the metric is not defined for some of the targets."""
    if (domain := METRICS[metric].domain) is not None:
        domain.check(path, ids, targets, f"metric = {metric!r}")


def score_difference(metric: MetricName, target: Values, pred: Values, other: Values) -> tuple[float, float, float]:
    """Return score(other) - score(pred) and its 95% percentile bootstrap interval over crystals; NaN if a score is undefined."""
    return score_differences(metric, target, pred, other[:, None])[0]


def score_differences(metric: MetricName, target: Values, pred: Values, others: Values) -> list[tuple[float, float, float]]:
    """Return `score_difference` of each column of `others`, (n_crystals, n_others)."""
    if metric == "mae":  # a mean over crystals, so their differences are enough
        return mean_intervals(np.abs(others.T - target) - np.abs(pred - target))
    score = METRICS[metric]

    def gain(target: Values, pred: Values, other: Values) -> float:
        return score(target, other) - score(target, pred)

    return [_bootstrap(gain, target, pred, other) for other in others.T]


def mean_intervals(values: Values) -> list[tuple[float, float, float]]:
    """Return the mean of each row and its 95% percentile bootstrap interval over columns; the seed is fixed.

    All rows share the resamples, as counts of the columns, so that many cost little more than one. values: (n_rows, n_columns).
    """
    n, rng, means = values.shape[1], np.random.default_rng(0), []
    for start in range(0, N_OF_MEANS, DRAWN_AT_ONCE):
        size = min(DRAWN_AT_ONCE, N_OF_MEANS - start)
        drawn = rng.integers(0, n, (size, n)) + n * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n)
        means.append(counts.astype(np.float64) @ values.T / n)
    bounds = np.percentile(np.concatenate(means), (2.5, 97.5), axis=0)
    bounds = np.where(np.ptp(values, axis=1) == 0, values[:, 0], bounds)  # without the rounding of sums
    return [(float(row.mean()), float(low), float(high)) for row, low, high in zip(values, *bounds, strict=True)]


def score_interval(metric: MetricName, target: Values, pred: Values) -> tuple[float, float, float]:
    """Return the score and its 95% percentile bootstrap interval over crystals; NaN if it is undefined."""
    if metric == "mae":
        return mean_intervals(np.abs(pred - target)[None])[0]
    return _bootstrap(METRICS[metric], target, pred)


def _bootstrap(statistic: Callable[..., float], *samples: Values) -> tuple[float, float, float]:
    """Return a statistic of paired samples and its 95% percentile bootstrap interval; the seed is fixed."""
    from scipy.stats import bootstrap

    value = statistic(*samples)
    if np.isnan(value):
        return value, value, value
    options: dict = {"paired": True, "vectorized": False, "method": "percentile", "rng": np.random.default_rng(0)}
    found = bootstrap(samples, statistic, n_resamples=N_RESAMPLES, **options).confidence_interval
    return value, float(found.low), float(found.high)
