"""Laws of a search: src/runs/search.py and src/runs/ranges.py."""

import hashlib
import itertools
import shutil
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pandas as pd
import pytest
from conftest import load, run
from faults import TinyRun

from src.config import BlendConfig, ExperimentConfig, FoldConfig, GbdtConfig, GraphConfig, TargetConfig, TrainingConfig
from src.config.catalogue import load_config
from src.data.export import TARGET
from src.data.load import TaskData, load_folds
from src.data.table import Crystals, CrystalTable
from src.data.task import read_task
from src.learners.gbdt import GbdtLearner
from src.learners.learner import DivergedError, Watched
from src.paths import DEFAULT_TASK, EXPERIMENTS
from src.results.metrics import METRICS
from src.runs import search as searching
from src.runs.inner import OUTER_FOLD, InnerSplits
from src.runs.ranges import BY_OPTIMIZER, RANGES, is_bounds, label, labelled, ranges, suggested, with_knobs
from src.runs.search import Search, open_study, proposal, search, tune

FOLDS = FoldConfig(n_folds=4)
TREES = ExperimentConfig(learner=GbdtConfig(features=("fractions",), n_trees=1000, min_child_samples=5), folds=FOLDS)
BINARY = replace(TREES, learner=replace(TREES.learner, objective="binary"), target=TargetConfig("classes"))


class Trial:
    """What we use of a trial of Optuna: it has the settings that it was given, or else first choices and lower bounds."""

    def __init__(self, number: int, own: dict, state: str) -> None:
        self.number, self.own, self.state, self.value = number, own, SimpleNamespace(name=state), None
        self.params, self.intermediate_values = dict[str, Any](), dict[int, float]()
        self.report = lambda error, step: self.intermediate_values.update({step: error})
        self.suggest_float = lambda path, low, high, log: self.suggest_categorical(path, [low])

    def suggest_categorical(self, path: str, choices: list) -> Any:
        return self.params.setdefault(path, self.own.get(path, choices[0]))

    def should_prune(self) -> bool:
        return False


class Study:
    """What we use of a study of Optuna."""

    best_trial = property(lambda self: min((one for one in self.trials if one.value is not None), key=lambda one: one.value))
    best_value, best_params = (property(lambda self, name=name: getattr(self.best_trial, name)) for name in ("value", "params"))

    def __init__(self) -> None:
        self.trials: list[Trial] = []

    def enqueue_trial(self, own: dict, state: str = "WAITING") -> None:
        self.trials.append(Trial(len(self.trials), own, state))

    def optimize(self, objective: Callable, n_trials: int | None, timeout: float | None, catch: type, show_progress_bar: bool):
        for _ in range(n_trials or 0):
            if not self.trials or self.trials[-1].state.name != "WAITING":
                self.enqueue_trial({})
            trial = self.trials[-1]
            try:
                trial.value, trial.state.name = objective(trial), "COMPLETE"
            except (catch, InterruptedError) as error:
                trial.state.name = "FAIL" if isinstance(error, catch) else "PRUNED"
        print(f"{n_trials}/{n_trials} " * show_progress_bar, file=sys.stderr)

    def trials_dataframe(self, attrs: tuple[str, ...]) -> pd.DataFrame:
        assert attrs == ("number", "state", "value", "duration", "params")
        rows = [{"state": one.state.name, "value": one.value} | one.params for one in self.trials]
        return pd.DataFrame(rows).rename(columns=lambda name: f"params_{name}" if "." in name else name)


@pytest.fixture(params=["stub", "optuna"])
def data(task_folder: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> TaskData:
    """The tables of a small task, whose searches run on Optuna, and without it on what stands for it above."""
    if request.param == "optuna":
        pytest.importorskip("optuna", reason="optuna is an optional extra: pip install -e .[extra]")
    else:
        stub, studies = MagicMock(TrialPruned=InterruptedError), defaultdict[tuple, Study](Study)
        stub.trial.Trial = Trial
        stub.create_study.side_effect = lambda **asked: (
            Path(asked["storage"].removeprefix("sqlite:///")).touch() or studies[asked["storage"], asked["study_name"]]
        )
        monkeypatch.setitem(sys.modules, "optuna", stub)
    monkeypatch.setitem(RANGES, GbdtConfig, {"num_leaves": (3, 7, 31), "learning_rate": (0.01, 0.1)})
    return load(task_folder)


def test_a_study_begins_with_the_experiments_own_settings_and_goes_on_where_it_was_left(
    data: TaskData, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for n_before, n_trials in [(0, 2), (2, 1)]:
        study = open_study("exp900", tmp_path / "tune", "mae")
        assert len(study.trials) == n_before
        tune(TREES, data, study, tmp_path / "tune", Search(n_trials), "cpu")
        assert f"{n_trials}/{n_trials} " in (said := capsys.readouterr().err) and "Trial" not in said
    assert study.trials[0].params == {"learner.num_leaves": 31, "learner.learning_rate": 0.03}
    assert [path.name for path in (tmp_path / "tune").iterdir()] == ["study.db"]


@pytest.mark.parametrize("data", ["stub"], indirect=True)
def test_a_study_draws_other_settings_when_it_goes_on_and_stops_poor_trials_from_the_fifth_report_and_trial_on(
    data: TaskData, tmp_path: Path
) -> None:
    import optuna

    for metric, name in (("mae", "exp900"), ("rmse", "exp900-rmse")):
        study = open_study("exp900", tmp_path / "a" / "tune", metric)
        study.trials += [None] * 3
        assert open_study("exp900", tmp_path / "a" / "tune", metric) is study
        where = f"sqlite:///{tmp_path}/a/tune/study.db"
        pruner = optuna.pruners.MedianPruner.return_value
        optuna.create_study.assert_called_with(study_name=name, storage=where, load_if_exists=True, pruner=pruner)
        optuna.samplers.TPESampler.assert_called_with(seed=3, constant_liar=True)
        assert study.sampler is optuna.samplers.TPESampler.return_value
    optuna.pruners.MedianPruner.assert_called_with(n_startup_trials=4, n_warmup_steps=5)
    optuna.logging.set_verbosity.assert_called_with(optuna.logging.WARNING)


def test_a_trial_of_several_splits_is_judged_by_the_mean_on_different_crystals(
    data: TaskData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit, rows, losses = GbdtLearner.fit, [], []
    mae = METRICS["mae"]

    def recorded_fit(self: GbdtLearner, inputs: object, residual: np.ndarray, folder: Path, watched: Watched) -> None:
        rows.append((len(residual), len(watched.target)))
        fit(self, inputs, residual, folder, watched)

    def recorded_loss(target: np.ndarray, pred: np.ndarray) -> float:
        losses.append((set(target), mae.loss(target, pred)))
        return losses[-1][1]

    monkeypatch.setattr(GbdtLearner, "fit", recorded_fit)
    monkeypatch.setitem(METRICS, "mae", SimpleNamespace(loss=recorded_loss, curve=None))
    study = open_study("exp900", tmp_path / "tune", "mae")
    tune(TREES, data, study, tmp_path / "tune", Search(1, n_splits=2), "cpu")
    n_training = int((load_folds(data, FOLDS) != OUTER_FOLD).sum())
    assert [sum(sizes) for sizes in rows] == [n_training, n_training]
    (first, loss), (second, other_loss) = losses
    assert first | second <= set(data.train.targets) and not first & second
    assert study.best_value == pytest.approx((loss + other_loss) / 2)


def test_each_kind_of_trial_has_a_study_of_its_own() -> None:
    kinds = [Search(1), Search(1, None, 5), Search(1, n_splits=2), Search(1, None, 5, 2)]
    assert len({kind.suffix for kind in kinds}) == len(kinds) and Search(1).suffix == ""


def test_a_split_is_predicted_as_a_fold_of_an_experiment_on_its_rows(
    task_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def energies(config: object, crystals: Crystals, *_: object) -> np.ndarray:
        return crystals.element_counts @ np.sin(np.arange(119)) / crystals.element_counts.sum(axis=1)

    monkeypatch.setattr("src.runs.inner.base_of", energies)
    monkeypatch.setattr("src.runs.experiment.base_of", energies)
    data, config = load(task_folder), replace(TREES, target=TargetConfig(base="7net-l3i5"))
    splits, said = InnerSplits.of(data, FOLDS, FOLDS), list[float]()
    rows = np.flatnonzero(load_folds(data, FOLDS) != OUTER_FOLD)
    crystals = Crystals.from_list([data.train.crystals[i] for i in rows])
    own = CrystalTable(data.train.ids[rows], crystals, data.train.targets[rows])
    run(replace(data, train=own, train_key="own", outputs=tmp_path / "own", given_folds=splits.split), config, folds=[0])
    expected = pd.read_csv(tmp_path / "own/small/exp001/fold_0/valid.csv")
    np.testing.assert_allclose(splits.target(0), expected["e_form"], rtol=1e-12)
    pred = splits.predict(config, 0, tmp_path / "split", "cpu", said.append)
    np.testing.assert_allclose(pred, expected["e_form_pred"], rtol=1e-12)
    assert len(said) == 10 and said[-1] == pytest.approx(np.abs(pred - expected["e_form"]).mean())  # every hundred trees


def test_a_poor_trial_is_stopped_early(data: TaskData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import optuna

    monkeypatch.setattr(optuna.trial.Trial, "should_prune", lambda self: True)
    study = open_study("exp900", tmp_path / "tune", "mae")
    tune(TREES, data, study, tmp_path / "tune", Search(1), "cpu")
    assert study.trials[0].state.name == "PRUNED" and list(study.trials[0].intermediate_values) == [1]


def test_trials_are_judged_by_the_metric_of_the_task(data: TaskData, tmp_path: Path) -> None:
    """Optuna minimises, so a score of which more is better is negated; for people it is not."""
    values = {}
    for metric in ("mae", "rmse", "spearman"):
        judged = replace(data, task=replace(data.task, metric=metric))
        study = open_study("exp900", tmp_path / "tune", metric)
        assert not study.trials
        tune(TREES, judged, study, tmp_path / "tune", Search(2), "cpu")
        values[metric] = study.best_value
        text = proposal(TREES, "exp900", study, judged.task, Search(2))
        unit = "" if metric == "spearman" else " eV/atom"
        assert f"{METRICS[metric].text} {abs(study.best_value):.4f}{unit} on a split" in text
    assert 0 < values["mae"] < values["rmse"] and -1 <= values["spearman"] < 0


@pytest.mark.parametrize(("name", "n_splits", "state"), [("exp001", 1, "COMPLETE"), ("exp012", 2, "FAIL"), ("exp016", 1, "FAIL")])
def test_a_proposal_is_a_config_with_the_values_of_the_best_trial(name: str, n_splits: int, state: str, tmp_path: Path) -> None:
    """They are not those of the experiment: all knobs have changed."""
    config, task, best = load_config(EXPERIMENTS / name), read_task(DEFAULT_TASK), SimpleNamespace()
    values = {path: choices[-1] for path, choices in ranges(config).items()}
    trials = [SimpleNamespace(value=0.5, state=SimpleNamespace(name=state)), best, best]
    study = SimpleNamespace(best_trial=best, best_value=0.12345, trials=trials)
    best.params = {path: label(value) for path, value in values.items()}
    code = proposal(config, name, study, task, Search(12, n_splits=n_splits))
    first = f", MAE 0.5000 eV/atom with the settings of {name}" * (state == "COMPLETE")
    where = f"on {'2 splits' if n_splits > 1 else 'a split'} inside the training folds of fold 0"
    changed = ", ".join(path.removeprefix("learner.") for path in values)
    assert f"MAE 0.1235 eV/atom {where}{first}. Parent: {name}. Changed: {changed}." in " ".join(code.split())
    best.params = {path: label(attrgetter(path)(config)) for path in values}
    for width in (120, 121):
        line = f"MAE 0.1235 eV/atom {where}{first}."
        long = "x" * (width - len(line) + len(name))
        fits = line.replace(name, long) in (text := proposal(config, long, study, task, Search(12, n_splits=n_splits)))
        assert "Changed: nothing: no trial was better." in " ".join(text.split()) and (not first or fits == (width == 120))
    (tmp_path / "config.py").write_text(code)
    assert load_config(tmp_path) == with_knobs(config, values)


def test_a_trial_that_diverges_is_dropped_and_the_search_goes_on(
    data: TaskData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict, calls = InnerSplits.predict, itertools.count()

    def first_diverges(self: InnerSplits, *arguments: Any) -> np.ndarray:
        if next(calls) == 0:  # before it has a folder
            raise DivergedError("loss", 1e9, 1, [0])
        return predict(self, *arguments)

    monkeypatch.setattr(InnerSplits, "predict", first_diverges)
    study = open_study("exp900", tmp_path / "tune", "mae")
    tune(TREES, data, study, tmp_path / "tune", Search(2), "cpu")
    assert [trial.state.name for trial in study.trials] == ["FAIL", "COMPLETE"]


def test_short_trials_have_a_study_of_their_own_and_the_proposal_keeps_the_experiments_epochs(
    data: TaskData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(TinyRun(data.task.folder, "network", tmp_path).folder, tmp_path / "exp" / "exp900")
    monkeypatch.setattr(searching, "EXPERIMENTS", tmp_path / "exp")
    config = load_config(tmp_path / "exp" / "exp900")
    assert Search(1, n_epochs=1).shortened(config) == replace(
        config, learner=replace(config.learner, training=TrainingConfig(1, batch_size=8))
    )
    text = search("900", data.task, tmp_path / "outputs", Search(1, n_epochs=1), "cpu", skip_bad_rows=False)
    folder = tmp_path / "outputs" / "small" / "tune" / "exp900"
    assert "1 trials" in text and "n_epochs=3" in (folder / "proposal.py").read_text()
    trials = pd.read_csv(folder / "trials.csv")
    assert trials["state"].tolist() == ["COMPLETE"] and trials["params_learner.training.batch_size"].tolist() == [8]
    assert trials["value"][0] > 0
    assert len(open_study("exp900-1-epochs", folder, "mae").trials) == 1 and not open_study("exp900", folder, "mae").trials


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Search, "--trials.*--seconds"),
        (partial(Search, 0), "must be positive"),
        (partial(Search, None, -1.0), "must be positive"),
        (partial(Search(1, n_splits=4).shortened, TREES), "4 splits: must be 1 to 3"),
    ],
)
def test_a_search_that_cannot_be_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_search_without_a_finished_trial_says_so(data: TaskData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "EXPERIMENTS", TinyRun(data.task.folder, "lightgbm", tmp_path).folder.parent)
    path = data.task.folder / "task.toml"
    path.write_text(path.read_text().replace(f'target_column = "{TARGET}"', f'targets = ["{TARGET}", "nsites"]'))
    with pytest.raises(ValueError, match="none of 1 trials of exp001 was finished; a larger budget"):
        search("001", read_task(data.task.folder, "nsites"), tmp_path / "outputs", Search(seconds=1e-9), "cpu", False)


@pytest.mark.parametrize(
    ("plan", "device", "changed", "message"),
    [
        (Search(1), "abacus", {}, "--device abacus: torch cannot use it here"),
        (Search(1, n_epochs=5), "cpu", {}, "GbdtConfig has no epochs"),
        (Search(1), "cpu", {"learner": BlendConfig(("001", "003"))}, "no ranges are declared for BlendConfig"),
        (Search(1), "cpu", vars(BINARY), "it predicts classes, and .* is for numbers"),
        (Search(1), "cpu", {"target": TargetConfig(transform="log")}, "target.transform = 'log'"),
    ],
)
def test_a_search_that_would_fail_later_is_refused_before_a_trial(
    data: TaskData, tmp_path: Path, plan: Search, device: str, changed: dict, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "load_config", lambda folder: replace(TREES, **changed))
    with pytest.raises(ValueError, match=message):
        search("001", data.task, tmp_path / "new", plan, device, skip_bad_rows=False)
    assert not (tmp_path / "new").exists() or "transform" in message  # of rows no more is known before they are read


def test_without_optuna_the_message_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ValueError, match=r"pip install -e .*\[extra\]"):
        open_study("exp900", tmp_path, "mae")


@pytest.mark.parametrize("name", ["exp010", "exp013", "exp014", "exp015", "exp016", "exp017", "exp094"])
def test_the_choices_of_a_network_are_its_own_settings_and_others_that_the_config_accepts(name: str) -> None:
    config = load_config(EXPERIMENTS / name)
    found = ranges(config)
    for path, choices in found.items():
        own = attrgetter(path)(config)
        assert choices[0] <= own <= choices[1] if is_bounds(choices) else own in choices, path
        for choice in choices:
            assert labelled(choices, label(choice)) == choice
            assert attrgetter(path)(with_knobs(config, {path: choice})) == choice


def test_the_choices_of_a_knob_are_those_of_the_studies_that_were_begun() -> None:
    """Optuna refuses to go on with others. Whoever changes them on purpose changes this hash."""
    names = ["001", "010", "013", "014", "015", "016", "017", "081", "094"]
    configs = [load_config(EXPERIMENTS / f"exp{name}") for name in names]
    configs.append(with_knobs(configs[1], {"learner.training.optimizer": "adamw"}))
    found = repr([sorted(ranges(config).items()) for config in configs])
    assert hashlib.sha256(found.encode()).hexdigest()[:16] == "af7cfb2c4b87e89f"


def test_an_experiments_own_value_joins_the_choices_that_lack_it() -> None:
    config = with_knobs(load_config(EXPERIMENTS / "exp010"), {"learner.graph.r_max": 4.5})
    assert ranges(config)["learner.graph.r_max"] == (4.5, *RANGES[GraphConfig]["r_max"])


@pytest.mark.parametrize("optimizer", BY_OPTIMIZER)
def test_the_range_of_lr_and_weight_decay_is_that_of_the_experiments_optimiser(optimizer: str) -> None:
    config = with_knobs(load_config(EXPERIMENTS / "exp010"), {"learner.training.optimizer": optimizer})
    asked = {}

    def number(path: str, low: float, high: float, log: bool) -> float:
        asked[path] = (low, high, log)
        return high

    trial = SimpleNamespace(suggest_categorical=lambda path, choices: choices[0], suggest_float=number)
    found = suggested(trial, config)
    assert asked == {f"learner.training.{name}": (*limits, True) for name, limits in BY_OPTIMIZER[optimizer].items()}
    assert (found.learner.training.optimizer, found.learner.training.lr) == (optimizer, BY_OPTIMIZER[optimizer]["lr"][1])
