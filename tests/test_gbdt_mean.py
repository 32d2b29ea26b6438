"""Laws of the LightGBM ensemble and its removal of outliers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMRegressor

from src.config import GbdtConfig, GbdtEnsembleConfig
from src.learners.gbdt import GbdtEnsembleLearner, GbdtLearner, TableInputs
from src.learners.learner import Watched

MEMBERS = (GbdtConfig(features=("a",), n_trees=30), GbdtConfig(features=("a", "b"), n_trees=20, num_leaves=4))
RNG = np.random.default_rng(0)
X = RNG.normal(size=(240, 3))
INPUTS = TableInputs({"a": pd.DataFrame(X[:, :2]), "b": pd.DataFrame(X[:, 2:])})
TRAIN, VALID = np.arange(200), np.arange(200, 240)
OUTLIERS = np.array([3, 50, 121, 180])
TARGET = X[:, 0] + 0.1 * X[:, 2]
TARGET[OUTLIERS] += 20


def fitted(folder: Path, fraction: float, target: np.ndarray = TARGET, inputs: TableInputs = INPUTS) -> GbdtEnsembleLearner:
    folder.mkdir()
    learner = GbdtEnsembleLearner(GbdtEnsembleConfig(MEMBERS, outlier_fraction=fraction), seed=1)
    learner.fit(inputs[TRAIN], target[TRAIN], folder, Watched(inputs[VALID], target[VALID]))
    return learner


def rows_fitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fraction: float, target: np.ndarray = TARGET
) -> list[np.ndarray]:
    """The targets that each fit of a single model was given."""
    seen = []
    fit = GbdtLearner.fit

    def record(self: GbdtLearner, inputs: TableInputs, target: np.ndarray, *others: object) -> None:
        seen.append(target)
        fit(self, inputs, target, *others)

    with monkeypatch.context() as patch:
        patch.setattr(GbdtLearner, "fit", record)
        fitted(tmp_path / f"run-{len(list(tmp_path.iterdir()))}", fraction, target)
    return seen


def test_an_ensemble_is_the_mean_of_its_members_each_with_its_own_seed_and_features(tmp_path: Path) -> None:
    predicted = []
    for i, config in enumerate(MEMBERS):
        member = GbdtLearner(config, 1 + 1000 * i)
        member.fit(INPUTS[TRAIN], TARGET[TRAIN], tmp_path)
        predicted.append(member.predict(INPUTS[VALID]))
    np.testing.assert_allclose(fitted(tmp_path / "all", 0.0).predict(INPUTS[VALID]), np.mean(predicted, axis=0))


def test_a_model_is_lightgbms_with_the_settings_of_its_config_and_a_line_of_history_for_every_hundred_trees(
    tmp_path: Path,
) -> None:
    said: list[float] = []
    model = GbdtLearner(replace(MEMBERS[1], n_trees=230, reg_lambda=2.0, max_bin=63), 5)
    model.fit(INPUTS[TRAIN], TARGET[TRAIN], tmp_path, Watched(INPUTS[VALID], TARGET[VALID], said.append))
    settings = {"learning_rate": 0.03, "num_leaves": 4, "min_child_samples": 10, "reg_lambda": 2.0, "max_bin": 63, "verbose": -1}
    settings |= {"subsample": 0.8, "subsample_freq": 1, "colsample_bytree": 0.3, "n_jobs": 1, "force_row_wise": True}
    settings |= {"metric": "l1", "deterministic": True}
    named = LGBMRegressor(n_estimators=230, random_state=5, **settings).fit(X[TRAIN], TARGET[TRAIN])
    found = model.predict(INPUTS[VALID])
    np.testing.assert_allclose(found, named.booster_.predict(X[VALID]), rtol=1e-9)
    texts = [one.model_to_string().partition("parameters:")[2].splitlines() for one in (model.booster, named.booster_)]
    assert set(texts[0]) == set(texts[1])
    lines = (tmp_path / "history.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["tree", "100", "200", "230"]
    assert [float(line.split(",")[1]) for line in lines[1:]] == said
    assert len(said) == model.histories()["history.csv"] == 3
    assert said[-1] == pytest.approx(np.abs(found - TARGET[VALID]).mean())


def test_without_removal_every_member_is_fitted_on_every_training_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = rows_fitted(tmp_path, monkeypatch, 0.0)
    assert len(seen) == len(MEMBERS)
    for target in seen:
        np.testing.assert_array_equal(target, TARGET[TRAIN])


def test_outliers_among_the_training_rows_are_removed_for_every_member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = rows_fitted(tmp_path, monkeypatch, 0.05)
    assert len(seen) == 5 + len(MEMBERS)  # inner folds, then members
    for target in seen[5:]:
        assert len(target) == 190
        assert not np.isin(TARGET[OUTLIERS], target).any()
        assert np.isin(target, TARGET[TRAIN]).all()


def test_outliers_are_judged_by_models_that_were_not_fitted_on_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = rows_fitted(tmp_path, monkeypatch, 0.05)[:5]
    times_seen = np.sum([np.isin(TARGET[TRAIN], target) for target in inner], axis=0)
    np.testing.assert_array_equal(times_seen, 4)  # of five


def test_valid_rows_change_nothing_that_is_fitted_and_none_is_removed(tmp_path: Path) -> None:
    target, x = TARGET.copy(), X.copy()
    target[VALID] += 1000
    x[VALID] *= -3
    other = TableInputs({"a": pd.DataFrame(x[:, :2]), "b": pd.DataFrame(x[:, 2:])})
    before, after = fitted(tmp_path / "before", 0.05), fitted(tmp_path / "after", 0.05, target, other)
    assert len(after.predict(INPUTS[VALID])) == len(VALID)
    np.testing.assert_array_equal(before.predict(INPUTS[VALID]), after.predict(INPUTS[VALID]))


def test_missing_numbers_are_taken(tmp_path: Path) -> None:
    x = pd.DataFrame(X[:, :2]).mask(RNG.random((240, 2)) < 0.2)
    inputs = TableInputs({"a": x, "b": INPUTS.tables["b"]})
    assert np.isfinite(fitted(tmp_path / "nan", 0.05, inputs=inputs).predict(inputs[VALID])).all()


def test_settings_out_of_range_are_refused() -> None:
    for change in ({"parts": ()}, {"outlier_fraction": 0.5}):
        with pytest.raises(ValueError, match=f"GbdtEnsembleConfig.{next(iter(change))}="):
            replace(GbdtEnsembleConfig(MEMBERS), **change)


def test_rows_of_tables_come_in_the_order_that_is_asked_for() -> None:
    rows = np.array([7, 2, 5])
    np.testing.assert_array_equal(INPUTS[rows].matrix(("b", "a")), X[rows][:, [2, 0, 1]])
