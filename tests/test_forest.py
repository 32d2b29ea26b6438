"""Extremely randomised trees: predictions against scikit-learn's, missing features, classes, and their files."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from sklearn.metrics import log_loss

from src.config import ForestConfig
from src.learners import tabular
from src.learners.forest import ForestLearner
from src.learners.learner import Watched, load_learner
from src.learners.tabular import TableInputs

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 5)).astype(np.float32)
TARGET = np.sin(X[:, 0]) + 0.5 * X[:, 3] + 0.05 * rng.normal(size=60)
INPUTS = TableInputs({"a": pd.DataFrame(X[:, :3]), "b": pd.DataFrame(X[:, 3:])})
CONFIG = ForestConfig(features=("a", "b"), n_trees=30, max_features=0.6)
OF_CLASSES = replace(CONFIG, objective="binary")
TRAIN, VALID = np.arange(40), np.arange(40, 60)
IS_SECOND = TARGET > 0.3
SHARE = IS_SECOND[TRAIN].mean()
RESIDUAL = IS_SECOND - SHARE  # as TargetNormalizer makes it of classes


def fitted(folder: Path, inputs: TableInputs = INPUTS, config: ForestConfig = CONFIG) -> ForestLearner:
    learner = ForestLearner(config, seed=3)
    learner.fit(inputs[TRAIN], (RESIDUAL if config.of_classes else TARGET)[TRAIN], folder)
    return learner


def test_predictions_are_those_of_scikit_learn(tmp_path: Path) -> None:
    forest = ExtraTreesRegressor(30, max_features=0.6, random_state=3).fit(X[TRAIN], TARGET[TRAIN])
    learner = fitted(tmp_path)
    np.testing.assert_allclose(learner.predict(INPUTS), forest.predict(X), rtol=1e-12)
    assert learner.n_parameters == sum(one.tree_.n_leaves for one in forest.estimators_)


def test_a_forest_for_absolute_errors_predicts_the_mean_over_the_middle_half_of_its_trees(tmp_path: Path) -> None:
    forest = ExtraTreesRegressor(30, max_features=0.6, random_state=3).fit(X[TRAIN], TARGET[TRAIN])
    by_tree = np.sort([tree.predict(X) for tree in forest.estimators_], axis=0)
    fitted(tmp_path, config=replace(CONFIG, objective="l1")).save(tmp_path)
    np.testing.assert_allclose(load_learner(tmp_path).predict(INPUTS), by_tree[7:23].mean(axis=0), rtol=1e-12)


def test_probabilities_are_those_of_scikit_learn_but_never_certain_also_of_a_saved_forest(tmp_path: Path) -> None:
    forest = ExtraTreesClassifier(30, max_features=0.6, random_state=3).fit(X[TRAIN], IS_SECOND[TRAIN])
    start = np.log(SHARE / (1 - SHARE))
    fitted(tmp_path, config=OF_CLASSES).save(tmp_path)
    chance = expit(start + load_learner(tmp_path).predict(INPUTS))
    np.testing.assert_allclose(chance, (30 * forest.predict_proba(X)[:, 1] + 1) / 32, rtol=1e-9)


def test_the_error_of_classes_is_their_log_loss_by_the_mean_chance_of_the_members() -> None:
    watched = Watched(None, np.array([0.75, -0.25, -0.25, -0.25]))  # one of four is of the second class
    pred = np.array([[1.0, 0.5, -0.5, 2.0], [0.0, -1.0, 0.25, 1.0]])
    chance = expit(np.log(1 / 3) + pred).mean(axis=0)
    assert watched.error(pred, of_classes=True) == pytest.approx(log_loss([1, 0, 0, 0], chance))
    assert watched.error(pred, of_classes=False) == pytest.approx(np.abs([-0.25, 0, 0.125, 1.75]).mean())


@pytest.mark.parametrize("only", [0.0, 1.0])
def test_a_constant_class_is_predicted(tmp_path: Path, only: float) -> None:
    learner = ForestLearner(OF_CLASSES)
    learner.fit(INPUTS[TRAIN], np.full(len(TRAIN), only - 0.9), tmp_path)
    assert ((learner.predict(INPUTS) > 0) == only).all()


def test_a_missing_feature_counts_as_the_mean_of_the_training_rows_that_have_it(tmp_path: Path) -> None:
    gap = pd.DataFrame(X[:, :3].copy())
    gap.iloc[VALID, 0] = gap.iloc[5:17, 0] = gap.iloc[1:40, 1] = gap.iloc[TRAIN, 2] = np.nan  # one is left of the second, none
    means = [X[[*range(5), *range(17, 40)], 0].mean(), X[0, 1], 0, *X[TRAIN, 3:].mean(axis=0)]
    filled = gap.fillna(dict(enumerate(map(float, means))))
    learner = fitted(tmp_path, TableInputs({**INPUTS.tables, "a": gap}))
    np.testing.assert_allclose(learner.filling, means, rtol=1e-5)
    found, expected = (learner.predict(TableInputs({**INPUTS.tables, "a": table})) for table in (gap, filled))
    np.testing.assert_allclose(found, expected)
    assert learner.filling.dtype == np.float32  # as scikit-learn compares


def test_rows_are_predicted_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tabular, "PREDICTED_AT_ONCE", 3)
    sizes: list[int] = []
    found = tabular.predicted_in_parts(lambda x: sizes.append(len(x)) or x.sum(axis=1), X[:7])
    np.testing.assert_array_equal(found, X[:7].sum(axis=1))
    assert sizes == [3, 3, 1]


def test_watched_rows_are_reported_and_decide_nothing(tmp_path: Path) -> None:
    said: list[float] = []
    learner = ForestLearner(CONFIG, seed=3)
    learner.fit(INPUTS[TRAIN], TARGET[TRAIN], tmp_path, Watched(INPUTS[VALID], TARGET[VALID], said.append))
    assert said == [pytest.approx(np.abs(learner.predict(INPUTS[VALID]) - TARGET[VALID]).mean())]
    np.testing.assert_array_equal(learner.predict(INPUTS), fitted(tmp_path).predict(INPUTS))
