"""Laws of src/runs/study.py."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from src.config import ExperimentConfig, FoldConfig, GbdtConfig, StudyConfig
from src.data.load import TaskData, load_folds
from src.paths import EXPERIMENTS
from src.report import curves, figures
from src.results import predictions as results
from src.results.metrics import METRICS
from src.results.predictions import publish
from src.results.study import study_table
from src.runs.launch import Launcher
from src.runs.study import run_study

BASE = ExperimentConfig(
    learner=GbdtConfig(features=("fractions",), n_trees=20, min_child_samples=1), folds=FoldConfig(n_folds=4, n_bins=2)
)
STUDY = StudyConfig(variants=(("plain", BASE), ("another seed", replace(BASE, seed=9))), folds=(0, 2))


def test_a_study_trains_its_folds_only_and_goes_on_where_it_was_left(
    data: TaskData, task_folder: Path, outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = data.folder / "exp900"
    run_study(STUDY, "exp900", data, [2], Launcher(n_jobs=1), "cpu")
    assert not (study / "table.csv").is_file()
    run_study(STUDY, "exp900", data, None, Launcher(n_jobs=1), "cpu")
    assert sorted(path.name for path in (study / "plain").glob("fold_*")) == ["fold_0", "fold_2"]
    predictions, table = pd.read_csv(study / "predictions.csv"), pd.read_csv(study / "table.csv")
    assert set(predictions["fold"]) == {0, 2} and predictions["id"].is_unique
    of_folds = pd.concat([pd.read_csv(study / "plain" / f"fold_{k}" / "valid.csv") for k in (0, 2)]).set_index("id")
    np.testing.assert_array_equal(predictions["plain"], of_folds.loc[predictions["id"], "e_form_pred"])
    error = (predictions["plain"] - predictions["e_form"]).abs().mean()
    assert table.loc[0, "mae"] == pytest.approx(error) and table.loc[0, "delta"] == 0
    monkeypatch.setattr(results, "EXPERIMENTS", tmp_path / "exp")
    monkeypatch.setattr(results, "DEFAULT_TASK", task_folder)
    assert publish("900", data.task, outputs) == tmp_path / "exp/exp900/results"
    assert {path.name for path in (tmp_path / "exp/exp900/results").iterdir()} == {"predictions.csv.gz", "table.csv", "table.png"}
    with pytest.raises(ValueError, match="has no fold 1; its folds are 0, 2"):
        run_study(STUDY, "exp900", data, [1], Launcher(n_jobs=1), "cpu")


def test_the_table_pairs_every_variant_with_the_first() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=300)
    table = study_table(pd.DataFrame({"e_form": truth, "a": truth + 0.1, "b": truth - 0.3, "c": truth + 0.1}), ["a", "b", "c"])
    np.testing.assert_allclose(table["delta"], [0, 0.2, 0], atol=1e-12)
    assert table.loc[1, "low"] == pytest.approx(0.2) and table.loc[1, "high"] == pytest.approx(0.2)


@pytest.mark.parametrize("metric", ["rmse", "rmsle", "spearman"])
def test_the_table_has_the_tasks_metric_and_its_paired_difference(metric: str) -> None:
    rng = np.random.default_rng(0)
    truth = rng.lognormal(size=200)
    predictions = pd.DataFrame({"e_form": truth, "a": truth * 1.1, "b": truth * rng.lognormal(sigma=0.4, size=200)})
    table = study_table(predictions, ["a", "b"], metric)
    assert list(table) == list(dict.fromkeys(["variant", "mae", "rmse", metric, "delta", "low", "high"]))
    a, b = (METRICS[metric](truth, predictions[name].to_numpy()) for name in "ab")
    assert list(table[metric]) == [a, b] and list(table["delta"]) == [0, b - a]
    assert table.loc[1, "low"] < b - a < table.loc[1, "high"] and list(table.loc[0, ["low", "high"]]) == [0, 0]


def test_the_picture_has_the_best_variant_at_the_top_by_the_tasks_metric() -> None:
    table = pd.DataFrame({"variant": ["a", "b"], "r2": [0.2, 0.9], "mae": [0.1, 0.3], "delta": [0, 1.0], "low": 0.0, "high": 2.0})
    for metric, better, best in (("r2", True, "b"), ("mae", False, "a")):
        bars = figures.study(table, metric, metric, better).axes[0]
        assert [label.get_text() for label in bars.get_yticklabels()][-1] == best


def test_a_study_of_one_variant_or_of_different_folds_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two names, all different"):
        StudyConfig(variants=(("a", BASE),), folds=(0,))
    with pytest.raises(ValueError, match="must have the same folds"):
        StudyConfig(variants=(("a", BASE), ("b", replace(BASE, folds=FoldConfig(seed=3)))), folds=(0,))


@pytest.mark.parametrize("results", [p.parent for p in EXPERIMENTS.glob("exp*/results/table.csv")], ids=lambda p: p.parent.name)
def test_a_published_table_is_that_of_the_published_predictions(results: Path) -> None:
    table = pd.read_csv(results / "table.csv")
    again = study_table(pd.read_csv(results / "predictions.csv.gz"), list(table["variant"]))
    pd.testing.assert_frame_equal(table[list(again)], again)
    assert all(f"| {row.variant} | {row.mae:.4f} |" in (EXPERIMENTS / "README.md").read_text() for row in table.itertuples())


def test_variants_with_fewer_training_crystals_become_learning_curves_with_their_slope(data: TaskData) -> None:
    variants = tuple((f"trees {n}", replace(BASE, folds=replace(BASE.folds, n_train=n))) for n in (10, 20, 30))
    run_study(StudyConfig(variants=variants, folds=(0, 2)), "exp900", data, None, Launcher(n_jobs=1), "cpu")
    table = pd.read_csv(data.folder / "exp900/table.csv")
    assert list(table["n_train"]) == [10, 20, 30] and set(table["learner"]) == {"Gbdt"}
    scored = pd.read_csv(data.folder / "exp900/predictions.csv")
    assert len(scored) == (load_folds(data, BASE.folds) % 2 == 0).sum()


def test_the_power_law_is_found_and_drawn() -> None:
    n_train = np.array([100.0, 200, 800])
    assert curves.power_law(n_train, 3 * n_train**-0.4) == pytest.approx((-0.4, 3))
    table = pd.DataFrame({"learner": "Nequip", "n_train": n_train, "mae": 3 * n_train**-0.4})
    (axis,) = curves.training_sizes(table, "mae", "MAE", larger_is_better=False).axes
    assert axis.get_legend().get_texts()[0].get_text() == "Nequip: slope -0.40"


@pytest.mark.parametrize(("metric", "larger"), [("r2", True), ("mae", False)])
def test_without_a_power_law_a_learning_curve_is_drawn_through_its_points(metric: str, larger: bool) -> None:
    table = pd.DataFrame({"learner": ["Gbdt", "Gbdt", "Svr"], "n_train": [9.0, 90, 90], "r2": [-1, 0.5, 0.6], "mae": [0, 0, 1.0]})
    (axis,) = curves.training_sizes(table, metric, metric, larger).axes
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["Gbdt", "Svr"]
    np.testing.assert_array_equal(axis.lines[0].get_ydata(), table[metric][:2])


def test_variants_share_a_learning_curve_if_they_differ_in_the_number_of_training_crystals_alone(data: TaskData) -> None:
    other = replace(BASE, learner=replace(BASE.learner, n_trees=5))
    sizes = [
        (f"{name} {n}", replace(e, folds=replace(BASE.folds, n_train=n)))
        for name, e in (("a", BASE), ("b", other))
        for n in (10, 20)
    ]
    run_study(StudyConfig(variants=tuple(sizes), folds=(0,)), "exp900", data, None, Launcher(n_jobs=1), "cpu")
    assert list(pd.read_csv(data.folder / "exp900/table.csv")["learner"]) == ["a 10", "a 10", "b 10", "b 10"]
