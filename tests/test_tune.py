"""Laws of src/runs/tune.py."""

import subprocess
import sys
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import load

from src.config import BlendConfig, ExperimentConfig, FoldConfig, GbdtConfig
from src.config.load import load_config
from src.data.folds import assign_folds, training_rows
from src.data.load import TaskData, load_folds
from src.data.table import CrystalTable
from src.data.task import read_task
from src.paths import DEFAULT_TASK, EXPERIMENTS, ROOT
from src.results.metrics import METRICS
from src.runs import tune as tuning
from src.runs.tune import open_study, proposal, ranges, source, tune, with_knobs

FOLDS = FoldConfig(n_folds=4, n_bins=2)
TREES = ExperimentConfig(learner=GbdtConfig(features=("fractions",), n_trees=1000, min_child_samples=5), folds=FOLDS)


@pytest.fixture
def data(task_folder: Path, monkeypatch: pytest.MonkeyPatch) -> TaskData:
    pytest.importorskip("optuna", reason="optuna is an optional extra: pip install -e .[extra]")
    monkeypatch.setitem(tuning.RANGES, GbdtConfig, {"num_leaves": (3, 7, 31), "learning_rate": (0.01, 0.1)})
    return load(task_folder)


def test_a_study_begins_with_the_experiments_own_settings_and_goes_on_where_it_was_left(data: TaskData, tmp_path: Path) -> None:
    for n_before, n_trials in [(0, 2), (2, 1)]:
        study = open_study("exp900", tmp_path / "tune", "mae")
        assert len(study.trials) == n_before
        tune(TREES, data, study, tmp_path / "tune", n_trials, "cpu")
    assert study.trials[0].params == {"learner.num_leaves": 31, "learner.learning_rate": 0.03}
    assert [path.name for path in (tmp_path / "tune").iterdir()] == ["study.db"]


def test_the_left_out_fold_is_not_looked_at(data: TaskData, tmp_path: Path) -> None:
    table, fold = data.train, load_folds(data, FOLDS)
    changed = CrystalTable(table.ids, table.crystals, table.targets + 5.0 * (fold == tuning.OUTER_FOLD))
    values = []
    for name, train in [("a", table), ("b", changed)]:
        study = open_study("exp900", tmp_path / name, "mae")
        tune(TREES, replace(data, train=train), study, tmp_path / name, 1, "cpu")
        values.append(study.best_value)
    assert values[0] == values[1]


@pytest.mark.parametrize("folds", [replace(FOLDS, n_train=20), FoldConfig(scheme="elements", elements=("Li", "O"), n_folds=3)])
def test_a_search_sees_the_training_crystals_of_the_outer_fold_only(
    task_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folds: FoldConfig
) -> None:
    data, seen = load(task_folder), {}

    def inner(e_form: np.ndarray, counts: np.ndarray, config: FoldConfig) -> np.ndarray:
        seen.update(e_form=e_form, fold=assign_folds(e_form, counts, config))
        return seen["fold"]

    monkeypatch.setattr(tuning, "assign_folds", inner)
    study = SimpleNamespace(trials=[None], optimize=lambda *args, **options: None)
    tune(replace(TREES, folds=folds), data, study, tmp_path, 1, "cpu")
    rows = training_rows(load_folds(data, folds), tuning.OUTER_FOLD, data.train.crystals.element_counts, folds)
    np.testing.assert_array_equal(seen["e_form"], data.train.targets[rows])
    assert set(seen["fold"]) == set(range(folds.n_folds))


def test_a_poor_trial_is_stopped_early(data: TaskData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import optuna

    monkeypatch.setattr(optuna.trial.Trial, "should_prune", lambda self: True)
    study = open_study("exp900", tmp_path / "tune", "mae")
    tune(TREES, data, study, tmp_path / "tune", 1, "cpu")
    assert study.trials[0].state.name == "PRUNED" and list(study.trials[0].intermediate_values) == [1]


def test_trials_are_judged_by_the_metric_of_the_task(data: TaskData, tmp_path: Path) -> None:
    """Optuna minimises, so a score of which more is better is negated; for people it is not."""
    values = {}
    for metric in ("mae", "rmse", "spearman"):
        judged = replace(data, task=replace(data.task, metric=metric))
        study = open_study("exp900", tmp_path / "tune", metric)
        assert not study.trials
        tune(TREES, judged, study, tmp_path / "tune", 2, "cpu")
        values[metric] = study.best_value
        text = proposal(TREES, "exp900", study, judged.task)
        unit = "" if metric == "spearman" else " eV/atom"
        assert f"{METRICS[metric].text} {abs(study.best_value):.4f}{unit} on a split" in text
    assert 0 < values["mae"] < values["rmse"] and -1 <= values["spearman"] < 0


@pytest.mark.parametrize("name", ["exp001", "exp012", "exp016"])
def test_a_proposal_is_formatted_and_checked_by_ruff(name: str, tmp_path: Path) -> None:
    """The values of the best trial are not those of the experiment, and all knobs have changed."""
    config = load_config(EXPERIMENTS / name)
    params = {path: choices[-1] for path, choices in ranges(config).items()}
    trial = SimpleNamespace(params=params, value=0.12345)
    study = SimpleNamespace(best_trial=trial, best_value=0.12345, trials=[SimpleNamespace(value=0.5)] * 12)
    (tmp_path / "config.py").write_text(proposal(config, name, study, read_task(DEFAULT_TASK)))
    for check in (["format", "--check"], ["check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *check, "--config", ROOT / "pyproject.toml", tmp_path / "config.py"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
    assert load_config(tmp_path) == with_knobs(config, params)


def test_the_proposal_is_a_config_of_its_own(data: TaskData, tmp_path: Path) -> None:
    study = open_study("exp900", tmp_path / "tune", "mae")
    tune(TREES, data, study, tmp_path / "tune", 3, "cpu")
    (tmp_path / "config.py").write_text(proposal(TREES, "exp900", study, data.task))
    proposed = load_config(tmp_path)
    assert all(attrgetter(path)(proposed) == value for path, value in study.best_params.items())
    assert with_knobs(proposed, {path: attrgetter(path)(TREES) for path in study.best_params}) == TREES


@pytest.mark.parametrize("name", ["exp001", "exp012", "exp016"])
def test_every_declared_knob_is_one_of_the_config_and_its_source_gives_it_back(name: str) -> None:
    config = load_config(EXPERIMENTS / name)
    assert all(attrgetter(path)(config) is not None for path in ranges(config))
    found: dict = {}
    exec(source(config), found)
    assert found["CONFIG"] == config


def test_a_knob_is_set_by_its_path_and_no_other_one_changes() -> None:
    expected = replace(TREES, seed=3, learner=replace(TREES.learner, num_leaves=7))
    assert with_knobs(TREES, {"learner.num_leaves": 7, "seed": 3}) == expected


def test_without_ranges_or_without_optuna_the_message_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no ranges are declared for BlendConfig"):
        ranges(ExperimentConfig(learner=BlendConfig(("001", "003"))))
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ValueError, match=r"pip install -e .*\[extra\]"):
        open_study("exp900", tmp_path, "mae")
