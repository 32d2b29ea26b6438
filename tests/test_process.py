"""The Gaussian process: its kernel against scikit-learn's, what scaling features must not change, and its files."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from src.config import GaussianProcessConfig
from src.learners.learner import Watched
from src.learners.process import GaussianProcessLearner, GroupedMatern, Scaler
from src.learners.tabular import TableInputs

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 5))
TARGET = np.sin(X[:, 0]) + 0.5 * X[:, 3] + 0.05 * rng.normal(size=60)
INPUTS = TableInputs({"a": pd.DataFrame(X[:, :3]), "b": pd.DataFrame(X[:, 3:])})
CONFIG = GaussianProcessConfig(features=("a", "b"))
TRAIN, VALID = np.arange(40), np.arange(40, 60)


def fitted(folder: Path, inputs: TableInputs = INPUTS, config: GaussianProcessConfig = CONFIG) -> GaussianProcessLearner:
    learner = GaussianProcessLearner(config)
    learner.fit(inputs[TRAIN], TARGET[TRAIN], folder)
    return learner


def test_the_kernel_is_a_matern_kernel_with_tied_lengths() -> None:
    kernel, plain = GroupedMatern(np.array([0.7, 2.0]), (3, 2)), Matern([0.7] * 3 + [2.0] * 2, nu=1.5)
    value, gradient = kernel(X, eval_gradient=True)
    expected, by_column = plain(X, eval_gradient=True)
    np.testing.assert_allclose(value, expected, atol=1e-7)
    tied = np.stack([by_column[..., :3].sum(axis=-1), by_column[..., 3:].sum(axis=-1)], axis=-1)
    np.testing.assert_allclose(gradient, tied, atol=1e-6)
    np.testing.assert_allclose(kernel(X[:7], X), expected[:7], atol=1e-7)


def test_predictions_are_those_of_scikit_learn(tmp_path: Path) -> None:
    learner = fitted(tmp_path)
    tables = INPUTS.tables_of(CONFIG.features)
    process = GaussianProcessRegressor(learner.kernel, alpha=1e-8 * TARGET[TRAIN].var(), optimizer=None)
    x = learner.scaler(tables)
    expected = TARGET[TRAIN].mean() + process.fit(x[TRAIN], TARGET[TRAIN] - TARGET[TRAIN].mean()).predict(x)
    np.testing.assert_allclose(learner.predict(INPUTS), expected, atol=1e-9)
    assert np.abs(learner.predict(INPUTS[VALID]) - TARGET[VALID]).mean() < 0.4 * TARGET.std()


def test_one_feature_is_fitted_as_scikit_learn_fits_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, x = TableInputs({"a": pd.DataFrame(X[:, :1])}), (X[:, :1] - X[TRAIN, :1].mean()) / X[TRAIN, :1].std()
    learner, mean, var = fitted(tmp_path, inputs, GaussianProcessConfig(("a",))), TARGET[TRAIN].mean(), TARGET[TRAIN].var()
    kernel = ConstantKernel(var, (1e-3 * var, 1e3 * var)) * Matern(1.0, (0.1, 100), nu=1.5)
    kernel += WhiteKernel(0.1 * var, (1e-5 * var, 10 * var))
    process = GaussianProcessRegressor(kernel, alpha=1e-8 * var).fit(x[TRAIN], TARGET[TRAIN] - mean)
    np.testing.assert_allclose(learner.kernel.bounds, process.kernel_.bounds)
    np.testing.assert_allclose(learner.predict(inputs), mean + process.predict(x), atol=1e-3)
    monkeypatch.setattr(GaussianProcessRegressor, "_constrained_optimization", lambda self, loss, start, bounds: (start, 0.0))
    begun = fitted(tmp_path, inputs, GaussianProcessConfig(("a",)))
    np.testing.assert_allclose(begun.kernel.theta, kernel.theta)
    np.testing.assert_allclose(begun.predict(inputs), mean + process.fit(x[TRAIN], TARGET[TRAIN] - mean).predict(x), rtol=1e-8)


def test_features_are_scaled_by_group_and_clipped_at_six_deviations() -> None:
    sign = (-1.0) ** np.arange(101)
    a = np.column_stack([np.arange(101) == 100, np.arange(101)]).astype(float)  # the last row is ten deviations from the mean
    b = np.column_stack([np.cos(np.arange(101)), 1000 + 5e-6 * sign, 1000 + 5e-7 * sign])  # the last column hardly varies
    z = [(x - x.mean(axis=0)) / x.std(axis=0) / np.sqrt(2) for x in (a, b[:, :2])]
    scaler = Scaler.fit({"a": a, "b": b})
    assert scaler.sizes == (2, 2) and scaler.kept.tolist() == [True, True, True, True, False]
    limit = 6 / np.sqrt(2)
    np.testing.assert_allclose(scaler({"a": a, "b": b}), np.clip(np.concatenate(z, axis=1), -limit, limit), rtol=1e-5, atol=1e-7)


def test_units_and_constant_columns_of_features_do_not_matter(tmp_path: Path) -> None:
    other = TableInputs({"a": pd.DataFrame(1000 + 7 * X[:, :3]), "b": pd.DataFrame(X[:, 3:]).assign(constant=3.0)})
    np.testing.assert_allclose(fitted(tmp_path, other).predict(other), fitted(tmp_path).predict(INPUTS), atol=1e-5)


def test_a_missing_feature_counts_as_the_mean(tmp_path: Path) -> None:
    gap = pd.DataFrame(X[:, :3].copy())
    gap.iloc[VALID, 0] = np.nan
    filled = gap.fillna(X[TRAIN, 0].mean())
    learner = fitted(tmp_path)
    found, expected = (learner.predict(TableInputs({**INPUTS.tables, "a": table})) for table in (gap, filled))
    np.testing.assert_allclose(found, expected)


def test_watched_rows_are_reported_and_decide_nothing(tmp_path: Path) -> None:
    said: list[float] = []
    learner = GaussianProcessLearner(CONFIG)
    learner.fit(INPUTS[TRAIN], TARGET[TRAIN], tmp_path, Watched(INPUTS[VALID], TARGET[VALID], said.append))
    assert said == [pytest.approx(np.abs(learner.predict(INPUTS[VALID]) - TARGET[VALID]).mean())]
    np.testing.assert_array_equal(learner.predict(INPUTS), fitted(tmp_path).predict(INPUTS))


def test_all_rows_predict_even_if_lengths_are_fitted_to_some(tmp_path: Path) -> None:
    learner = fitted(tmp_path, config=replace(CONFIG, n_fit=20))
    assert learner.n_parameters == len(TRAIN) + 4 and len(learner.weights) == len(TRAIN)
    assert np.abs(learner.kernel.theta - fitted(tmp_path).kernel.theta).max() > 1e-3
