"""Laws of metrics: what they are, how blends and comparisons use them, and a task that is scored by each."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from conftest import GBDT, TREES, run, small_table
from scipy.stats import rankdata

import submit
from exp import compare, report
from src.config import BlendConfig
from src.data.export import TARGET, write_task
from src.data.task import MetricName
from src.results.blend import fit_weights
from src.results.difference import difference_of_scores
from src.results.metrics import METRICS, scores

PLAIN = {
    "mae": lambda y, p: np.abs(p - y).mean(),
    "rmse": lambda y, p: np.sqrt(((p - y) ** 2).mean()),
    "rmsle": lambda y, p: np.sqrt(((np.log1p(np.maximum(p, 0)) - np.log1p(y)) ** 2).mean()),
    "mape": lambda y, p: np.abs((p - y) / y).mean(),
    "r2": lambda y, p: 1 - ((p - y) ** 2).sum() / ((y - y.mean()) ** 2).sum(),
    "spearman": lambda y, p: np.corrcoef(rankdata(y), rankdata(p))[0, 1],
}
EVERY_METRIC = pytest.mark.parametrize("metric", get_args(MetricName))
FOLD = np.arange(400) % 4


def noisy(n_members: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Positive truth (400,) and predictions (400, n_members) of members that get worse; some are negative."""
    rng = np.random.default_rng(0)
    truth = rng.lognormal(size=400)
    return truth, truth[:, None] + rng.normal(size=(400, n_members)) * 0.2 * np.arange(1, n_members + 1)


def test_a_task_may_name_exactly_the_metrics_that_there_are() -> None:
    assert set(METRICS) == set(get_args(MetricName)) == set(PLAIN)


@EVERY_METRIC
def test_a_metric_is_its_formula(metric: MetricName) -> None:
    truth, pred = noisy(1)
    assert (pred < 0).any()
    assert METRICS[metric](truth, pred[:, 0]) == pytest.approx(PLAIN[metric](truth, pred[:, 0]))
    assert scores(truth, pred[:, 0], metric)[metric] == METRICS[metric](truth, pred[:, 0])


@EVERY_METRIC
def test_the_loss_of_a_metric_is_smaller_for_the_better_member(metric: MetricName) -> None:
    truth, pred = noisy()
    assert METRICS[metric].loss(truth, pred[:, 0]) < METRICS[metric].loss(truth, pred[:, 2])
    assert METRICS["spearman"].loss(truth, np.full(len(truth), np.nan)) == np.inf


@EVERY_METRIC
@pytest.mark.parametrize("method", ["weights", "hill"])
def test_fitted_weights_are_the_best_of_the_simplex_by_the_metric(method: str, metric: MetricName) -> None:
    """Hill climbing, here also for metrics without an exact solution, comes within a thousandth of the best."""
    truth, pred = noisy()
    weights = fit_weights(method, pred, truth, metric)
    np.testing.assert_array_equal(weights, fit_weights(method, pred, truth, metric))
    assert weights.sum() == pytest.approx(1) and weights.min() >= 0
    others = np.concatenate([np.random.default_rng(1).dirichlet(np.ones(3), size=300), np.eye(3)])
    best = min(METRICS[metric].loss(truth, pred @ other) for other in others)
    exact = method == "weights" and metric not in ("rmsle", "spearman")
    assert METRICS[metric].loss(truth, pred @ weights) <= best + (1e-9 if exact else 1e-3 * abs(best))


def test_weights_by_a_percentage_prefer_the_member_whose_error_is_in_proportion_to_the_target() -> None:
    rng = np.random.default_rng(0)
    truth, errors = rng.lognormal(sigma=1.5, size=400), 0.1 * rng.normal(size=(400, 2))
    pred = truth[:, None] + errors * np.stack([np.full(400, 0.5), truth], axis=1)
    absolute, relative = (fit_weights("weights", pred, truth, metric) for metric in ("mae", "mape"))
    assert absolute[0] > 0.5 > relative[0]
    shares = np.linspace(0, 1, 101)
    best = min(METRICS["mape"](truth, pred @ [share, 1 - share]) for share in shares)
    assert METRICS["mape"](truth, pred @ relative) <= best + 1e-9


@EVERY_METRIC
def test_a_difference_of_scores_has_the_metrics_sign_and_counts_the_folds_that_are_better(
    metric: MetricName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.results.metrics.N_RESAMPLES", 99)
    truth, pred = noisy()
    found = difference_of_scores(truth, pred[:, 2], pred[:, 0], FOLD, metric)
    assert found.value == pytest.approx(METRICS[metric](truth, pred[:, 0]) - METRICS[metric](truth, pred[:, 2]))
    assert found.low < found.value < found.high and not found.low <= 0 <= found.high
    assert (found.value > 0) == METRICS[metric].larger_is_better
    assert (found.folds_won, found.n_folds) == (4, 4)


def test_the_interval_of_any_metric_agrees_with_that_of_the_mean() -> None:
    """The MAPE of errors in proportion to the target is the MAE of their factors; it is resampled, not a mean of differences."""
    rng = np.random.default_rng(0)
    truth, errors = rng.lognormal(size=400), rng.normal(size=(2, 400))
    by_mean = difference_of_scores(truth, truth + errors[0], truth + errors[1], FOLD, "mae")
    resampled = difference_of_scores(truth, truth * (1 + errors[0]), truth * (1 + errors[1]), FOLD, "mape")
    assert resampled.value == pytest.approx(by_mean.value)
    width = by_mean.high - by_mean.low
    assert (resampled.low, resampled.high) == pytest.approx((by_mean.low, by_mean.high), abs=0.1 * width)
    assert resampled.folds_won == by_mean.folds_won


@pytest.mark.parametrize("metric", ["rmsle", "spearman"])  # in the target's unit or without one, less or more is better
@pytest.mark.usefixtures("undrawn")
def test_a_task_is_scored_by_its_metric_everywhere(
    tmp_path: Path, metric: MetricName, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.results.metrics.N_RESAMPLES", 20)
    rows = small_table(46)
    rows[TARGET] = np.exp(rows[TARGET]) + 0.5
    write_task(tmp_path / "small", rows[:40], rows[40:])
    description = tmp_path / "small" / "task.toml"
    description.write_text(description.read_text().replace('"mae"', f'"{metric}"'))
    where = ["--data", str(tmp_path / "small"), "--outputs", str(tmp_path / "outputs")]
    run(tmp_path / "small")
    run(tmp_path / "small", replace(GBDT, learner=replace(TREES, n_trees=5)), "exp003")
    run(tmp_path / "small", replace(GBDT, learner=BlendConfig(("001", "003"))), "exp040")
    runs = tmp_path / "outputs" / "small"
    oof, test = (pd.read_csv(runs / "exp001" / f"{name}.csv") for name in ("oof", "test"))
    own = METRICS[metric](oof["e_form"].to_numpy(), oof["e_form_pred"].to_numpy())
    metrics = json.loads((runs / "exp001" / "metrics.json").read_text())
    assert metrics[f"oof_{metric}"] == pytest.approx(own)
    assert {"oof_mae", "oof_rmse", "oof_r2", "fold_maes", "fold_mae_sd"} <= set(metrics)

    compare.main(["001", "003", "040", "--score", *where])
    shown = capsys.readouterr().out
    on_test = METRICS[metric](rows[TARGET][40:].to_numpy(), test["e_form_pred"].to_numpy())
    header, first = shown.splitlines()[:2]
    assert header.split()[1:3] == ["OOF", METRICS[metric].text] and f"{own:.4f} ±" in first and f"{on_test:.4f}" in first
    assert f"Δ{METRICS[metric].text} to exp001" in header

    submit.main(["--exps", "001", "--blend", "weights", "--baseline", "003", *where])
    shown = capsys.readouterr().out
    assert f"OOF {METRICS[metric].label('eV/atom')}" in shown and re.search(rf"exp001 .*{own:.4f}", shown)
    compare.main(["--submission", str(runs / "submission.csv"), *where])
    assert f"{METRICS[metric].text} " in capsys.readouterr().out

    report.main(["003", "001", *where])
    html = (runs / "report.html").read_text(encoding="utf-8")
    assert f"Δ{METRICS[metric].text} to" in html
    assert f"nested OOF {METRICS[metric].label('eV/atom')}" in html
