"""Laws of intervals: coverage, what a width may depend on, and the transform of the target, whose domain bounds never leave."""

import hashlib
from pathlib import Path

import lightgbm
import numpy as np
import pandas as pd
import pytest
from crepes import ConformalRegressor

from src.config.catalogue import transforms_of
from src.data.target import TRANSFORMS
from src.results.blend import fixed_blend, stack_oof
from src.results.intervals import Intervals, Scale, calibrate, least_of, merged_bounds, oof_half_width, part_spread, total_spread
from src.results.predictions import Predictions
from src.results.surroundings import N_CLOSE, N_NEIGHBORS, QUANTILE, ErrorTrees, Kinds, Points, Seen, Surroundings, considered
from src.results.trees import GROWN, N_GROWN, Trees, read_trees, write_trees

N, N_NEW, N_FOLDS = 1000, 2000, 5
FOLD = np.arange(N) % N_FOLDS
LOG = Scale.of(["log"])
RNG = np.random.default_rng(5)
IDS = [f"x-{i}" for i in range(N + N_NEW)]
NOWHERE = Points(*(pd.DataFrame(RNG.random((len(ids), 2)), index=ids) for ids in (IDS[:N], IDS[N:])))  # says nothing


def lognormal(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return targets over orders of magnitude, (n,), and predictions of fold models, (n, N_FOLDS); their errors are factors."""
    rng = np.random.default_rng(seed)
    center = rng.normal(scale=2, size=N + N_NEW)
    truth = np.exp(center + 0.5 * rng.normal(size=N + N_NEW))
    return truth, np.exp(center[:, None] + 0.05 * rng.normal(size=(N + N_NEW, N_FOLDS)))


def member(name: str, truth: np.ndarray, pred: np.ndarray) -> Predictions:
    ids = np.array(IDS)
    oof = pd.DataFrame({"id": ids[:N], "fold": FOLD, "e_form": truth[:N], "e_form_pred": pred[np.arange(N), FOLD]})
    test = pd.DataFrame(pred[N:], columns=[f"fold_{k}" for k in range(N_FOLDS)])
    return Predictions(name, Path(), oof, test.assign(id=ids[N:], e_form_pred=test.mean(axis=1)), {})


def intervals_of(one: Predictions, points: Points = NOWHERE, on: Scale = LOG, ids: list[str] | None = None) -> Intervals:
    """Return the intervals of one experiment at 90%."""
    return calibrate([one], fixed_blend(np.ones(1), stack_oof([one])[1]), ids or list(one.test["id"]), points, on=on)


def hard_and_easy(seed: int = 0) -> tuple[Predictions, np.ndarray, np.ndarray, Points]:
    """Return an experiment whose errors are ten times larger for half of the crystals, which lie apart; the targets of its new
    crystals, whether these are hard, and where all of them lie."""
    rng = np.random.default_rng(seed)
    n = N + N_NEW
    hard = rng.random(n) < 0.5
    size = np.where(hard, 1.0, 0.1)
    truth = rng.normal(size=n)
    pred = truth[:, None] + size[:, None] * (rng.normal(size=(n, 1)) + 0.3 * rng.normal(size=(n, N_FOLDS)))
    points = pd.DataFrame(rng.random((n, 2)) + 10 * hard[:, None], index=IDS)
    return member("exp900", truth, pred), truth[N:], hard[N:], Points(points[:N], points[N:])


def covered(found: Intervals, truth: np.ndarray) -> np.ndarray:
    return (found.lower <= truth) & (truth <= found.upper)


def test_intervals_hold_ninety_percent_of_hard_crystals_as_of_easy_ones() -> None:
    one, truth, hard, points = hard_and_easy()
    found = intervals_of(one, points, Scale())
    inside = covered(found, truth)
    assert inside[hard].mean() == pytest.approx(0.91, abs=0.03)
    assert inside[~hard].mean() == pytest.approx(0.91, abs=0.03)
    assert found.half_width[hard].mean() > 5 * found.half_width[~hard].mean()
    assert found.oof_covered.mean() == pytest.approx(0.9, abs=0.02)
    np.testing.assert_allclose(found.oof_error, np.abs(one.oof["e_form"] - one.oof["e_form_pred"]))
    np.testing.assert_allclose(found.coverage, pd.Series(found.oof_error <= found.oof_half_width).groupby(FOLD).mean())


def test_bounds_are_the_same_whether_folds_are_judged_or_not_and_judging_grows_trees_for_each_third_of_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, _, _, points = hard_and_easy()
    grown, grow = [], Trees.grow
    monkeypatch.setattr(Trees, "grow", lambda signs, *known: grown.append(len(signs)) or grow(signs, *known))
    whole = intervals_of(one, points, Scale())
    assert sorted(grown) == sorted([800, 400, 600, 600] * N_FOLDS)  # four other folds in thirds of two, one and one
    grown.clear()
    found = calibrate([one], fixed_blend(np.ones(1), stack_oof([one])[1]), IDS[N:], points, on=Scale(), judged=False)
    assert grown == [800] * N_FOLDS
    np.testing.assert_array_equal((found.lower, found.upper), (whole.lower, whole.upper))
    assert np.isnan(found.oof_half_width).all() and np.isnan(found.coverage).all() and not found.oof_covered.any()


def test_a_model_without_errors_has_intervals_without_a_width_that_hold_everything() -> None:
    truth, _ = lognormal()
    found = intervals_of(member("exp900", truth, np.tile(truth[:, None], N_FOLDS)), on=Scale())
    np.testing.assert_allclose((found.lower, found.upper), (truth[N:], truth[N:]), rtol=1e-12)
    assert found.oof_covered.all() and (found.coverage == 1).all()


def test_published_trees_were_grown_with_these_settings() -> None:
    """Others are not read, and are grown again. Whoever changes them publishes the models again and changes this hash."""
    settings = repr((N_NEIGHBORS, N_CLOSE, QUANTILE, N_GROWN, GROWN))
    assert hashlib.sha256(settings.encode()).hexdigest()[:16] == "13636c8db5c1d85a"


def test_a_tenth_of_the_median_error_is_added_to_a_difficulty() -> None:
    signs = np.random.default_rng(0).normal(size=(59, 3))
    np.testing.assert_allclose(ErrorTrees.of(signs, np.full(59, 0.5)).predict(signs), 0.55, rtol=1e-6)


def test_where_the_fold_models_disagree_intervals_are_no_narrower_though_nothing_says_that_the_crystals_are_hard() -> None:
    """Half of the crystals have fold models that disagree, and errors of that size, which their neighbours do not share."""
    rng = np.random.default_rng(0)
    n = N + N_NEW
    size = np.where(rng.random(n) < 0.5, 1.0, 0.1)
    truth = rng.normal(size=n)
    pred = truth[:, None] + size[:, None] * (0.7 * rng.normal(size=(n, 1)) + 0.7 * rng.normal(size=(n, N_FOLDS)))
    one = member("exp900", truth, pred)
    found, wild = intervals_of(one, NOWHERE, Scale()), size[N:] == 1
    ids = np.array(one.test["id"])
    assert found.half_width[wild].mean() > 1.3 * found.half_width[~wild].mean()
    assert covered(found, truth[N:])[wild].mean() > 0.88
    alone = intervals_of(one_with(one, ids[wild]), NOWHERE, Scale(), list(ids[wild]))
    assert covered(alone, truth[N:][wild]).mean() > 0.88


def test_an_interval_reaches_two_and_a_half_standard_deviations_of_the_fold_models_on_either_side() -> None:
    error, pred = np.ones(57), np.array([[0.0, 10.0], [0.0, 0.0]])
    lower, upper = merged_bounds(error, np.ones((57, 2)), np.arange(57) % 2, pred, np.ones((2, 2)))
    assert (lower.tolist(), upper.tolist()) == ([5 - 12.5, -1], [5 + 12.5, 1])


def one_with(one: Predictions, ids: np.ndarray) -> Predictions:
    return Predictions(one.name, one.source, one.oof, one.test[one.test["id"].isin(ids)], one.metrics)


def test_a_row_has_the_same_interval_whatever_else_is_in_the_file() -> None:
    one, _, _, points = hard_and_easy()
    whole = intervals_of(one, points, Scale())
    for rows in ([3], [7, 3, 1500], list(range(100, 400))):
        ids = [f"x-{N + i}" for i in rows]
        part = intervals_of(one_with(one, np.array(ids)), points, Scale(), ids)
        np.testing.assert_array_equal(part.lower, whole.lower[rows])
        np.testing.assert_array_equal(part.upper, whole.upper[rows])


def test_a_test_row_with_the_id_of_a_training_row_is_another_crystal() -> None:
    """Both tables of many tasks number their rows from 0."""
    one, _, _, points = hard_and_easy()
    before = intervals_of(one, points, Scale())
    renamed = {new: old for new, old in zip(IDS[N:], IDS[:N] + IDS[N : 2 * N], strict=True)}
    test = one.test.assign(id=one.test["id"].map(renamed))
    after = intervals_of(
        Predictions(one.name, one.source, one.oof, test, {}), Points(points.train, points.test.rename(renamed)), Scale()
    )
    np.testing.assert_array_equal(after.lower, before.lower)


def test_experiments_with_other_folds_have_neighbours_of_their_own() -> None:
    points = Points(NOWHERE.train, NOWHERE.test)
    points.around(IDS[:N], FOLD, IDS[N:])
    again, alone = (one.around(IDS[:N], FOLD[::-1].copy(), IDS[N:])[0] for one in (points, NOWHERE))
    np.testing.assert_array_equal(again.own, alone.own)
    assert (again.fold[again.own] != np.arange(N_FOLDS)[:, None]).all()


def test_of_many_training_crystals_a_choice_is_considered_that_has_those_of_every_fold() -> None:
    fold = np.zeros(80_000, dtype=np.int64)
    fold[-5_211:-211], fold[-211:-201], fold[-201:-101], fold[-101:] = 1, 2, 3, 4
    rows = considered(fold)
    assert len(set(rows)) == 10_000 and (np.diff(rows) > 0).all()
    assert np.bincount(fold[rows])[1:].tolist() == [576, 10, 100, 100]  # a hundred of each, and a choice of the others
    np.testing.assert_array_equal(considered(fold[:10_000]), np.arange(10_000))


def test_the_errors_of_a_fold_have_no_influence_on_the_widths_that_it_is_judged_with() -> None:
    one, _, _, points = hard_and_easy()
    kinds = points.train.assign(**{"1": (np.arange(N) % 3 > 0) * 1.0, "2": (np.arange(N) % 3 > 1) * 1.0}).iloc[:, [2, 3, 0]]
    points = Points(kinds, points.test.assign(third=1.0))
    before = intervals_of(one, points, Scale())
    oof = one.oof.assign(e_form=one.oof["e_form"].where(one.oof["fold"] != 2, 7.0))
    after = intervals_of(Predictions(one.name, one.source, oof, one.test, one.metrics), points, Scale())
    same = before.oof_half_width == after.oof_half_width
    assert same[FOLD == 2].all()
    assert not same[FOLD != 2].any()


def test_new_crystals_of_the_same_kind_are_inside_as_often_as_promised() -> None:
    """Exchangeable rows: the mean of a group is predicted by the mean of the rows of the other folds; no difficulty."""
    rng, inside = np.random.default_rng(0), []
    for _ in range(300):
        truth, fold = rng.standard_t(4, size=95), np.arange(95) % 5
        model = np.array([truth[fold != k].mean() for k in range(5)])
        new = rng.standard_t(4, size=20)
        lower, upper = merged_bounds(
            np.abs(truth - model[fold]), np.ones((95, 5)), fold, np.tile(model, (20, 1)), np.ones((20, 5))
        )
        inside.append(((lower <= new) & (new <= upper)).mean())
    assert np.mean(inside) == pytest.approx(0.9, abs=0.015)


def test_the_interval_of_one_fold_model_is_that_of_crepes() -> None:
    rng = np.random.default_rng(1)
    for n in (20, 30, 57):  # at 19 crepes meets (1 - 0.9) * 20 < 2
        error, own, pred, new = rng.random(n), rng.random((n, 1)), rng.normal(size=(6, 1)), rng.random((6, 1))
        found = np.stack(merged_bounds(error, own, np.zeros(n, dtype=np.int64), pred, new), axis=1)
        theirs = ConformalRegressor().fit(error, sigmas=own[:, 0]).predict_int(pred[:, 0], sigmas=new[:, 0], confidence=0.9)
        np.testing.assert_allclose(found, theirs, rtol=1e-12)


def test_bounds_are_the_medians_over_fold_models() -> None:
    error, fold = np.tile(np.arange(1.0, 20.0), 3) * np.repeat([1, 2, 3], 19), np.repeat([0, 1, 2], 19)
    pred = np.array([[0.0, 1.0, 5.0]])
    lower, upper = merged_bounds(error, np.ones((57, 3)), fold, pred, np.array([[1.0, 2.0, 1.0]]))
    # the ceil(0.9 * 20)-th of 19 errors is 18, 36 or 54: bounds are -18, -71, -49 and 18, 73, 59
    assert (lower[0], upper[0]) == (-49.0, 59.0)


def test_folds_too_small_for_the_level_share_their_errors_and_too_few_rows_are_refused() -> None:
    error, fold = np.arange(1.0, 10.0), np.arange(9) % 3
    lower, upper = merged_bounds(error, np.ones((9, 3)), fold, np.zeros((1, 3)), np.ones((1, 3)))
    assert (lower[0], upper[0]) == (-9.0, 9.0)
    with pytest.raises(ValueError, match="8 out-of-fold rows are too few for intervals at 90%"):
        merged_bounds(error[:8], np.ones((8, 3)), fold[:8], np.zeros((1, 3)), np.ones((1, 3)))


def seen_of(error: np.ndarray, **given: np.ndarray) -> Seen:
    return Seen(**{"error": error, "target": error, "pred": error, "spread": np.zeros(len(error))} | given)


def test_a_crystal_is_told_by_the_nearest_crystals_of_other_folds() -> None:
    rng = np.random.default_rng(2)
    known, new, fold, error = rng.normal(size=(200, 3)), rng.normal(size=(7, 3)), rng.integers(0, 4, 200), rng.random(200)
    target, pred, spread = rng.random((3, 200))
    around, seen = Surroundings.of(known, fold).with_new(new), seen_of(error, target=target, pred=pred, spread=spread)
    for k in range(4):
        for points, nearest, of in ((known, around.own, fold), (new, around.new, np.full(7, -1))):
            signs = seen.signs(nearest[:, k], pred[: len(points)], spread[: len(points)], points)
            for i in (0, 3, 6):
                others = (fold != k) & (fold != of[i])
                order = np.argsort(np.linalg.norm(known[others] - points[i], axis=1))
                close = order[:8]
                own = [error[others][order[:N_NEIGHBORS]].mean(), error[others][close].mean()]
                own += [abs(pred[i] - target[others][close].mean()), pred[i], spread[i]]
                np.testing.assert_allclose(signs[i], [*(np.array(own) / error.mean()), *points[i]], rtol=1e-6)


@pytest.mark.parametrize("n", [20, 59, 2000])  # no split, some trees with few leaves, all with eight
def test_trees_as_arrays_predict_what_lightgbm_does_to_the_last_bit(n: int) -> None:
    rng = np.random.default_rng(n)
    signs = rng.normal(size=(3000, 6)).astype(np.float32)
    target = np.abs(signs[:, 0] * rng.normal(size=3000)).astype(np.float32)
    booster = lightgbm.train(GROWN | {"alpha": 0.8}, lightgbm.Dataset(signs[:n], target[:n]), N_GROWN)
    found = Trees.grow(signs[:n], target[:n], 0.8)
    at = np.repeat(signs[:1].astype(np.float64), found.threshold.size, axis=0)
    at[np.arange(len(at)), found.feature.ravel()] = found.threshold.ravel()  # values at thresholds
    for points in (signs, at, signs[:1]):
        np.testing.assert_array_equal(found.predict(points), booster.predict(points))
    assert found.predict(signs[:0]).shape == (0,)


def test_trees_that_were_written_are_read_if_they_were_grown_from_the_same(tmp_path: Path) -> None:
    path, signs = tmp_path / "difficulty.npz", np.random.default_rng(0).normal(size=(200, 3))
    trees = [Trees.grow(signs, signs[:, 0], quantile) for quantile in (0.2, 0.8)]
    assert read_trees(path, "same") == []
    write_trees(path, "same", trees)
    for one, other in zip(read_trees(path, "same"), trees, strict=True):
        np.testing.assert_array_equal(one.predict(signs), other.predict(signs))
    assert read_trees(path, "other") == []
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="damaged"):
        read_trees(path, "same")


def test_neighbours_are_found_if_the_nearest_are_all_of_one_fold(tmp_path: Path) -> None:
    known = np.arange(400.0)[:, None]
    found = Surroundings.of(known, np.arange(400) // 200).learn(seen_of(np.ones(400)))
    found.write(tmp_path / "difficulty.npz")
    assert found.own.shape == (400, 2) and (found.own == 1).all() and not list(tmp_path.iterdir())  # two folds: nobody is left
    around = Surroundings.of(known, np.minimum(np.arange(400) // 190, 2)).with_new(known[:1])
    assert (around.new[0, 0] >= 190).all() and sorted(around.new[0, 1]) == list(range(20))


def test_the_spread_over_members_tells_hard_crystals_where_their_neighbours_do_not() -> None:
    rng = np.random.default_rng(3)
    size = np.where(rng.random(N) < 0.5, 1.0, 0.1)
    around = Surroundings.of(NOWHERE.train.to_numpy(), FOLD).with_new(NOWHERE.train.to_numpy()[:2])
    error = size * np.abs(rng.normal(size=N))
    found = around.learn(seen_of(error, target=np.zeros(N), pred=np.zeros(N), spread=size))
    assert found.own[size == 1].mean() > 5 * found.own[size < 1].mean()
    new = found.of_new(around, np.zeros((2, N_FOLDS)), np.array([[1.0], [0.1]]) * np.ones(N_FOLDS))
    assert new[0].mean() > 4 * new[1].mean()


def points_of_elements(*counts: int) -> np.ndarray:
    """Return points of so many crystals of one, two, three ... elements."""
    return np.concatenate([np.tile(np.arange(5) <= n, (count, 1)) for n, count in enumerate(counts)]) / 2


@pytest.mark.parametrize(
    ("counts", "kinds"),
    [
        ((40, 40, 40), (0, 1, 2)),
        ((40, 40, 30, 10), (0, 1, 2)),  # more than two elements are of one kind
        ((39, 40, 40), (0, 0, 1)),
        ((60, 39, 40), (0, 1, 1)),
        ((60, 60, 39), (0, 1, 1)),
        ((20, 15, 40), (0, 0, 0)),
        ((0, 0, 400), (0, 0, 0)),
        ((10, 10, 10), (0, 0, 0)),
        ((60, 0, 0), (0, 0, 0)),
    ],
)
def test_a_kind_of_fewer_than_forty_crystals_is_merged_with_the_next(counts: tuple[int, ...], kinds: tuple[int, ...]) -> None:
    found = Kinds.of(points_of_elements(*counts))
    assert found.kind == kinds
    assert found.find(points_of_elements(1, 1, 1, 1)).tolist() == [*kinds, kinds[2]]


def test_each_kind_is_inside_as_often_as_promised_though_one_is_noisier_and_one_constant_for_all_does_not_do() -> None:
    rng, inside, together = np.random.default_rng(0), [], []
    kind, fold = np.repeat([0, 1, 2], (60, 240, 600)), np.arange(900) % 5
    noise = np.array([3.0, 1.0, 0.5])[kind]
    for _ in range(60):
        error, new = noise * np.abs(rng.normal(size=900)), noise * rng.normal(size=900)
        ones, pred = np.ones((900, 5)), np.zeros((900, 5))
        for found, kinds in ((inside, (kind, kind)), (together, None)):
            lower, upper = merged_bounds(error, ones, fold, pred, ones, kinds=kinds)
            found.append([((lower <= new) & (new <= upper))[kind == j].mean() for j in range(3)])
    np.testing.assert_allclose(np.mean(inside, axis=0), 0.9, atol=0.02)
    assert np.mean(together, axis=0)[0] < 0.6 and np.mean(together, axis=0)[2] > 0.97


def test_a_kind_has_bounds_in_its_domain_if_no_training_target_of_it_is_negative() -> None:
    one = member("exp900", *[np.abs(values) for values in lognormal()])
    elements = points_of_elements(N // 2, N // 2)
    points = Points(*(pd.DataFrame(np.tile(elements, (2, 1))[: len(ids)], index=ids) for ids in (IDS[:N], IDS[N:])))
    pure = np.tile(np.arange(N) < N // 2, 2)
    assert (intervals_of(one, points, Scale()).lower >= 0).all()
    negative = one.oof.assign(e_form=one.oof["e_form"].where(one.oof.index != N - 1, -0.001))  # of two elements
    found = intervals_of(Predictions(one.name, one.source, negative, one.test, {}), points, Scale())
    assert (found.lower[pure] >= 0).all() and (found.upper[pure] >= found.lower[pure]).all()
    assert (found.lower[~pure] < 0).any()
    assert [least_of(np.array(target)) for target in ([0.0, 2.0], [-1e-9, 2.0], [])] == [0, -np.inf, -np.inf]


@pytest.mark.parametrize(("n", "half_width"), [(9, 108.0), (8, 263.0)])  # of nine the largest is enough; eight are too few
def test_a_kind_that_is_too_small_for_the_level_shares_the_errors_of_all(n: int, half_width: float) -> None:
    error = np.concatenate([np.arange(100.0, 100 + n), 1 + np.arange(300 - n)])
    kind, fold = (np.arange(300) < n).astype(int), np.arange(300) % 3
    found = merged_bounds(error, np.ones((300, 3)), fold, np.zeros((1, 3)), np.ones((1, 3)), kinds=(kind, np.array([1])))
    np.testing.assert_array_equal(found, [[-half_width], [half_width]])


def test_oof_widths_are_calibrated_on_the_other_folds() -> None:
    error, fold = np.tile(np.arange(1.0, 20.0), 3) * np.repeat([1, 10, 100], 19), np.repeat([0, 1, 2], 19)
    expected = [(180 + 1800) / 2, (18 + 1800) / 2, (18 + 180) / 2]
    assert oof_half_width(error, np.ones((57, 3)), fold, 0.9)[::19].tolist() == expected
    twice = 1.0 + np.arange(57) % 2  # hard crystals; the difficulty has another unit in each column
    width = oof_half_width(twice * error, np.outer(twice, [1.0, 4.0, 0.5]), fold, 0.9)
    np.testing.assert_allclose(width / twice, np.repeat(expected, 19))


@pytest.mark.parametrize("n", [99, 100])
def test_a_kind_with_a_hundred_crystals_in_every_fold_is_calibrated_as_if_it_were_alone(n: int) -> None:
    fold, kind = np.tile([0, 1, 2], 2 * n), np.repeat([0, 1], 3 * n)
    rng = np.random.default_rng(0)
    error, own = rng.random(6 * n) * (1 + 9 * kind), 1 + rng.random((6 * n, 3))
    width = oof_half_width(error, own, fold, 0.9, kind)
    alone = [oof_half_width(error[kind == j], own[kind == j], fold[kind == j], 0.9) for j in (0, 1)]
    assert np.array_equal(width, np.concatenate(alone)) == (n == 100)


def test_intervals_on_the_scale_of_the_transform_cover_small_and_large_targets_alike() -> None:
    truth, pred = lognormal()
    found = intervals_of(member("exp900", truth, pred))
    inside, truth = covered(found, truth[N:]), truth[N:]
    assert inside.mean() == pytest.approx(0.9, abs=0.02)
    assert np.median(found.oof_half_width) == pytest.approx(np.median(found.half_width), rel=0.15)
    assert abs(inside[truth < 0.2].mean() - inside[truth > 5].mean()) < 0.1


def test_bounds_stay_in_the_domain_with_a_shared_transform_and_with_different_ones() -> None:
    one = member("exp900", *lognormal())
    assert (intervals_of(one, on=Scale()).lower <= 0).any()
    for scale in (LOG, Scale.of(["log", "none"])):
        found = intervals_of(one, on=scale)
        assert (found.lower > 0).all() and np.isfinite(found.upper).all() and (found.lower <= found.upper).all()


def test_members_that_share_a_transform_share_its_scale_others_have_that_of_the_target() -> None:
    assert Scale.of(["log1p", "log1p"]) == Scale(TRANSFORMS["log1p"], TRANSFORMS["log1p"].smallest)
    assert Scale.of(["log1p", "none"]) == Scale(None, TRANSFORMS["log1p"].smallest)
    assert Scale.of(["log1p", "log"]) == Scale(None, TRANSFORMS["log"].smallest)
    assert Scale.of(["none", "none"]) == Scale()


@pytest.mark.parametrize(
    ("numbers", "names"), [(["024", "025"], ["log1p"]), (["010", "025"], ["none", "log1p"]), (["032"], ["none"])]
)
def test_the_scale_of_experiments_is_that_of_their_configs(numbers: list[str], names: list[str]) -> None:
    assert Scale.of(transforms_of(numbers)) == Scale.of(names)


def test_without_a_transform_the_scale_is_that_of_the_target_to_the_last_bit() -> None:
    values = np.random.default_rng(0).normal(size=100)
    np.testing.assert_array_equal(Scale().back(Scale().forward(values)), values)


def test_the_spread_over_parts_is_that_of_a_mixture() -> None:
    pred, own, weights = RNG.normal(size=(7, 3)), RNG.random((7, 3)), np.array([0.5, 0.2, 0.3])
    variance = (pred**2 + own**2) @ weights - (pred @ weights) ** 2
    np.testing.assert_allclose(part_spread(pred, own, weights), np.sqrt(variance))
    # a negative weight counts as much: the blend of 0 and 4 is -2, and 3/4 of 2^2 and 1/4 of 6^2 are 12
    found = part_spread(np.array([[0.0, 4.0], [1.0, 5.0]]), np.zeros((2, 2)), np.array([[1.5, -0.5], [0.5, 0.5]]))
    np.testing.assert_allclose(found, [np.sqrt(12), 2])
    found = total_spread(np.array([[0.0, 2.0], [1.0, 1.0]]), np.array([[3.0, 1.0], [2.0, 4.0]]))
    np.testing.assert_allclose(found, np.sqrt([1 + (9 + 1) / 2, (4 + 16) / 2]))


def test_the_spread_is_in_the_unit_of_the_target_whatever_the_scale() -> None:
    truth, pred = lognormal()
    one = member("exp900", truth, pred)
    np.testing.assert_array_equal(intervals_of(one).spread, intervals_of(one, on=Scale()).spread)


def test_a_prediction_outside_the_domain_has_bounds_inside() -> None:
    scale = Scale.of(["log1p"])
    assert np.isfinite(scale.forward(np.array([-7.0, -1.0, 3.0]))).all()
    assert (scale.back(scale.forward(np.array([-7.0])) - 1) > -1).all()
