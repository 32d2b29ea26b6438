"""Laws of blends: weights, nested scores, ensembles as experiments, calibrated intervals."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import FOLDS, GBDT
from conftest import run as run_on
from sklearn.metrics import r2_score

from src.config import BlendConfig, ExperimentConfig
from src.data.load import TaskData
from src.data.task import read_task
from src.learners.gbdt import GbdtLearner
from src.results.blend import (
    fit_blend,
    fit_weights,
    fixed_blend,
    normalized_weights,
    shared_folds,
    stack_oof,
    stack_oof_spread,
    stack_test,
    stack_test_folds,
)
from src.results.comparison import seconds_text
from src.results.intervals import Intervals, Scale, calibrate
from src.results.predictions import Predictions, find_predictions
from src.results.surroundings import Points

METHODS = ("weights", "ridge", "hill")
N, N_TEST, N_FOLDS = 3000, 5000, 10
FOLD = np.arange(N) % N_FOLDS


def noisy(n_members: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Truth (N,) and predictions (N, n_members) of members that get worse."""
    rng = np.random.default_rng(seed)
    target = rng.normal(size=N)
    return target, target[:, None] + rng.normal(size=(N, n_members)) * 0.1 * np.arange(1, n_members + 1)


@pytest.mark.parametrize("off", [99.0, 100.0])
def test_hill_climbing_takes_a_hundred_steps(off: float) -> None:
    """At the last one the error of 99 vanishes; that of 100 would at one more."""
    np.testing.assert_allclose(fit_weights("hill", np.array([[off, -1.0]] * 5), np.zeros(5), "mae"), [0.01, 0.99])


def test_hill_climbing_keeps_the_first_of_equally_good_blends() -> None:
    """The mean of both parts is as good as the second alone."""
    pred = np.array([[1.0, 1.0], [-1.0, 1.0], [2.0, 0.0], [0.0, 0.0]])
    np.testing.assert_array_equal(fit_weights("hill", pred, np.zeros(4), "mae"), [0, 1])


@pytest.mark.parametrize("n", [20, 25])
def test_ridge_is_shrunk_as_the_leave_one_out_error_says_in_steps_of_a_third_of_a_decade(n: int) -> None:
    target, pred = (values[:n] for values in noisy())
    x, y, found = pred - pred.mean(axis=1)[:, None], target - pred.mean(axis=1), []
    for alpha in 10.0 ** (np.arange(-9, 13) / 3):
        inverse = np.linalg.inv(x.T @ x + alpha * np.eye(3)) @ x.T
        found.append((np.mean(((y - x @ inverse @ y) / (1 - np.diag(x @ inverse))) ** 2), *(inverse @ y)))
    np.testing.assert_allclose(fit_weights("ridge", pred, target, "mae"), 1 / 3 + np.array(min(found)[1:]))


@pytest.mark.parametrize("metric", ["mae", "rmse"])
@pytest.mark.parametrize("unit", [1e-12, 1e20])
def test_weights_do_not_depend_on_the_unit(metric: str, unit: float) -> None:
    target, pred = noisy()
    weights = fit_weights("weights", pred, target, metric)
    np.testing.assert_allclose(fit_weights("weights", unit * pred, unit * target, metric), weights, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_targets_of_a_fold_do_not_reach_the_weights_it_is_scored_with(method: str) -> None:
    target, pred = noisy()
    changed = np.where(FOLD == 3, target[::-1], target)
    before, after = (fit_blend(method, truth, pred, FOLD, "mae") for truth in (target, changed))
    np.testing.assert_array_equal(before.nested_pred[FOLD == 3], after.nested_pred[FOLD == 3])
    np.testing.assert_array_equal(before.naive_pred, before.mix(pred))
    assert (before.weights != after.weights).any()


@pytest.mark.parametrize("weights", [[0.0, 0.0], [np.nan, 1.0], [np.inf, 1.0], [-0.1, 1.0], [1.0]])
def test_what_are_no_weights_is_refused(weights: list[float]) -> None:
    np.testing.assert_array_equal(normalized_weights([0, 3, 1], 3), [0, 0.75, 0.25])
    with pytest.raises(ValueError, match="weights"):
        normalized_weights(weights, 2)


def two_parts() -> list[Predictions]:
    """Two parts with the same rows in another order; the second has one model a fold."""
    oof = pd.DataFrame({"id": [*"abc"], "fold": [0, 1, 0], "e_form": [1.0, 2, 3], "e_form_pred": [1.5, 2.5, 3.5]})
    test = pd.DataFrame({"id": [*"xy"], "fold_0": [1.0, 2], "fold_1": [3.0, 6], "e_form_pred": [2.0, 4]})
    first = oof.assign(spread=[0.1, 0.2, 0.3]), test.assign(spread_0=[0.4, 0.5], spread_1=[0.6, 0.7])
    second = oof.assign(e_form_pred=[10.0, 20, 30])[::-1], test.assign(fold_0=[7.0, 8], e_form_pred=[5.0, 7])[::-1]
    return [Predictions(f"exp90{i}", Path(f"{i}"), *tables, {}) for i, tables in enumerate((first, second))]


def test_parts_are_joined_by_id() -> None:
    parts = two_parts()
    truth, oof = stack_oof(parts)
    assert (truth.tolist(), oof.tolist()) == ([1, 2, 3], [[1.5, 10], [2.5, 20], [3.5, 30]])
    assert shared_folds(parts).tolist() == [0, 1, 0]
    assert stack_oof_spread(parts).tolist() == [[0.1, 0], [0.2, 0], [0.3, 0]]
    assert stack_test(parts, ["y", "x"]).tolist() == [[4, 7], [2, 5]]
    assert stack_test_folds(parts, ["y", "x"], 2).tolist() == [[[2, 8], [6, 6]], [[1, 7], [3, 3]]]
    assert stack_test_folds(parts, ["y", "x"], 2, "spread").tolist() == [[[0.5, 0], [0.7, 0]], [[0.4, 0], [0.6, 0]]]


@pytest.mark.parametrize(
    ("join", "oof", "test", "message"),
    [
        (stack_oof, {"e_form": [3.0, 2, 1 + 1e-8]}, {}, r"exp901 \(1\) was trained on other rows than exp900"),
        (stack_oof, {"id": [*"cbz"]}, {}, "trained on other rows"),
        (shared_folds, {"fold": [0, 1, 1]}, {}, "exp901 has other folds than exp900"),
        (lambda parts: stack_test(parts, ["x"]), {}, {}, "predicts 2 test rows instead of 1; 0 of these are missing"),
        (lambda parts: stack_test(parts, ["x", "y"]), {}, {"id": [*"xz"]}, r"predicts 2 .* of 2; 1 of these are missing \['y'\]"),
        (lambda parts: stack_test_folds(parts, ["x", "y"], 3), {}, {}, r"exp900 .*lack the columns \['fold_2'\]"),
    ],
)
def test_parts_of_other_rows_are_not_joined(join: Callable, oof: dict, test: dict, message: str) -> None:
    first, second = two_parts()
    close = replace(second, oof=second.oof.assign(e_form=[3.0, 2, 1 + 1e-10]))
    assert stack_oof([first, close])[0].tolist() == [1, 2, 3]
    with pytest.raises(ValueError, match=message):
        join([first, replace(second, oof=second.oof.assign(**oof), test=second.test.assign(**test))])


def members_of(n_members: int, common: float, seed: int = 0) -> tuple[list[Predictions], np.ndarray]:
    """Members whose fold models share a part of their error, of different size from crystal to crystal; and the
    truth of the test crystals."""
    rng = np.random.default_rng(seed)
    n = N + N_TEST
    truth, size = rng.normal(size=n), 0.05 * np.exp(rng.normal(size=n) / 4)
    shared = common * size * rng.normal(size=n)
    members = []
    for i in range(n_members):
        models = (truth + shared + 0.5 * size * rng.normal(size=n))[:, None] + size[:, None] * rng.normal(size=(n, N_FOLDS))
        oof_pred = models[np.arange(N), FOLD]
        ids = np.array([f"x-{j}" for j in range(n)])
        oof = pd.DataFrame({"id": ids[:N], "fold": FOLD, "e_form": truth[:N], "e_form_pred": oof_pred})
        test = pd.DataFrame(models[N:], columns=[f"fold_{k}" for k in range(N_FOLDS)])
        test = test.assign(id=ids[N:], e_form_pred=test.mean(axis=1))
        members.append(Predictions(f"exp90{i}", Path(), oof, test, {}))
    return members, truth[N:]


def mean_of(members: list[Predictions]) -> tuple:
    return stack_oof(members)[1], fixed_blend(np.full(len(members), 1 / len(members)), stack_oof(members)[1])


IDS = [f"x-{j}" for j in range(N + N_TEST)]
POINTS = Points(*(pd.DataFrame(np.random.default_rng(9).random((len(ids), 2)), index=ids) for ids in (IDS[:N], IDS[N:])))


def intervals_of(members: list[Predictions]) -> Intervals:
    """Intervals of the mean of the members, for crystals whose place says nothing."""
    return calibrate(members, mean_of(members)[1], list(members[0].test["id"]), POINTS, on=Scale())


@pytest.mark.parametrize("n_members", [1, 4])
def test_intervals_hold_ninety_percent_of_test_crystals_if_fold_models_share_their_errors(n_members: int) -> None:
    members, truth = members_of(n_members, 4.0)
    found = intervals_of(members)
    assert 0.88 <= ((found.lower <= truth) & (truth <= found.upper)).mean() <= 0.93
    assert found.coverage.mean() == pytest.approx(0.9, abs=0.01)
    assert found.coverage.shape == (N_FOLDS,)


def test_intervals_hold_more_if_the_mean_of_the_fold_models_is_better_than_each() -> None:
    members, truth = members_of(1, 0.3)
    found = intervals_of(members)
    assert ((found.lower <= truth) & (truth <= found.upper)).mean() > 0.95
    assert found.coverage.mean() == pytest.approx(0.9, abs=0.01)


def test_intervals_scale_with_the_unit() -> None:
    def scaled(member: Predictions) -> Predictions:
        oof = member.oof.assign(**{name: 1000 * member.oof[name] for name in ("e_form", "e_form_pred")})
        return replace(member, oof=oof, test=member.test.set_index("id").mul(1000).reset_index())

    members, _ = members_of(4, 0.3)
    in_ev, in_mev = (intervals_of(m) for m in (members, [scaled(m) for m in members]))
    np.testing.assert_allclose(in_mev.half_width, 1000 * in_ev.half_width, rtol=1e-9)


ENSEMBLE = ExperimentConfig(learner=BlendConfig(("901", "902")), folds=FOLDS)


@pytest.fixture
def run(data: TaskData) -> Callable[[ExperimentConfig, str], dict]:
    """Runs a config under a name; exp901 and exp902 are there already."""

    run_config = partial(run_on, data)
    run_config(GBDT, "exp901")
    run_config(replace(GBDT, learner=replace(GBDT.learner, objective="l1")), "exp902")
    return run_config


def test_a_blend_leaves_what_any_experiment_leaves(run, task_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its files follow from those of its parts and its weights, of which none of the two parts' are better on the other folds."""
    outputs = task_folder.parent / "outputs"
    path = outputs / "small" / "exp902" / "metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"resumed_folds": [2]}))
    caplog.set_level("INFO")
    metrics = run(ENSEMBLE, "exp903")
    blend, *parts = (find_predictions(number, read_task(task_folder), outputs) for number in ("903", "901", "902"))
    folders = [outputs / "small" / "exp903" / f"fold_{k}" for k in range(4)]
    weights = np.array([list(json.loads((folder / "weights.json").read_text()).values()) for folder in folders])
    fold, target = (blend.oof[name].to_numpy() for name in ("fold", "e_form"))
    oof = np.stack([part.oof.set_index("id").loc[blend.oof["id"], "e_form_pred"] for part in parts], axis=1)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    shares = (f"{part.name} {own.mean():.3f} ± {own.std():.3f}" for part, own in zip(parts, weights.T, strict=True))
    assert f"exp903: weights over folds: {', '.join(shares)}" in caplog.text and metrics["resumed_folds"] == [2]
    assert weights.std(axis=0).min() > 0.01  # or the law of the test predictions could not fail
    np.testing.assert_allclose(blend.oof["e_form_pred"], (oof * weights[fold]).sum(axis=1))
    shares = np.linspace(0, 1, 101)
    for k in range(4):
        error = (
            oof[fold != k] @ np.stack([[*weights[k]], *zip(shares, 1 - shares, strict=True)], axis=1) - target[fold != k, None]
        )
        assert np.abs(error).mean(axis=0)[0] <= np.abs(error).mean(axis=0).min() + 1e-9
    assert metrics["oof_mae"] == pytest.approx(np.abs(target - blend.oof["e_form_pred"]).mean())
    own = json.loads((folders[2] / "metrics.json").read_text())
    assert own["r2"] == pytest.approx(r2_score(target[fold == 2], blend.oof["e_form_pred"][fold == 2]))
    for cost in ("n_parameters", "cpu_seconds", "fold_wall_seconds"):
        np.testing.assert_allclose(metrics[cost], np.sum([part.metrics[cost] for part in parts], axis=0))
    assert set(parts[0].metrics) == set(metrics)
    by_fold = [sum(w * part.test[f"fold_{k}"] for w, part in zip(weights[k], parts, strict=True)) for k in range(4)]
    np.testing.assert_allclose(blend.test["e_form_pred"], np.mean(by_fold, axis=0))


def test_an_ensemble_of_ensembles_is_an_experiment_too(run, task_folder: Path) -> None:
    run(ENSEMBLE, "exp903")
    metrics = run(replace(ENSEMBLE, learner=BlendConfig(("903", "901"))), "exp904")
    assert np.isfinite(metrics["oof_mae"])
    assert (find_predictions("904", read_task(task_folder), task_folder.parent / "outputs").oof["spread"] >= 0).all()


def test_an_ensemble_says_that_a_gpu_trained_a_member(run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its CPU seconds are then no price."""
    assert run(ENSEMBLE, "exp903")["gpus"] == []
    monkeypatch.setattr(GbdtLearner, "gpu", "a GPU")
    trained = run(replace(GBDT, seed=1), "exp905")
    ensemble = run(replace(ENSEMBLE, learner=BlendConfig(("901", "905"))), "exp906")
    assert trained["gpus"] == ensemble["gpus"] == ["a GPU"]
    assert seconds_text(ensemble) == f"≥ {ensemble['cpu_seconds']:.0f}"


def test_an_ensemble_refuses_other_folds_and_missing_members(run) -> None:
    with pytest.raises(ValueError, match="folds other than"):
        run(replace(ENSEMBLE, folds=replace(FOLDS, seed=5)), "exp903")
    with pytest.raises(FileNotFoundError, match="no experiment exp999"):
        run(replace(ENSEMBLE, learner=BlendConfig(("901", "999"))), "exp904")


def test_an_ensemble_refuses_members_of_other_data(run, task_folder: Path) -> None:
    path = task_folder.parent / "outputs" / "small" / "exp902" / "oof.csv"
    oof = pd.read_csv(path)
    for changed in ({name: oof[name] + 5e-9 for name in ("e_form", "e_form_pred")}, {"id": oof["id"] + "x"}):
        oof.assign(**changed).to_csv(path, index=False)
        with pytest.raises(ValueError, match=r"exp902 .* data other than"):
            run(ENSEMBLE, "exp903")


def test_an_ensemble_names_no_member_twice() -> None:
    with pytest.raises(ValueError, match="a number is duplicated"):
        BlendConfig(("001", "001"))
