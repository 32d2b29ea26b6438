"""Blends of experiments, scored out of fold: the weights for a fold are fitted to the other folds.

Weights sum to one: if all parts agree, the blend agrees with them. For classes, the weights apply to probabilities or to their
logits, whichever scores better on the rows that they are fitted to.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from src.config import BlendMethod
from src.data.task import CLASS_METRICS, MetricName
from src.results.metrics import METRICS, judge_of
from src.results.predictions import Predictions

Values = NDArray[np.float64]
Flags = NDArray[np.bool_]
RIDGE_ALPHAS = np.logspace(-3, 4, 22)
HILL_STEPS = 100
ON_LOGITS = "on_logits"  # beside the weights of parts in files
CHANCE = 1e-12  # the least that a class counts for


@dataclass(frozen=True, eq=False)
class Blend:
    """Weights of the experiments that are blended, its parts, and the blend's out-of-fold predictions.

    weights: (n_parts,), from all out-of-fold rows; used for the test rows.
    fold_weights: (n_folds, n_parts); those of fold k are fitted without its rows.
    nested_pred: (n_crystals,), each row with its fold's weights; the blend is scored by these.
    naive_pred: (n_crystals,), each row with `weights`, which were fitted to it too.
    on_logits, fold_on_logits: whether `weights` and those of each fold, (n_folds,), are of logits; chosen by the rows that they
        are fitted to.
    """

    weights: Values
    fold_weights: Values
    nested_pred: Values
    naive_pred: Values
    on_logits: bool = False
    fold_on_logits: Flags = field(default_factory=lambda: np.zeros(1, dtype=np.bool_))

    def mix(self, pred: Values) -> Values:
        """Return the blend of new rows, (n_rows,). pred: (n_rows, n_parts)."""
        return mixed(pred, self.weights, True) if self.on_logits else pred @ self.weights

    @property
    def logits_text(self) -> str:
        """The number of folds whose weights are for logits, as text; an empty text if there are none."""
        n = int(self.fold_on_logits.sum())
        return f", of logits in {n} of {len(self.fold_on_logits)} folds" if n else ""


def mixed(pred: Values, weights: Values, on_logits: Flags | bool) -> Values:
    """Return blends of predictions, (...,), or the probabilities of blended logits. pred: (..., n_parts).

    weights, on_logits: broadcast to the predictions and to the blends.
    """
    plain = (pred * weights).sum(axis=-1)
    if not np.any(on_logits):
        return plain
    from scipy.special import expit  # numbers do without

    return np.where(on_logits, expit((_logits(pred) * weights).sum(axis=-1)), plain)


def _logits(pred: Values) -> Values:
    from scipy.special import logit

    return logit(np.clip(pred, CHANCE, 1 - CHANCE))


def normalized_weights(weights: Sequence[float], n_parts: int) -> Values:
    """Return the weights divided by their sum, (n_parts,); raise ValueError if they are not valid weights."""
    given = np.array(weights, dtype=np.float64)
    if len(given) != n_parts:
        raise ValueError(f"{len(given)} weights for {n_parts} experiments")
    if not np.isfinite(given).all() or (given < 0).any() or given.sum() == 0:
        raise ValueError(f"weights {given.tolist()}: expected finite numbers >= 0, not all zero")
    return given / given.sum()


def fixed_blend(weights: Values, oof: Values) -> Blend:
    """Return the blend with given weights; for classes they apply to probabilities. oof: (n_crystals, n_parts)."""
    pred = oof @ weights
    return Blend(weights, weights[None], pred, pred)


def fit_blend(method: BlendMethod, target: Values, oof: Values, fold: NDArray[np.int64], metric: MetricName) -> Blend:
    """Return the blend with weights fitted to out-of-fold rows. target, fold: (n_crystals,). oof: (n_crystals, n_parts)."""
    weights, on_logits = fit_on_best_scale(method, oof, target, metric)
    of_folds = [fit_on_best_scale(method, oof[fold != k], target[fold != k], metric) for k in range(fold.max() + 1)]
    fold_weights, fold_on_logits = (np.array(of_all) for of_all in zip(*of_folds, strict=True))
    nested = mixed(oof, fold_weights[fold], fold_on_logits[fold])
    naive = mixed(oof, weights, True) if on_logits else oof @ weights
    if method == "ridge" and metric in CLASS_METRICS:  # the only weights that may be negative
        nested, naive = np.clip(nested, 0, 1), np.clip(naive, 0, 1)
    return Blend(weights, fold_weights, nested, naive, on_logits, fold_on_logits)


def fit_on_best_scale(method: BlendMethod, pred: Values, target: Values, metric: MetricName) -> tuple[Values, bool]:
    """Return the weights of `fit_weights`, and whether they are of logits.

    For classes they are if the blend of logits scores better on the rows that both are fitted to. This is fair, since both have
    the same number of weights. Ridge (least squares on the classes) always blends probabilities.
    """
    weights = fit_weights(method, pred, target, metric)
    if metric not in CLASS_METRICS or method == "ridge":
        return weights, False
    of_logits, loss = fit_weights(method, pred, target, metric, on_logits=True), METRICS[judge_of(metric)].loss
    on_logits = loss(target, mixed(pred, of_logits, True)) < loss(target, mixed(pred, weights, False))
    return (of_logits, True) if on_logits else (weights, False)


def stack_oof(parts: Sequence[Predictions]) -> tuple[Values, Values]:
    """Return the truth (n_crystals,) and OOF predictions (n_crystals, n_parts), eV/atom, in the first part's order."""
    first = parts[0].oof
    columns = []
    for part in parts:
        aligned = part.oof.set_index("id").reindex(first["id"])
        if len(part.oof) != len(first) or not np.allclose(aligned["e_form"], first["e_form"], rtol=0, atol=1e-9):
            raise ValueError(f"{part.name} ({part.source}) was trained on other rows than {parts[0].name}")
        columns.append(aligned["e_form_pred"].to_numpy())
    return first["e_form"].to_numpy(), np.stack(columns, axis=1)


def shared_folds(parts: Sequence[Predictions]) -> NDArray[np.int64]:
    """Return the fold of each row of the first part, (n_crystals,); raise ValueError if another part has other folds."""
    first = parts[0].oof.set_index("id")["fold"]
    for part in parts[1:]:
        if not first.equals(part.oof.set_index("id")["fold"].reindex(first.index)):
            raise ValueError(f"{part.name} has other folds than {parts[0].name}; blend experiments with the same folds")
    return first.to_numpy(dtype=np.int64)


def stack_oof_spread(parts: Sequence[Predictions]) -> Values:
    """Return the standard deviation within each part for out-of-fold rows, (n_crystals, n_parts), eV/atom, in the first's order.

    It is over the members of a network or the parts of a blend, and zero for an experiment with one model per fold.
    """
    ids = parts[0].oof["id"]
    zero = np.zeros(len(ids))
    own = [part.oof.set_index("id")["spread"].reindex(ids) if "spread" in part.oof else zero for part in parts]
    return np.stack(own, axis=1)


def stack_test(parts: Sequence[Predictions], ids: Sequence[str]) -> Values:
    """Return the test predictions, (n_test, n_parts), eV/atom, in the order of ids."""
    return np.stack([_test_rows(part, ids, ["e_form_pred"])[:, 0] for part in parts], axis=1)


def stack_test_folds(parts: Sequence[Predictions], ids: Sequence[str], n_folds: int, prefix: str = "fold") -> Values:
    """Return the test predictions of each part's fold models, (n_test, n_folds, n_parts), eV/atom.

    prefix: `fold`, or `spread` for the standard deviation within each part, as in `stack_oof_spread`.
    """
    columns = [f"{prefix}_{k}" for k in range(n_folds)]
    zero = np.zeros((len(ids), n_folds))
    own = [zero if prefix == "spread" and columns[0] not in part.test else _test_rows(part, ids, columns) for part in parts]
    return np.stack(own, axis=2)


def _test_rows(part: Predictions, ids: Sequence[str], columns: list[str]) -> Values:
    """Return columns of a part's test table, (n_test, n_columns), in the order of ids; raise ValueError if its rows differ."""
    test = part.test.set_index("id")
    if absent := [column for column in columns if column not in test]:
        raise ValueError(f"{part.name} ({part.source}): test predictions lack the columns {absent}")
    missing = [row_id for row_id in ids if row_id not in test.index]
    if missing or len(test) != len(ids):
        raise ValueError(
            f"{part.name} ({part.source}) predicts {len(test)} test rows instead of {len(ids)}; "
            f"{len(missing)} of these are missing {missing[:5]}; the test tables differ: train it again"
        )
    return test.loc[list(ids), columns].to_numpy(dtype=np.float64)


def fit_weights(method: BlendMethod, pred: Values, target: Values, metric: MetricName, on_logits: bool = False) -> Values:
    """Return the weights, (n_parts,), which sum to one.

    `weights`: non-negative, the best by the metric: exact for MAE and MAPE (linear programme), RMSE and R2 (least squares). For
    classes, they are the best by the log loss, whatever the metric is. RMSLE and Spearman have no exact solution and use the
    weights of `hill`. `ridge`: least squares shrunk towards the plain mean, by leave-one-out; may be negative.
    `hill`: greedy selection with replacement by the metric (Caruana et al., ICML 2004).
    pred: (n_crystals, n_parts), out of fold. target: (n_crystals,). on_logits: of classes, see `mixed`; not for `ridge`.
    """
    if method == "weights" and metric in CLASS_METRICS:
        return _simplex_log_loss(pred, target, on_logits)
    if method == "weights" and metric in EXACT:
        unit = float(np.abs(pred - target[:, None]).mean()) or 1.0  # solvers have absolute tolerances
        return EXACT[metric](pred / unit, target / unit)
    return _ridge(pred, target) if method == "ridge" else _hill(pred, target, metric, on_logits)


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


def _simplex_log_loss(pred: Values, target: Values, on_logits: bool) -> Values:
    """Return the weights of the smallest log loss over the simplex, a convex problem. pred: probabilities."""
    from scipy.optimize import minimize
    from scipy.special import expit

    chance = np.maximum(np.where(target[:, None] == 1, pred, 1 - pred), CHANCE)  # of the true class
    (n, m), logits = pred.shape, _logits(chance)

    def loss(weights: Values) -> tuple[float, Values]:
        if on_logits:
            blend = logits @ weights
            return float(np.logaddexp(0, -blend).mean()), -(logits * expit(-blend)[:, None]).sum(axis=0) / n
        blend = chance @ weights
        return float(-np.log(blend).mean()), -(chance / blend[:, None]).sum(axis=0) / n

    one = {"type": "eq", "fun": lambda weights: weights.sum() - 1, "jac": lambda weights: np.ones(m)}
    found = minimize(loss, np.full(m, 1 / m), jac=True, method="SLSQP", bounds=[(0, 1)] * m, constraints=one)
    weights = np.maximum(found.x, 0)
    return weights / weights.sum()


def _ridge(pred: Values, target: Values) -> Values:
    from sklearn.linear_model import RidgeCV

    center = pred.mean(axis=1)
    ridge = RidgeCV(RIDGE_ALPHAS, fit_intercept=False).fit(pred - center[:, None], target - center)
    return 1 / pred.shape[1] + ridge.coef_  # whose sum is zero, as that of each row


EXACT: dict[str, Callable[[Values, Values], Values]] = {
    "mae": _simplex_mae,
    "mape": _simplex_mape,
    "rmse": _simplex_rmse,
    "r2": _simplex_rmse,
}


def _hill(pred: Values, target: Values, metric: MetricName, on_logits: bool) -> Values:
    from scipy.special import expit

    judge, pred = METRICS[judge_of(metric)], _logits(pred) if on_logits else pred
    counts, best, best_counts = np.zeros(pred.shape[1]), np.inf, np.zeros(pred.shape[1])
    for step in range(1, HILL_STEPS + 1):
        candidates = ((pred @ counts)[:, None] + pred) / step
        candidates = expit(candidates) if on_logits else candidates
        loss = np.array([judge.loss(target, one) for one in candidates.T])
        counts[loss.argmin()] += 1
        if loss.min() < best:
            best, best_counts = float(loss.min()), counts.copy()
    return best_counts / best_counts.sum()
