"""Laws of metrics and of differences of scores: two intervals, one verdict, and p-values corrected for their number."""

import json
import math
import re
from dataclasses import astuple, replace
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from conftest import GBDT, TREES, run, small_table
from scipy.stats import bootstrap, rankdata, ttest_1samp

import submit
from exp import compare, report
from src.config import BlendConfig
from src.data.export import TARGET, write_task
from src.data.task import CLASS_METRICS, MetricName, read_task
from src.paths import DEFAULT_TASK
from src.results.blend import fit_weights
from src.results.comparison import Compared, gain_cells, leaderboard, score_cells, score_rows
from src.results.difference import (
    Difference,
    FoldInterval,
    corrected_t,
    decide,
    difference_of_scores,
    holm,
    holm_of,
    p_text,
    scored_per_trained,
)
from src.results.metrics import METRICS, decided, mean_intervals, score_interval, scores
from src.results.predictions import Predictions, find_predictions

PLAIN = {
    "mae": lambda y, p: np.abs(p - y).mean(),
    "rmse": lambda y, p: np.sqrt(((p - y) ** 2).mean()),
    "rmsle": lambda y, p: np.sqrt(((np.log1p(np.maximum(p, 0)) - np.log1p(y)) ** 2).mean()),
    "mape": lambda y, p: np.abs((p - y) / y).mean(),
    "r2": lambda y, p: 1 - ((p - y) ** 2).sum() / ((y - y.mean()) ** 2).sum(),
    "spearman": lambda y, p: np.corrcoef(rankdata(y), rankdata(p))[0, 1],
    "roc_auc": lambda y, p: np.mean(p[y == 1][:, None] > p[y == 0]),
    "logloss": lambda y, p: -np.log(np.where(y == 1, p, 1 - p)).mean(),
    "accuracy": lambda y, p: np.mean((p > 0.5) == y),
    "balanced_accuracy": lambda y, p: ((p > 0.5)[y == 1].mean() + (p <= 0.5)[y == 0].mean()) / 2,
    "f1": lambda y, p: 2 * ((p > 0.5) * y).sum() / ((p > 0.5).sum() + y.sum()),
}
EVERY_METRIC = pytest.mark.parametrize("metric", get_args(MetricName))
FOLD = np.arange(400) % 5


def noisy(n_members: int = 3, metric: MetricName = "mae", least: float = 0.2, step: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    """Positive truth (400,) and predictions (400, n_members) of members that get worse; some are negative.

    For a metric of classes they become 0 or 1, and probabilities.
    """
    rng = np.random.default_rng(0)
    truth = rng.lognormal(size=400)
    pred = truth[:, None] + rng.normal(size=(400, n_members)) * (least + step * np.arange(n_members))
    return ((truth > 1).astype(float), 1 / (1 + np.exp(3 - 3 * pred))) if metric in CLASS_METRICS else (truth, pred)


def test_a_task_may_name_exactly_the_metrics_that_there_are() -> None:
    assert set(METRICS) == set(get_args(MetricName)) == set(PLAIN)


@EVERY_METRIC
def test_a_metric_is_its_formula(metric: MetricName) -> None:
    truth, pred = noisy(1, metric)
    assert (pred < 0).any() or metric in CLASS_METRICS
    assert METRICS[metric](truth, pred[:, 0]) == pytest.approx(PLAIN[metric](truth, pred[:, 0]))
    assert scores(truth, pred[:, 0], metric)[metric] == METRICS[metric](truth, pred[:, 0])
    found = [scores(1.0 * np.arange(n), np.arange(n) / 2)["r2"] for n in (1, 2)]  # two rows are the fewest
    assert np.isnan(found[0]) and found[1] == 0.5


@pytest.mark.parametrize(
    ("metric", "truth", "pred", "score"),
    [
        ("roc_auc", [0, 1, 1, 0], [0.5, 0.5, 0.9, 0.1], 0.875),  # equal ones are half in order
        ("roc_auc", [1, 1], [0.1, 0.2], math.nan),
        ("roc_auc", [0, 0], [0.1, 0.2], math.nan),
        ("spearman", [1, 2], [3, 3], math.nan),
        ("spearman", [2, 2], [3, 4], math.nan),
        ("balanced_accuracy", [1, 0, 0], [0.5, 0.5, 0.6], 0.25),
        ("balanced_accuracy", [1, 1], [0.9, 0.1], math.nan),
        ("accuracy", [1, 0, 0], [0.5, 0.5, 0.6], 1 / 3),
        ("f1", [0, 1, 1], [0.5, 0.5, 0.9], 2 / 3),
        ("f1", [0, 0], [0.1, 0.2], 0),
        ("f1", [0, 1], [0.1, 0.2], 0),
        ("logloss", [1, 0], [0, 0], -math.log(2.0**-52) / 2),
        ("rmsle", [0, 3, 0], [-5, 3, math.e - 1], math.sqrt(1 / 3)),
    ],
)
def test_a_metric_at_its_limits_is_the_one_computed_by_hand(metric: MetricName, truth: list, pred: list, score: float) -> None:
    found = METRICS[metric](np.array(truth, dtype=float), np.array(pred, dtype=float))
    assert found == pytest.approx(score, nan_ok=True)
    assert METRICS[metric].loss(np.array(truth, dtype=float), np.array(pred, dtype=float)) == pytest.approx(
        math.inf if math.isnan(score) else -score if METRICS[metric].larger_is_better else score
    )


@EVERY_METRIC
def test_the_loss_of_a_metric_is_smaller_for_the_better_member(metric: MetricName) -> None:
    truth, pred = noisy(3, metric)
    assert METRICS[metric].loss(truth, pred[:, 0]) < METRICS[metric].loss(truth, pred[:, 2])
    assert METRICS["spearman"].loss(truth, np.full(len(truth), np.nan)) == np.inf


@EVERY_METRIC
@pytest.mark.parametrize("method", ["weights", "hill"])
def test_fitted_weights_are_the_best_of_the_simplex_by_the_metric(method: str, metric: MetricName) -> None:
    """Hill climbing, here also for metrics without an exact solution, comes within a thousandth of the best.

    Of decisions, weights are the best by the log loss; so are the exact ones of all metrics of classes.
    """
    truth, pred = noisy(3, metric, 0.4, 0.1)
    weights = fit_weights(method, pred, truth, metric)
    np.testing.assert_array_equal(weights, fit_weights(method, pred, truth, metric))
    assert weights.sum() == pytest.approx(1) and weights.min() >= 0
    assert method == "hill" or weights.max() < 0.95  # or the law could not fail
    if METRICS[metric].curve or (metric == "roc_auc" and method == "weights"):
        metric = "logloss"
    others = np.concatenate([np.random.default_rng(1).dirichlet(np.ones(3), size=300), np.eye(3)])
    best = min(METRICS[metric].loss(truth, pred @ other) for other in others)
    exact = method == "weights" and metric not in ("rmsle", "spearman")
    assert METRICS[metric].loss(truth, pred @ weights) <= best + (
        (1e-6 if metric == "logloss" else 1e-9) if exact else 1e-3 * abs(best)
    )


@EVERY_METRIC
def test_a_difference_of_scores_has_the_metrics_sign_and_counts_the_folds_that_are_better(
    metric: MetricName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.results.metrics.N_RESAMPLES", 99)
    truth, pred = noisy(3, metric)
    found = difference_of_scores(truth, pred[:, 2], pred[:, 0], FOLD, metric)
    score, (good, bad) = METRICS[metric], (decided(metric, truth, pred[:, i], FOLD) for i in (0, 2))
    assert found.value == pytest.approx(score(truth, good) - score(truth, bad))
    of_folds = [score(truth[rows], good[rows]) - score(truth[rows], bad[rows]) for rows in (k == FOLD for k in range(5))]
    expected = corrected_t(np.array(of_folds), 1 / 4)
    assert astuple(found.folds) == pytest.approx(astuple(expected))
    assert found.low < found.value < found.high and not found.low <= 0 <= found.high
    assert (found.value > 0) == METRICS[metric].larger_is_better
    assert (found.folds_won, found.n_folds) == (5, 5)


def test_the_intervals_of_many_means_are_those_of_scipy() -> None:
    values = np.random.default_rng(1).normal(size=(3, 200))
    values[2] = 0.1
    for row, (mean, low, high) in zip(values[:2], mean_intervals(values), strict=False):
        options = {"n_resamples": 9_999, "batch": 200, "method": "percentile"}
        found = bootstrap((row,), np.mean, rng=np.random.default_rng(0), **options).confidence_interval
        assert (mean, low, high) == pytest.approx((row.mean(), found.low, found.high), abs=1e-12)
    assert mean_intervals(values)[2] == pytest.approx((0.1, 0.1, 0.1), abs=1e-15)
    options = {"paired": True, "vectorized": False, "n_resamples": 999, "method": "percentile"}
    found = bootstrap(tuple(values[:2]), PLAIN["rmse"], rng=np.random.default_rng(0), **options).confidence_interval
    assert score_interval("rmse", *values[:2]) == pytest.approx((PLAIN["rmse"](*values[:2]), found.low, found.high))


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

    compare.main(["001", "003", "040", "--score", *where])
    shown = capsys.readouterr().out
    on_test = METRICS[metric](rows[TARGET][40:].to_numpy(), test["e_form_pred"].to_numpy())
    assert f"{own:.4f} ±" in (first := shown.splitlines()[1]) and f"{on_test:.4f}" in first

    submit.main(["--exps", "001", "--blend", "weights", "--baseline", "003", *where])
    assert re.search(rf"exp001 .*{own:.4f}", capsys.readouterr().out)
    compare.main(["--submission", str(runs / "submission.csv"), *where])
    assert f"{METRICS[metric].text} " in capsys.readouterr().out

    report.main(["003", "001", *where])
    html = (runs / "report.html").read_text(encoding="utf-8")
    assert f"Δ{METRICS[metric].text} to" in html
    assert f"nested OOF {METRICS[metric].label('eV/atom')}" in html


NOWHERE = Path("/nonexistent")


def two_members() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positive truth and the predictions of a bad and a good member, (400,) each."""
    rng = np.random.default_rng(0)
    truth = rng.lognormal(sigma=0.4, size=400)
    return truth, truth + 0.6 * rng.normal(size=400), truth + 0.2 * rng.normal(size=400)


def test_the_interval_over_four_folds_is_the_one_computed_by_hand() -> None:
    """Mean 2.5, s^2 = 5/3, variance (1/4 + 1/3) 5/3, and 3.182446 is the 97.5% quantile of t with three degrees."""
    found = corrected_t(np.array([1.0, 2.0, 3.0, 4.0]), 1 / 3)
    half = 3.182446305 * math.sqrt((1 / 4 + 1 / 3) * 5 / 3)
    assert found is not None and (found.low, found.high) == pytest.approx((2.5 - half, 2.5 + half))


def test_with_two_folds_interval_and_p_are_those_of_the_cauchy_distribution() -> None:
    found = corrected_t(np.array([1.0, 3.0]), 1.0)
    scale = math.sqrt((1 / 2 + 1) * 2)
    assert found is not None and found.high - 2 == pytest.approx(scale * math.tan(math.pi * 0.475))
    assert found.p == pytest.approx(1 - 2 / math.pi * math.atan(2 / scale))


def test_the_interval_is_wider_than_the_plain_t_and_is_that_one_if_folds_shared_no_rows() -> None:
    differences = np.random.default_rng(0).normal(0.5, 1, size=10)
    plain = ttest_1samp(differences, 0)
    corrected, uncorrected = (corrected_t(differences, share) for share in (1 / 9, 0.0))
    assert corrected is not None and uncorrected is not None
    bounds = plain.confidence_interval()
    assert (uncorrected.low, uncorrected.high, uncorrected.p) == pytest.approx((bounds.low, bounds.high, plain.pvalue))
    assert corrected.low < bounds.low and corrected.high > bounds.high and corrected.p > plain.pvalue


def test_the_share_of_test_rows_is_that_of_the_folds_as_they_are() -> None:
    assert scored_per_trained(np.arange(3000) % 10) == pytest.approx(1 / 9)
    assert scored_per_trained(np.array([0, 1, 1, 1])) == pytest.approx((1 / 3 + 3) / 2)


def test_equal_predictions_have_no_difference_and_no_verdict() -> None:
    truth, pred, _ = two_members()
    found = difference_of_scores(truth, pred, pred, FOLD, "mae")
    assert found.folds == FoldInterval(0.0, 0.0, 1.0) and (found.folds_won, found.n_folds) == (0, 5)
    assert found.verdict == "no difference" and str(found) == "+0.0000 (+0.0000 to +0.0000; +0.0000 to +0.0000)"


def test_the_same_difference_in_each_fold_is_certain() -> None:
    assert corrected_t(np.full(5, -0.25), 1 / 4) == FoldInterval(-0.25, -0.25, 0.0)


@pytest.mark.parametrize("metric", ["mae", "rmse", "spearman"])
def test_a_swap_negates_the_difference_and_turns_the_verdict_round(metric: MetricName, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.results.metrics.N_RESAMPLES", 99)
    truth, bad, good = two_members()
    there, back = difference_of_scores(truth, bad, good, FOLD, metric), difference_of_scores(truth, good, bad, FOLD, metric)
    assert there.folds is not None and back.folds is not None
    assert (there.value, there.low, there.high) == pytest.approx((-back.value, -back.high, -back.low))
    assert (there.folds.low, there.folds.high, there.folds.p) == pytest.approx((-back.folds.high, -back.folds.low, back.folds.p))
    assert (there.verdict, back.verdict) == ("wins", "loses")


@pytest.mark.parametrize(
    ("crystals", "folds", "verdict"),
    [
        ((-3, -1), (-5, -1), "wins"),
        ((1, 3), (1, 5), "loses"),
        ((-3, -1), (-5, 1), "no difference"),
        ((-3, 1), (-5, -1), "no difference"),
        ((-3, -1), (1, 5), "no difference"),
        ((-3, -1), (-5, 0), "no difference"),
        ((0, 3), (1, 5), "no difference"),
        ((-3, -1), None, "undecided"),
        ((math.nan, -1), (-5, -1), "undecided"),
    ],
)
def test_a_win_needs_both_intervals_on_one_side_of_zero(
    crystals: tuple[float, float], folds: tuple[float, float] | None, verdict: str
) -> None:
    interval = folds and FoldInterval(*folds, p=0.5)
    turned = {"wins": "loses", "loses": "wins"}.get(verdict, verdict)
    assert [decide(crystals, interval, larger_is_better) for larger_is_better in (False, True)] == [verdict, turned]


def test_a_difference_of_one_fold_has_no_interval_over_folds_and_no_verdict() -> None:
    truth, bad, good = two_members()
    found = difference_of_scores(truth, bad, good, np.zeros(400, dtype=int), "mae")
    assert found.folds is None and found.verdict == "undecided" and str(found).endswith("; none over folds)")
    assert holm_of([found]) == [None]
    assert [p_text(p) for p in (None, 0.00009, 0.0001, 0.0123)] == ["", "<0.0001", "0.0001", "0.012"]


def test_holm_gives_the_values_computed_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.6]) == [1, 1] and holm([0.3]) == [0.3] and holm([]) == []


@pytest.fixture
def exp001() -> Predictions:
    return find_predictions("001", read_task(DEFAULT_TASK), NOWHERE)


def test_no_figure_is_printed_where_a_score_is_undefined(exp001: Predictions) -> None:
    """The rank correlation of equal predictions does not exist."""
    flat = replace(exp001, name="exp002", oof=exp001.oof.assign(e_form_pred=0.0))
    rows = score_rows([exp001, flat], None, metric="spearman")
    compared = Compared(SimpleNamespace(metric="spearman", unit="eV/atom"), [exp001, flat], rows)
    shown = compared.text(markdown=True).splitlines()[3]
    assert "| undefined |" in shown and shown.endswith("|  |  |")
    assert rows[1]["difference"].verdict == "undecided" and rows[1]["difference"].folds is rows[1]["p_holm"] is None


def test_the_order_out_of_fold_is_compared_with_that_on_the_test_set() -> None:
    scored = {"exp001": (0.3, 0.3), "exp002": (0.1, 0.2), "exp003": (0.2, 0.1)}  # one of three pairs is in another order
    for metric, best in (("mae", ("exp002", "exp003")), ("r2", ("exp001", "exp001"))):
        rows = [{"experiment": name, f"oof_{metric}": oof, f"test_{metric}": test} for name, (oof, test) in scored.items()]
        expected = f"rank correlation 0.50 over 3 experiments; best OOF {best[0]}, best on test {best[1]}"
        assert leaderboard(rows, metric) == f"CV against leaderboard: {expected}"


def test_a_row_of_the_comparison_reads_as_written_here() -> None:
    row = {"oof_mae": 0.1, "fold_mae_sd": 0.02, "oof_rmse": 0.2, "seconds_text": "≥ 5", "n_parameters": 7}
    cells = {"OOF MAE": "0.1000 ± 0.0200", "OOF RMSE": "0.2000", "CPU s": "≥ 5", "parameters": "7"}
    assert score_cells(row, "mae") == cells
    cells |= {"test MAE": "0.3000", "test RMSE": "0.4000", "in 90%": "91.2%"}
    assert score_cells(row | {"test_mae": 0.3, "test_rmse": 0.4, "inside_90": 0.912}, "mae") == cells
    found = Difference("mae", -0.01234, -0.02, -0.005, 7, 10, FoldInterval(-0.03, -0.001, 0.0123))
    texts = ["-0.0123 (-0.0200 to -0.0050; -0.0300 to -0.0010) *", "7 of 10", "0.012", "0.025"]
    head = "ΔMAE to exp001 (95%: crystals; folds)"
    for difference, holm_p, shown in ((found, 0.0246, texts), (None, None, [""] * 4)):
        gain = gain_cells({"difference": difference, "p_holm": holm_p}, "exp001", "mae")
        assert gain == dict(zip((head, "folds won", "p", "Holm p"), shown, strict=True))
    assert str(replace(found, low=math.nan)) == "undefined"


def test_compare_corrects_for_the_rows_that_it_shows(capsys: pytest.CaptureFixture) -> None:
    numbers = ["010", "008", "017"]
    rows = score_rows([find_predictions(number, read_task(DEFAULT_TASK), NOWHERE) for number in numbers], None)[1:]
    assert [row["p_holm"] for row in rows] == holm([row["difference"].folds.p for row in rows])
    compare.main([*numbers, "--outputs", str(NOWHERE)])
    assert "corrected for the 2 shown" in capsys.readouterr().out
