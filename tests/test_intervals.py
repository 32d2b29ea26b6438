"""Intervals follow the transform of the target: right coverage, and never outside its domain."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from src.data.domain import TRANSFORMS
from src.results.blend import fixed_blend, stack_oof
from src.results.intervals import Scale, calibrate, cv_plus, scale_of
from src.results.predictions import Predictions

N, N_NEW, N_FOLDS = 1000, 2000, 5
FOLD = np.arange(N) % N_FOLDS
LOG = Scale.of(["log"])


def lognormal(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return targets over orders of magnitude, (n,), and predictions of fold models, (n, N_FOLDS); their errors are factors."""
    rng = np.random.default_rng(seed)
    center = rng.normal(scale=2, size=N + N_NEW)
    truth = np.exp(center + 0.5 * rng.normal(size=N + N_NEW))
    return truth, np.exp(center[:, None] + 0.05 * rng.normal(size=(N + N_NEW, N_FOLDS)))


def member(name: str, truth: np.ndarray, pred: np.ndarray) -> Predictions:
    ids = np.array([f"x-{i}" for i in range(len(truth))])
    oof = pd.DataFrame({"id": ids[:N], "fold": FOLD, "e_form": truth[:N], "e_form_pred": pred[np.arange(N), FOLD]})
    test = pd.DataFrame(pred[N:], columns=[f"fold_{k}" for k in range(N_FOLDS)])
    return Predictions(name, Path(), oof, test.assign(id=ids[N:], e_form_pred=test.mean(axis=1)), {})


def bounds_of(how: str, scale: Scale) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return lower and upper bounds of new rows and their targets, by CV+ or by the calibration of submissions."""
    truth, pred = lognormal()
    if how == "cv_plus":
        own = pred[np.arange(N), FOLD]
        residual = np.abs(scale.forward(truth[:N]) - scale.forward(own))
        lower, upper = (scale.back(bound) for bound in cv_plus(residual, FOLD, scale.forward(pred[N:])))
    else:
        one = member("exp900", truth, pred)
        found = calibrate([one], fixed_blend(np.ones(1), stack_oof([one])[1]), list(one.test["id"]), on=scale)
        lower, upper = found.lower, found.upper
    return lower, upper, truth[N:]


@pytest.mark.parametrize("how", ["cv_plus", "calibrate"])
def test_intervals_on_the_scale_of_the_transform_cover_small_and_large_targets_alike(how: str) -> None:
    lower, upper, truth = bounds_of(how, LOG)
    inside = (lower <= truth) & (truth <= upper)
    assert inside.mean() == pytest.approx(0.9, abs=0.02)
    assert abs(inside[truth < 0.2].mean() - inside[truth > 5].mean()) < 0.1


@pytest.mark.parametrize("how", ["cv_plus", "calibrate"])
def test_bounds_stay_in_the_domain_with_a_shared_transform_and_with_different_ones(how: str) -> None:
    assert (bounds_of(how, Scale())[0] <= 0).any()
    for scale in (LOG, Scale.of(["log", "none"])):
        lower, upper, _ = bounds_of(how, scale)
        assert (lower > 0).all() and np.isfinite(upper).all() and (lower <= upper).all()


def test_members_that_share_a_transform_share_its_scale_others_have_that_of_the_target() -> None:
    assert Scale.of(["log1p", "log1p"]) == Scale(TRANSFORMS["log1p"], TRANSFORMS["log1p"].smallest)
    assert Scale.of(["log1p", "none"]) == Scale(None, TRANSFORMS["log1p"].smallest)
    assert Scale.of(["log1p", "log"]) == Scale(None, TRANSFORMS["log"].smallest)
    assert Scale.of(["none", "none"]) == Scale()


@pytest.mark.parametrize(
    ("numbers", "names"), [(["024", "025"], ["log1p"]), (["010", "025"], ["none", "log1p"]), (["032"], ["none"])]
)
def test_the_scale_of_experiments_is_that_of_their_configs(numbers: list[str], names: list[str]) -> None:
    truth, pred = lognormal()
    assert scale_of([member(f"exp{number}", truth, pred) for number in numbers]) == Scale.of(names)


def test_without_a_transform_bounds_are_the_prediction_plus_and_minus_the_same_to_the_last_bit() -> None:
    values = np.random.default_rng(0).normal(size=100)
    np.testing.assert_array_equal(Scale().back(Scale().forward(values)), values)
    truth, pred = lognormal()
    one = member("exp900", truth, pred)
    found = calibrate([one], fixed_blend(np.ones(1), stack_oof([one])[1]), list(one.test["id"]))
    center = one.test["e_form_pred"].to_numpy()
    np.testing.assert_allclose(found.upper - center, center - found.lower, rtol=1e-9, atol=1e-12)


def test_the_spread_is_in_the_unit_of_the_target_whatever_the_scale() -> None:
    truth, pred = lognormal()
    one = member("exp900", truth, pred)
    blend, ids = fixed_blend(np.ones(1), stack_oof([one])[1]), list(one.test["id"])
    np.testing.assert_array_equal(calibrate([one], blend, ids, on=LOG).spread, calibrate([one], blend, ids).spread)


def test_a_prediction_outside_the_domain_has_bounds_inside() -> None:
    scale = Scale.of(["log1p"])
    assert np.isfinite(scale.forward(np.array([-7.0, -1.0, 3.0]))).all()
    assert (scale.back(scale.forward(np.array([-7.0])) - 1) > -1).all()
