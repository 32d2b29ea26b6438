"""Weights of a blend, fitted to out-of-fold predictions. They sum to one: if all parts agree, the blend agrees with them."""

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from src.data.task import MetricName
from src.results.metrics import METRICS

BlendMethod = Literal["mean", "weights", "ridge", "hill"]
Values = NDArray[np.float64]
RIDGE_ALPHAS = np.logspace(-3, 4, 22)
HILL_STEPS = 100
POWERS = {"mae": 1, "rmse": 2}  # metrics whose order is that of a mean power of the error


def fit_weights(method: BlendMethod, pred: Values, target: Values, metric: MetricName) -> Values:
    """Return the weights, (n_parts,), which sum to one.

    `mean`: equal. `weights`: non-negative, the best by the metric: exact for MAE and MAPE (linear programme), RMSE and R2 (least
    squares); RMSLE and Spearman have no such solution and take those of `hill`. `ridge`: least squares shrunk towards the plain
    mean, by leave-one-out; may be negative. `hill`: greedy selection with replacement by the metric (Caruana et al., ICML 2004).
    pred: (n_crystals, n_parts), out of fold. target: (n_crystals,).
    """
    if method == "weights":
        return EXACT[metric](pred, target) if metric in EXACT else _hill(pred, target, metric)
    if method == "ridge":
        return _ridge(pred, target)
    if method == "hill":
        return _hill(pred, target, metric)
    return np.full(pred.shape[1], 1 / pred.shape[1])


def _simplex_mae(pred: Values, target: Values) -> Values:
    """Return the weights of least absolute deviations from a linear programme.

    It is solved in its dual, which has one row per part instead of two per crystal; the weights are these rows' multipliers.
    """
    from scipy.optimize import linprog

    n, m = pred.shape
    found = linprog(
        np.append(-target, 1.0),
        A_ub=np.hstack([pred.T, -np.ones((m, 1))]),
        b_ub=np.zeros(m),
        bounds=[(-1, 1)] * n + [(None, None)],
        method="highs",
    )
    if not found.success:
        raise ValueError(f"blend: the linear programme for the weights has no solution ({found.message})")
    weights = np.maximum(-found.ineqlin.marginals, 0)
    return weights / weights.sum()


def _simplex_mape(pred: Values, target: Values) -> Values:
    """Return the weights of least absolute deviations, each divided by its target."""
    size = np.abs(target)
    return _simplex_mae(pred / size[:, None], target / size)


def _simplex_rmse(pred: Values, target: Values) -> Values:
    """Return the weights of least squares over the simplex.

    By homogeneity their direction solves the non-negative problem with one more equation, sum of weights = 1.
    """
    from scipy.optimize import nnls

    errors = np.vstack([pred - target[:, None], np.ones(pred.shape[1])])
    weights = nnls(errors, np.append(np.zeros(len(target)), 1.0))[0]
    return weights / weights.sum()


def _ridge(pred: Values, target: Values) -> Values:
    from sklearn.linear_model import RidgeCV

    center = pred.mean(axis=1)
    ridge = RidgeCV(RIDGE_ALPHAS, fit_intercept=False).fit(pred - center[:, None], target - center)
    return 1 / pred.shape[1] + ridge.coef_ - ridge.coef_.mean()


EXACT: dict[str, Callable[[Values, Values], Values]] = {
    "mae": _simplex_mae,
    "mape": _simplex_mape,
    "rmse": _simplex_rmse,
    "r2": _simplex_rmse,
}


def _hill(pred: Values, target: Values, metric: MetricName) -> Values:
    counts, best, best_counts = np.zeros(pred.shape[1]), np.inf, np.zeros(pred.shape[1])
    for step in range(1, HILL_STEPS + 1):
        candidates = ((pred @ counts)[:, None] + pred) / step
        loss = _losses(candidates, target, metric)
        counts[loss.argmin()] += 1
        if loss.min() < best:
            best, best_counts = float(loss.min()), counts.copy()
    return best_counts / best_counts.sum()


def _losses(candidates: Values, target: Values, metric: MetricName) -> Values:
    """Return what each column of candidates loses, (n_candidates,)."""
    if metric in POWERS:
        return (np.abs(candidates - target[:, None]) ** POWERS[metric]).mean(axis=0)
    return np.array([METRICS[metric].loss(target, pred) for pred in candidates.T])
