"""Weights of a blend, fitted to out-of-fold predictions. They sum to one: if all members agree, the blend agrees with them."""

import numpy as np
from numpy.typing import NDArray

from src.config import BlendMethod

Values = NDArray[np.float64]
RIDGE_ALPHAS = np.logspace(-3, 4, 22)
HILL_STEPS = 100


def fit_weights(method: BlendMethod, pred: Values, e_form: Values, metric: str) -> Values:
    """Return the weights, (n_members,), which sum to one.

    `mean`: equal. `weights`: non-negative, the best by the metric. `ridge`: least squares shrunk towards the plain mean, by
    leave-one-out; may be negative. `hill`: greedy selection with replacement by the metric (Caruana et al., ICML 2004).
    pred: (n_crystals, n_members), out of fold. e_form: (n_crystals,). metric: `mae` or `rmse`.
    """
    if method == "weights":
        return _simplex_mae(pred, e_form) if metric == "mae" else _simplex_rmse(pred, e_form)
    if method == "ridge":
        return _ridge(pred, e_form)
    if method == "hill":
        return _hill(pred, e_form, metric)
    return np.full(pred.shape[1], 1 / pred.shape[1])


def _simplex_mae(pred: Values, e_form: Values) -> Values:
    """Return the weights of least absolute deviations from a linear programme.

    It is solved in its dual, which has one row per member instead of two per crystal; the weights are these rows' multipliers.
    """
    from scipy.optimize import linprog

    n, m = pred.shape
    found = linprog(
        np.append(-e_form, 1.0),
        A_ub=np.hstack([pred.T, -np.ones((m, 1))]),
        b_ub=np.zeros(m),
        bounds=[(-1, 1)] * n + [(None, None)],
        method="highs",
    )
    if not found.success:
        raise ValueError(f"blend: the linear programme for the weights has no solution ({found.message})")
    weights = np.maximum(-found.ineqlin.marginals, 0)
    return weights / weights.sum()


def _simplex_rmse(pred: Values, e_form: Values) -> Values:
    """Return the weights of least squares over the simplex.

    By homogeneity their direction solves the non-negative problem with one more equation, sum of weights = 1.
    """
    from scipy.optimize import nnls

    errors = np.vstack([pred - e_form[:, None], np.ones(pred.shape[1])])
    weights = nnls(errors, np.append(np.zeros(len(e_form)), 1.0))[0]
    return weights / weights.sum()


def _ridge(pred: Values, e_form: Values) -> Values:
    from sklearn.linear_model import RidgeCV

    center = pred.mean(axis=1)
    ridge = RidgeCV(RIDGE_ALPHAS, fit_intercept=False).fit(pred - center[:, None], e_form - center)
    return 1 / pred.shape[1] + ridge.coef_ - ridge.coef_.mean()


def _hill(pred: Values, e_form: Values, metric: str) -> Values:
    power = 1 if metric == "mae" else 2
    counts, best, best_counts = np.zeros(pred.shape[1]), np.inf, np.zeros(pred.shape[1])
    for step in range(1, HILL_STEPS + 1):
        candidates = ((pred @ counts)[:, None] + pred) / step
        loss = (np.abs(candidates - e_form[:, None]) ** power).mean(axis=0)
        counts[loss.argmin()] += 1
        if loss.min() < best:
            best, best_counts = float(loss.min()), counts.copy()
    return best_counts / best_counts.sum()
