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
from src.data.task import MetricName

Values = NDArray[np.float64]
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


@dataclass(frozen=True)
class Metric:
    """A score of predictions.

    text: how it is written. function: (target, prediction) -> score, or where to import it from.
    has_unit: it has the target's unit. domain: the targets it is defined for (None: all).
    """

    text: str
    function: str | Callable[[Values, Values], float]
    larger_is_better: bool = False
    has_unit: bool = False
    domain: Domain | None = None

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
}


def scores(target: Values, pred: Values, metric: MetricName = "mae") -> dict[str, float]:
    """Return MAE, RMSE (both in the task's unit), R2 and, if it is another one, the task's metric over all rows."""
    names = dict.fromkeys(("mae", "rmse", "r2", metric))
    undefined = ("r2", "spearman") if len(target) < 2 else ()
    return {name: float("nan") if name in undefined else METRICS[name](target, pred) for name in names}


def check_targets(metric: MetricName, path: Path, ids: Sequence[str], targets: Values) -> None:
    """Raise ValueError, which names the file and the rows, if the metric is not defined for some of the targets."""
    if (domain := METRICS[metric].domain) is not None:
        domain.check(path, ids, targets, f"metric = {metric!r}")


def score_difference(metric: MetricName, target: Values, pred: Values, other: Values) -> tuple[float, float, float]:
    """Return score(other) - score(pred) and its 95% percentile bootstrap interval over crystals; NaN if a score is undefined."""
    if metric == "mae":
        return score_differences(metric, target, pred, other[:, None])[0]
    score = METRICS[metric]

    def gain(target: Values, pred: Values, other: Values) -> float:
        return score(target, other) - score(target, pred)

    value = gain(target, pred, other)
    if np.isnan(value):
        return value, value, value
    if np.array_equal(pred, other):
        return value, 0.0, 0.0
    return value, *_bootstrap((target, pred, other), gain, n_resamples=N_RESAMPLES, paired=True, vectorized=False)


def score_differences(metric: MetricName, target: Values, pred: Values, others: Values) -> list[tuple[float, float, float]]:
    """Return `score_difference` of each column of `others`, (n_crystals, n_others)."""
    if metric == "mae":  # a mean over crystals, so their differences are enough
        return mean_intervals(np.abs(others.T - target) - np.abs(pred - target))
    return [score_difference(metric, target, pred, other) for other in others.T]


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
    value = METRICS[metric](target, pred)
    if np.isnan(value):
        return value, value, value
    return value, *_bootstrap((target, pred), METRICS[metric], n_resamples=N_RESAMPLES, paired=True, vectorized=False)


def _bootstrap(samples: tuple[Values, ...], statistic: Callable, **options: object) -> tuple[float, float]:
    """Return the 95% interval of a statistic; the seed is fixed."""
    from scipy.stats import bootstrap

    found = bootstrap(samples, statistic, confidence_level=0.95, method="percentile", rng=np.random.default_rng(0), **options)
    return float(found.confidence_interval.low), float(found.confidence_interval.high)
