"""What `exp/verify.py` accepts: the same rows, or the same recipe on another machine, and no other experiment."""

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from src.config.catalogue import is_ensemble
from src.data.task import read_task
from src.paths import DEFAULT_TASK, EXPERIMENTS
from src.results.predictions import published_folder
from src.runs.verify import FoldRows, published_fold, verdict

SCATTER = 0.5


def fold_rows(pred: np.ndarray) -> FoldRows:
    """Rows with a truth of zero, predictions (50,) and the same of test rows."""
    ids = [f"x-{i}" for i in range(len(pred))]
    return FoldRows(pd.DataFrame({"id": ids, "fold": 0, "e_form": 0.0, "e_form_pred": pred}), pd.Series(pred, index=ids))


PRED = np.random.default_rng(0).normal(size=50)


def test_rows_that_differ_by_rounding_are_the_same_however_small_the_scatter() -> None:
    agrees, reason = verdict(fold_rows(PRED), fold_rows(PRED + 1e-7), 0.0)
    assert agrees and reason.startswith("same rows")
    assert not verdict(fold_rows(PRED), fold_rows(PRED + 1.5e-5 * (PRED > 1)), 0.0)[0]
    large = [replace(one, valid=one.valid.assign(e_form=100 * PRED)) for one in (fold_rows(PRED), fold_rows(PRED + 5e-4))]
    assert verdict(*large, 0.0)[0]  # the larger the targets, the larger the digits that are lost


@pytest.mark.parametrize(("share", "agrees"), [(0.99, True), (1.01, False)])
def test_a_model_must_be_nearer_than_those_of_other_folds(share: float, agrees: bool) -> None:
    found, reason = verdict(fold_rows(PRED), fold_rows(PRED + share * 0.85 * SCATTER), SCATTER)
    assert found == agrees and ("another type of machine" in reason) == agrees


@pytest.mark.parametrize(("share", "agrees"), [(0.99, True), (1.01, False)])
def test_without_a_test_table_the_unit_is_the_error_of_the_fold(share: float, agrees: bool) -> None:
    own, other = (fold_rows(pred) for pred in (PRED, PRED + share * 0.7 * np.abs(PRED).mean()))
    for pair in ((own, replace(other, test=None)), (replace(own, test=None), other)):
        assert verdict(*pair, np.inf)[0] == agrees


def test_test_rows_are_compared_by_id_and_a_fold_of_another_size_or_a_mean_of_networks_is_different_however_near() -> None:
    own = fold_rows(PRED)
    assert own.test is not None
    turned = replace(own, valid=own.valid.assign(e_form_pred=PRED + 0.1), test=own.test[::-1] + 0.1)
    mean = replace(own, valid=own.valid.assign(spread=0.1))
    assert verdict(own, turned, SCATTER)[0] and verdict(mean, mean, SCATTER)[0]
    for pair in ((own, replace(own, valid=own.valid[:-1])), (own, mean), (mean, own)):
        assert not verdict(*pair, SCATTER)[0]


def test_a_published_fold_is_its_rows_and_the_mean_distance_of_the_other_folds_models() -> None:
    folder = published_folder("exp010", read_task(DEFAULT_TASK))
    oof, test = (pd.read_csv(folder / f"{name}.csv.gz").set_index("id") for name in ("oof", "test"))
    rows, scatter = published_fold(folder, 3, True)
    pd.testing.assert_frame_equal(rows.valid.set_index("id"), oof[oof["fold"] == 3])
    pd.testing.assert_series_equal(rows.test, test["fold_3"])
    assert scatter == pytest.approx(np.mean([np.abs(test[f"fold_{k}"] - test["fold_3"]).mean() for k in range(10) if k != 3]))


def test_published_folds_of_other_experiments_are_refused_nineteen_times_in_twenty() -> None:
    task = read_task(DEFAULT_TASK)
    names = sorted(path.parents[1].name for path in EXPERIMENTS.glob("exp*/results/metrics.json"))
    names = [name for name in names if not is_ensemble(name)]
    rows = {(name, k): published_fold(published_folder(name, task), k, True) for name in names for k in (3, 7)}
    accepted = []
    for i, (own, other) in enumerate(itertools.combinations(names, 2)):
        (published, scatter), (foreign, _) = (rows[name, (3, 7)[i % 2]] for name in (own, other))
        accepted.append(verdict(published, foreign, scatter)[0])
    assert len(accepted) >= 325 and np.mean(accepted) < 0.05
