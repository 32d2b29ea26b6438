"""Probabilities of a class, calibrated out of fold; no test label is used.

Venn-Abers predictors (Vovk, Petej, UAI 2014, 829): an isotonic regression of the truth on out-of-fold probabilities is fitted
twice, with the new row as a zero and as a one. The two values for the row are its bounds, `lower` and `upper`; they are close
together if many rows are similar. If rows are exchangeable, one of the two is calibrated, for any learner. The calibrated
probability between them is upper / (1 - lower + upper), which minimises the larger of the two log losses.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from src.results.metrics import METRICS

Values = NDArray[np.float64]
N_GRID = 50  # probabilities at which both regressions are fitted; between them the bounds are interpolated
N_BINS_OF_CHANCE = 10  # with equally many rows


@dataclass(frozen=True, eq=False)
class VennAbers:
    """Bounds of calibrated probabilities. grid, lower, upper: (n_grid,), rising."""

    grid: Values
    lower: Values
    upper: Values

    @classmethod
    def fit(cls, target: Values, pred: Values) -> "VennAbers":
        """Return the bounds that out-of-fold rows give. target: (n_rows,), 0 or 1. pred: (n_rows,), probabilities of 1."""
        from scipy.optimize import isotonic_regression  # slow to import

        order = np.lexsort((target, pred))
        x, y = pred[order], target[order]
        steps, first, count = np.unique(x, return_index=True, return_counts=True)
        ones = np.add.reduceat(y, first)
        grid = np.unique(np.quantile(steps, np.linspace(0, 1, N_GRID)))
        bounds = []
        for label in (0.0, 1.0):
            found = []
            for value in grid:
                at = int(np.searchsorted(steps, value))
                is_there = steps[at] == value
                n, k = count.astype(float), ones.copy()
                if is_there:
                    n[at], k[at] = n[at] + 1, k[at] + label
                else:
                    n, k = np.insert(n, at, 1.0), np.insert(k, at, label)
                found.append(isotonic_regression(k / n, weights=n).x[at])
            bounds.append(np.maximum.accumulate(found))
        return cls(grid, *bounds)

    def bounds(self, pred: Values) -> tuple[Values, Values]:
        """Return lower and upper calibrated probabilities of rows; `pred` has any shape."""
        return np.interp(pred, self.grid, self.lower), np.interp(pred, self.grid, self.upper)

    def calibrated(self, pred: Values) -> Values:
        """Return the calibrated probabilities of rows, neither 0 nor 1."""
        lower, upper = self.bounds(pred)
        return upper / (1 - lower + upper)


def calibrated_oof(target: Values, pred: Values, fold: NDArray[np.int64]) -> Values:
    """Return the calibrated probabilities of out-of-fold rows, those of each fold by the other folds."""
    found = np.empty(len(pred))
    for k in np.unique(fold):
        rows = fold == k
        found[rows] = VennAbers.fit(target[~rows], pred[~rows]).calibrated(pred[rows])
    return found


def reliability(target: Values, pred: Values) -> Values:
    """Return mean probability, share of ones and number of rows of each bin, (n_bins, 3); the bins have equally many rows."""
    parts = np.array_split(np.argsort(pred, kind="stable"), min(N_BINS_OF_CHANCE, len(pred)))
    return np.array([[pred[rows].mean(), target[rows].mean(), len(rows)] for rows in parts])


def calibration_error(target: Values, pred: Values) -> float:
    """Return the expected calibration error: the mean over rows of |mean probability - share of ones| in their bin."""
    mean, share, n = reliability(target, pred).T
    return float((np.abs(mean - share) * n).sum() / n.sum())


def calibration_text(target: Values, pred: Values, fold: NDArray[np.int64]) -> str:
    """Return log loss and calibration error of out-of-fold probabilities, raw and calibrated, as text."""
    loss, after = METRICS["logloss"], calibrated_oof(target, pred, fold)
    before, calibrated = (
        f"log loss {loss(target, p):.4f}, calibration error {calibration_error(target, p):.3f}" for p in (pred, after)
    )
    return f"out of fold: {before}; calibrated on the other folds: {calibrated}"
