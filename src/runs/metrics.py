"""Scores over whole arrays of predictions."""

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

Values = NDArray[np.float64]


def scores(e_form: Values, e_form_pred: Values) -> dict[str, float]:
    """MAE, RMSE (both in the task's unit) and R2 over all rows."""
    return {
        "mae": float(mean_absolute_error(e_form, e_form_pred)),
        "rmse": float(root_mean_squared_error(e_form, e_form_pred)),
        "r2": float(r2_score(e_form, e_form_pred)) if len(e_form) > 1 else float("nan"),
    }


def bootstrap_interval(difference: Values, n_resamples: int = 10_000, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of the mean of per-crystal differences, crystals drawn with replacement; seed fixed."""
    rng = np.random.default_rng(0)
    means = np.concatenate(
        [difference[rng.integers(len(difference), size=(500, len(difference)))].mean(axis=1) for _ in range(n_resamples // 500)]
    )
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
