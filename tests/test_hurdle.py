"""The hurdle model: what it predicts for shared and other targets, which rows the learner behind it sees, and its files."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from src.config import ExperimentConfig, GaussianProcessConfig, GbdtConfig, HurdleConfig, TargetConfig
from src.data.task import ColumnNames
from src.learners.hurdle import BothInputs, HurdleLearner
from src.learners.learner import DivergedError, Watched, make_learner
from src.learners.tabular import TableInputs

rng = np.random.default_rng(0)
X = rng.normal(size=(300, 3))
TARGET = np.where(X[:, 0] > 0, 2 + X[:, 1] + 0.1 * rng.normal(size=300), 0.0)  # zero in half of the rows
TABLE = TableInputs({"a": pd.DataFrame(X)})
INPUTS = BothInputs(TABLE, TABLE)
JUDGE = GbdtConfig(("a",), objective="binary", n_trees=60, min_child_samples=5)
LEARNER = GbdtConfig(("a",), n_trees=150, min_child_samples=5)
CONFIG = HurdleConfig(JUDGE, others=LEARNER)
TRAIN, VALID = np.arange(200), np.arange(200, 300)


def fitted(folder: Path, config: HurdleConfig = CONFIG, target: np.ndarray = TARGET) -> HurdleLearner:
    learner = HurdleLearner(config)
    learner.fit(INPUTS[TRAIN], target[TRAIN], folder)
    return learner


def test_the_learner_sees_the_rows_behind_the_hurdle_alone(tmp_path: Path) -> None:
    learner, plain = fitted(tmp_path), make_learner(LEARNER)
    rows = np.flatnonzero(TARGET[TRAIN] != 0)
    plain.fit(TABLE[rows], TARGET[rows], tmp_path)
    np.testing.assert_array_equal(learner.others.predict(TABLE), plain.predict(TABLE))
    assert learner.n_parameters == learner.trees.n_parameters + plain.n_parameters


@pytest.mark.parametrize("shift", [0.0, -3.5])
def test_a_learner_of_all_rows_sees_them_and_counts_unless_the_shared_value_is_likely(tmp_path: Path, shift: float) -> None:
    said: list[float] = []
    process = GaussianProcessConfig(("a",))
    learner, plain = HurdleLearner(replace(CONFIG, of_all=True, others=process)), make_learner(process)
    learner.fit(INPUTS[TRAIN], TARGET[TRAIN] + shift, tmp_path, Watched(INPUTS[VALID], TARGET[VALID] + shift, said.append))
    plain.fit(TABLE[TRAIN], TARGET[TRAIN] + shift, tmp_path)
    odds, pred = learner.odds + learner.trees.predict(TABLE), plain.predict(TABLE)
    assert ((odds > np.log(0.4 / 0.6)) & (odds < np.log(0.7 / 0.3))).sum() > 10  # where the other learner is shrunk
    np.testing.assert_allclose(learner.predict(INPUTS), np.where(odds > np.log(0.4 / 0.6), pred, shift))
    assert said == [pytest.approx(np.abs(pred - TARGET - shift)[VALID].mean())]


@pytest.mark.parametrize("shift", [0.0, -3.5])
def test_clear_cases_get_the_shared_value_or_what_the_learner_says(tmp_path: Path, shift: float) -> None:
    """Whatever number the shared value is: a standardised zero is another one."""
    learner = fitted(tmp_path, target=TARGET + shift)
    found, odds = learner.predict(INPUTS[VALID]), learner.odds + learner.trees.predict(TABLE[VALID])
    low, high = odds < np.log(0.4 / 0.6), odds > np.log(0.7 / 0.3)
    assert (found[low] == shift).all() and (TARGET[VALID][low] == 0).mean() > 0.8
    np.testing.assert_allclose(found[high], learner.others.predict(TABLE[VALID])[high])
    assert (TARGET[VALID][high] != 0).mean() > 0.8


def test_its_absolute_error_is_smaller_than_that_of_the_learner_alone(tmp_path: Path) -> None:
    plain = make_learner(LEARNER)
    plain.fit(TABLE[TRAIN], TARGET[TRAIN], tmp_path)
    own, other = (
        np.abs(pred - TARGET[VALID]).mean() for pred in (fitted(tmp_path).predict(INPUTS[VALID]), plain.predict(TABLE[VALID]))
    )
    assert own < 0.8 * other


def test_between_the_limits_the_weight_grows_with_the_probability(tmp_path: Path) -> None:
    learner = fitted(tmp_path)
    odds = learner.odds + learner.trees.predict(TABLE)
    between = (odds > np.log(0.4 / 0.6)) & (odds < np.log(0.7 / 0.3))
    weight = learner.predict(INPUTS) / learner.others.predict(TABLE)
    assert between.sum() > 10
    np.testing.assert_allclose(weight[between], (expit(odds[between]) - 0.4) / (0.7 - 0.4))


def test_watched_rows_decide_nothing_and_those_behind_the_hurdle_are_reported(tmp_path: Path) -> None:
    said: list[float] = []
    learner = HurdleLearner(replace(CONFIG, others=GaussianProcessConfig(("a",))))
    learner.fit(INPUTS[TRAIN], TARGET[TRAIN], tmp_path, Watched(INPUTS[VALID], TARGET[VALID], said.append))
    rows = VALID[TARGET[VALID] != 0]
    assert said == [pytest.approx(np.abs(learner.others.predict(TABLE[rows]) - TARGET[rows]).mean())]
    alone = fitted(tmp_path, learner.config)
    np.testing.assert_array_equal(alone.predict(INPUTS), learner.predict(INPUTS))


@pytest.mark.parametrize("target", [np.zeros(300), np.arange(300.0)])
def test_it_runs_if_all_targets_are_shared_or_none_is(tmp_path: Path, target: np.ndarray) -> None:
    assert np.isfinite(fitted(tmp_path, target=target).predict(INPUTS)).all()


@pytest.mark.parametrize(("n_others", "n_seen"), [(9, 200), (10, 10)])
def test_a_learner_with_fewer_than_ten_rows_behind_the_hurdle_sees_all(
    n_others: int, n_seen: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner, seen = HurdleLearner(CONFIG), []
    monkeypatch.setattr(learner.others, "fit", lambda inputs, target, *_: seen.append((len(inputs), len(target))))
    learner.fit(INPUTS[TRAIN], np.where(n_others > TRAIN, 1.0 + TRAIN, 0.0), tmp_path)
    assert seen == [(n_seen, n_seen)]


def test_it_needs_the_columns_of_its_trees_or_of_its_learner() -> None:
    learner, some, none = HurdleLearner(CONFIG), ColumnNames(("x",), ()), ColumnNames((), ())
    for trees, others in ((some, none), (none, some)):
        learner.trees, learner.others = (SimpleNamespace(columns=columns) for columns in (trees, others))
        assert learner.columns == some


def test_a_batch_that_diverges_is_named_by_its_rows_in_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learner = HurdleLearner(CONFIG)

    def diverge(*_: object) -> None:
        raise DivergedError("loss", float("nan"), 1, [20, 30])

    monkeypatch.setattr(learner.others, "fit", diverge)
    with pytest.raises(DivergedError) as error:
        learner.fit(INPUTS[TRAIN], TARGET[TRAIN], tmp_path)
    assert error.value.rows == np.flatnonzero(TARGET != 0)[[20, 30]].tolist()


def test_a_hurdle_is_refused_where_equal_targets_differ() -> None:
    with pytest.raises(ValueError, match=r"ExperimentConfig\.hurdle: requires a learner, and kind='standardise' or 'raw'"):
        ExperimentConfig(LEARNER, hurdle=HurdleConfig())
    assert ExperimentConfig(LEARNER, target=TargetConfig("raw"), hurdle=HurdleConfig()).trained == HurdleConfig(others=LEARNER)
