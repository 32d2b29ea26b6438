"""Laws of target.transform: what is learned is the residual of log(target) or log(1 + target), what is predicted the target."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import load, small_table

from src.config import ExperimentConfig, FoldConfig, GbdtConfig, TargetConfig, from_dict, to_dict
from src.data.crystal import N_ELEMENTS
from src.data.export import TARGET, write_task
from src.data.load import load_folds
from src.data.target import TRANSFORMS, TargetNormalizer
from src.runs.experiment import run_experiment
from src.runs.launch import Launcher

FOLDS = FoldConfig(n_folds=4)
GBDT = ExperimentConfig(GbdtConfig(features=("fractions",), n_trees=20, min_child_samples=2), FOLDS)
EVERY_TRANSFORM = pytest.mark.parametrize("transform", TRANSFORMS)
EVERY_KIND = pytest.mark.parametrize("kind", ["residual", "standardise", "raw"])


def counts_and_targets(transform: str, n: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """Atom counts and targets over six orders of magnitude, close to the bound of the domain too."""
    rng = np.random.default_rng(0)
    counts = np.zeros((n, N_ELEMENTS), dtype=np.int64)
    for row in counts:
        row[rng.choice(np.arange(1, 20), 2, replace=False)] = rng.integers(1, 5, 2)
    return counts, np.exp(rng.uniform(-7, 7, size=n)) - (transform == "log1p")


@EVERY_TRANSFORM
@EVERY_KIND
def test_normalising_and_back_changes_nothing(kind: str, transform: str) -> None:
    counts, target = counts_and_targets(transform)
    normalizer = TargetNormalizer.fit(counts, target, TargetConfig(kind, transform=transform))
    again = TargetNormalizer.from_json(json.loads(json.dumps(normalizer.to_json())))
    there = normalizer.normalize(counts, target)
    np.testing.assert_allclose(again.denormalize(counts, there), target, rtol=1e-11)
    assert kind == "raw" or there.std() == pytest.approx(1)


@EVERY_TRANSFORM
@EVERY_KIND
def test_the_residual_is_that_of_the_transformed_target(kind: str, transform: str) -> None:
    counts, target = counts_and_targets(transform)
    function = {"log": np.log, "log1p": np.log1p}[transform]
    plain = TargetNormalizer.fit(counts, function(target), TargetConfig(kind))
    found = TargetNormalizer.fit(counts, target, TargetConfig(kind, transform=transform))
    np.testing.assert_array_equal(found.normalize(counts, target), plain.normalize(counts, function(target)))


@EVERY_TRANSFORM
@EVERY_KIND
def test_predictions_are_finite_and_in_the_domain_whatever_a_learner_says(kind: str, transform: str) -> None:
    counts, target = counts_and_targets(transform)
    normalizer = TargetNormalizer.fit(counts, target, TargetConfig(kind, transform=transform))
    for residual in (-1e300, -1e3, -40.0, 40.0, 1e3, 1e300):
        found = normalizer.denormalize(counts, np.full(len(counts), residual))
        assert np.isfinite(found).all() and TRANSFORMS[transform].domain.holds(found).all()


def test_no_transform_is_the_default_and_is_stored_as_before_the_knob_was_there() -> None:
    counts, target = counts_and_targets("log")
    assert TargetConfig().transform == "none"
    normalizer = TargetNormalizer.fit(counts, target, TargetConfig())
    assert list(normalizer.to_json()) == ["shift", "scale", "base"]
    assert TargetNormalizer.from_json(normalizer.to_json()).transform == "none"
    stored = to_dict(GBDT)
    assert stored["target"].pop("transform") == "none"
    assert from_dict(stored) == GBDT


def test_a_base_allows_no_transform() -> None:
    with pytest.raises(ValueError, match="base='7net-l3i5': requires kind='residual' and transform='none'"):
        TargetConfig(base="7net-l3i5", transform="log")


@pytest.fixture
def positive(tmp_path: Path) -> Path:
    """A task whose targets are above 0."""
    rows = small_table(46)
    rows[TARGET] = np.exp(2 * rows[TARGET])
    write_task(tmp_path / "small", rows[:40], rows[40:])
    return tmp_path / "small"


def run(task: Path, transform: str, name: str = "exp001", folds: list[int] | None = None) -> Path:
    config = replace(GBDT, target=TargetConfig("standardise", transform=transform))
    run_experiment(config, name, load(task), folds, Launcher(n_jobs=1), "cpu")
    return task.parent / "outputs" / "small" / name


@EVERY_TRANSFORM
def test_a_run_predicts_and_scores_the_target_itself(positive: Path, transform: str) -> None:
    folder = run(positive, transform)
    truth = pd.read_csv(positive / "train.csv.gz")[TARGET]
    oof, test = pd.read_csv(folder / "oof.csv"), pd.read_csv(folder / "test.csv")
    np.testing.assert_allclose(oof["e_form"], truth)
    assert (oof["e_form_pred"] > 0).all() and (test.filter(like="fold_") > 0).to_numpy().all()
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["oof_mae"] == pytest.approx(np.abs(oof["e_form_pred"] - truth).mean())
    assert metrics["oof_mae"] < np.abs(truth - truth.mean()).mean()
    assert json.loads((folder / "fold_0" / "normalizer.json").read_text())["transform"] == transform


@EVERY_TRANSFORM
def test_targets_of_scored_rows_do_not_reach_the_normaliser(positive: Path, transform: str) -> None:
    data = load(positive)
    fold = load_folds(data, FOLDS)
    changed = replace(data, train=replace(data.train, target=np.where(fold == 1, 3 * data.train.targets, data.train.targets)))
    for name, own in (("exp001", data), ("exp002", changed)):
        config = replace(GBDT, target=TargetConfig(transform=transform))
        run_experiment(config, name, own, [1], Launcher(n_jobs=1), "cpu")
    before, after = (data.folder / name / "fold_1" for name in ("exp001", "exp002"))
    assert (before / "normalizer.json").read_bytes() == (after / "normalizer.json").read_bytes()
    found = [pd.read_csv(folder / "valid.csv")["e_form_pred"] for folder in (before, after)]
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize(("transform", "bound"), [("log", 0.0), ("log1p", -1.0)])
def test_targets_outside_the_domain_are_refused_by_row_before_anything_is_written(
    positive: Path, transform: str, bound: float
) -> None:
    table = pd.read_csv(positive / "train.csv.gz")
    table.loc[3, TARGET] = bound
    table.to_csv(positive / "train.csv.gz", index=False)
    with pytest.raises(ValueError, match=rf"train\.csv\.gz: target\.transform = '{transform}' requires .*'x-3': {bound:g}"):
        run(positive, transform)
    assert not (positive.parent / "outputs" / "small" / "exp001").exists()
