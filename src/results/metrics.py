"""Scores over whole arrays of predictions.

Slow libraries are imported inside functions, so that commands that only look at results start quickly.
"""

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


def scores(e_form: Values, e_form_pred: Values) -> dict[str, float]:
    """Return MAE, RMSE (both in the task's unit) and R2 over all rows."""
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

    return {
        "mae": float(mean_absolute_error(e_form, e_form_pred)),
        "rmse": float(root_mean_squared_error(e_form, e_form_pred)),
        "r2": float(r2_score(e_form, e_form_pred)) if len(e_form) > 1 else float("nan"),
    }


def bootstrap_interval(difference: Values, level: float = 0.95) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean of per-crystal differences; the seed is fixed."""
    if np.ptp(difference) == 0:
        return float(difference[0]), float(difference[0])
    from scipy.stats import bootstrap

    how = {"n_resamples": 9999, "batch": 200, "method": "percentile", "rng": np.random.default_rng(0)}
    low, high = bootstrap((difference,), np.mean, confidence_level=level, **how).confidence_interval
    return float(low), float(high)
