"""Search over declared ranges, on a split inside the training folds of an experiment, with Optuna."""

import logging
import math
import re
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from pprint import pformat
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from src.config import ExperimentConfig, GnnConfig
from src.config.load import load_config
from src.data.folds import assign_folds, training_rows
from src.data.load import TaskData, load_folds, load_task_data
from src.data.target import TargetNormalizer, check_domain
from src.data.task import MetricName, Task
from src.features.potentials import base_energies
from src.learners.distributed import check_device
from src.learners.learner import DivergedError, Watched
from src.learners.make import make_learner
from src.paths import EXPERIMENTS, MAT2VEC, ROOT, experiment_name, shown
from src.results.metrics import METRICS, check_targets
from src.runs.needs import check_structures
from src.runs.ranges import Range, is_bounds, ranges
from src.storage.files import write_atomic

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

log = logging.getLogger(__name__)
MAX_WIDTH = 120  # characters of a line of a proposal's docstring
OUTER_FOLD = 0  # its crystals are left out of everything here
CPU_SECONDS = "cpu_seconds"  # of a trial's training, in its record


@dataclass(frozen=True)
class Budget:
    """When a search ends; the first that is reached counts.

    n_trials: in addition to those of the study. seconds: CPU seconds of training of all trials of the study; the trial that
    exceeds them is stopped at its next report, for a network after the epoch. None: no limit.
    """

    n_trials: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.n_trials is None and self.seconds is None:
            raise ValueError("tuning: say how many trials (--trials) or how many CPU seconds (--seconds)")
        if any(value is not None and value <= 0 for value in (self.n_trials, self.seconds)):
            raise ValueError(f"tuning: {self.n_trials} trials, {self.seconds} seconds: must be positive")


def search(number: str, task: Task, outputs: Path, budget: Budget, n_epochs: int | None, device: str) -> str:
    """Add trials to the study of an experiment in exp/, write the proposal for a new one, and return a summary.

    n_epochs: of each trial, a study of their own; the proposal keeps the experiment's. None: the experiment's.
    """
    check_device(device)
    name = experiment_name(number)
    config: Any = load_config(EXPERIMENTS / name)
    ranges(config)
    check_structures(config, task)
    folder = task.runs(outputs) / "tune" / name
    short = config if n_epochs is None else shortened(config, n_epochs)
    study = open_study(name if n_epochs is None else f"{name}-{n_epochs}-epochs", folder, task.metric)
    data = load_task_data(task.folder, outputs, skip_bad_rows=False, n_jobs=1, target=task.target_column)
    rows = data.task.path("train"), data.train.ids.tolist(), data.train.targets
    check_targets(data.task.metric, *rows)
    check_domain(config.target, *rows)
    tune(short, data, study, folder, budget, device)
    if not any(is_finished(trial) for trial in study.trials):
        raise ValueError(f"tuning: none of {len(study.trials)} trials of {name} was finished; a larger budget is needed")
    write_atomic(folder / "proposal.py", proposal(config, name, study, data.task).encode())
    n_finished = sum(map(is_finished, study.trials))
    return (
        f"{len(study.trials)} trials, {n_finished} to the end, {seconds_used(study):.0f} CPU s of training\n"
        f"best {_score(study.best_value, data.task)}: {study.best_params}\n"
        f"{shown(folder / 'proposal.py')}: the settings as the config of a new experiment"
    )


def _score(loss: float, task: Task) -> str:
    """Return the score of a trial as people read it. loss: what Optuna minimises."""
    metric = METRICS[task.metric]
    return f"{metric.text} {-loss if metric.larger_is_better else loss:.4f} {task.unit if metric.has_unit else ''}".rstrip()


def with_knobs(config: Any, knobs: dict[str, Any]) -> Any:
    """Return the config with other values. knobs: path -> value."""
    for path, value in knobs.items():
        head, _, rest = path.partition(".")
        config = replace(config, **{head: with_knobs(getattr(config, head), {rest: value}) if rest else value})
    return config


def open_study(name: str, folder: Path, metric: MetricName) -> "Study":
    """Return the study of an experiment, which continues where it stopped. Raises ValueError if Optuna is not installed.

    Trials that were judged by another metric are in a study of their own.
    """
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise ValueError('optuna is not installed; pip install -e ".[extra]"') from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder.mkdir(parents=True, exist_ok=True)
    return optuna.create_study(
        study_name=name if metric == "mae" else f"{name}-{metric}",
        storage=f"sqlite:///{(folder / 'study.db').resolve()}",
        load_if_exists=True,
        sampler=optuna.samplers.TPESampler(seed=0),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=5),
    )


def is_finished(trial: "FrozenTrial") -> bool:
    """Return whether a trial was neither stopped early nor interrupted; a stopped one has the value of its last report."""
    return bool(trial.state.name == "COMPLETE")


def seconds_used(study: "Study") -> float:
    """Return the CPU seconds of training of all trials."""
    return sum(trial.user_attrs.get(CPU_SECONDS, 0.0) for trial in study.trials)


def shortened(config: ExperimentConfig, n_epochs: int) -> ExperimentConfig:
    """Return the experiment with other epochs. Raises ValueError if its learner has none."""
    if not isinstance(config.learner, GnnConfig):
        raise ValueError(f"tuning: {type(config.learner).__name__} has no epochs")
    return with_knobs(config, {"learner.training.n_epochs": n_epochs})


def tune(config: ExperimentConfig, data: TaskData, study: "Study", folder: Path, budget: Budget, device: str) -> None:
    """Add the trials of a budget; the first trial of a study has the settings of the experiment."""
    declared = ranges(config)
    if not study.trials:
        study.enqueue_trial({path: attrgetter(path)(config) for path in declared}, skip_if_exists=True)
    rows = training_rows(load_folds(data, config.folds), OUTER_FOLD, data.train.crystals.element_counts, config.folds)
    limit = math.inf if budget.seconds is None else budget.seconds
    if seconds_used(study) >= limit:
        return

    def stop_if_used(study: "Study", _: "FrozenTrial") -> None:
        if seconds_used(study) >= limit:
            study.stop()

    objective = _objective(config, data, rows, folder, device, limit)
    bar = budget.n_trials is not None
    study.optimize(objective, n_trials=budget.n_trials, callbacks=[stop_if_used], show_progress_bar=bar)


def _objective(
    config: ExperimentConfig, data: TaskData, rows: NDArray[np.int64], folder: Path, device: str, limit: float
) -> "Callable[[Trial], float]":
    """Return the function that Optuna minimises: trial -> loss by the task's metric on an inner fold of `rows`.

    Poor trials are stopped by the MAE of the residual, whatever the metric is: learners report that after each epoch, and it is
    compared with that of other trials at the same epoch only. So are those that diverge, and the one at which the limit, CPU
    seconds of all trials, is reached.
    """
    word2vec = MAT2VEC if MAT2VEC.is_file() else None
    counts, e_form = data.train.crystals.element_counts[rows], data.train.targets[rows]
    folds = replace(config.folds, scheme="shuffled", elements=()) if config.folds.elements else config.folds
    inner = assign_folds(e_form, counts, folds)  # the outer fold's element is in none of these rows
    train, valid = np.flatnonzero(inner != 0), np.flatnonzero(inner == 0)
    base = base_energies(config.target, data.train.crystals, data.train_key, data.cache)[rows]
    normalizer = TargetNormalizer.fit(counts[train], e_form[train], config.target, base[train])
    residual = normalizer.normalize(counts, e_form, base)

    def objective(trial: "Trial") -> float:
        import optuna

        learner = make_learner(suggested(trial, config).trained, config.seed, device, word2vec)
        inputs = learner.prepare_inputs(data.train.crystals, data.train_key, data.cache, 1)
        errors: list[float] = []

        def report(error: float) -> None:
            errors.append(error)
            trial.report(normalizer.scale * error, len(errors))
            if trial.should_prune() or before + time.process_time() - start >= limit:
                raise optuna.TrialPruned

        place = folder / f"trial_{trial.number}"
        place.mkdir(parents=True, exist_ok=True)
        before, start = seconds_used(trial.study), time.process_time()
        try:
            learner.fit(inputs[rows[train]], residual[train], place, Watched(inputs[rows[valid]], residual[valid], report))
            residuals = learner.predict_members(inputs[rows[valid]])
            pred, _ = normalizer.mean_and_spread(counts[valid], residuals, base[valid])
            return METRICS[data.task.metric].loss(e_form[valid], pred)
        except DivergedError as error:
            raise optuna.TrialPruned from error
        finally:
            trial.set_user_attr(CPU_SECONDS, time.process_time() - start)
            shutil.rmtree(place)

    return objective


def suggested(trial: "Trial", config: Any) -> Any:
    """Return the config with a trial's values; a range is read after the knobs before it are set, for it may depend on them."""
    found = config
    for path in ranges(config):
        found = with_knobs(found, {path: _suggest(trial, path, ranges(found)[path])})
    return found


def _suggest(trial: "Trial", path: str, choices: Range) -> Any:
    if is_bounds(choices):
        return trial.suggest_float(path, *choices, log=True)
    return trial.suggest_categorical(path, choices)


def proposal(config: ExperimentConfig, name: str, study: "Study", task: Task) -> str:
    """Return the config.py of a new experiment with the settings of the best trial."""
    best = study.best_trial
    changed = {path: value for path, value in best.params.items() if value != attrgetter(path)(config)}
    own = study.trials[0].value if is_finished(study.trials[0]) else None
    found = f"{_score(study.best_value, task)} on a split inside the training folds of fold {OUTER_FOLD}"
    before = f", {_score(own, task)} with the settings of {name}" if own is not None else ""
    what = ", ".join(path.removeprefix("learner.") for path in changed) or "nothing: no trial was better"
    lines = (f"{found}{before}.", f"Parent: {name}. Changed: {what}.")
    text = "\n".join(textwrap.fill(line, MAX_WIDTH) for line in lines)
    question = f"What do the settings found by a search over {len(study.trials)} trials bring?"
    return formatted(f'"""{question}\n\n{text}\n"""\n\n{source(with_knobs(config, changed))}')


def source(config: ExperimentConfig) -> str:
    """Return Python source that defines CONFIG."""
    text = pformat(config, sort_dicts=False)
    return f"from src.config import {', '.join(sorted(set(re.findall(r'[A-Za-z]+(?=[(])', text))))}\n\nCONFIG = {text}\n"


def formatted(code: str) -> str:
    """Return Python source as the repository's settings of ruff format it; unchanged if ruff is not installed."""
    command = [sys.executable, "-m", "ruff", "format", "--config", str(ROOT / "pyproject.toml"), "-"]
    done = subprocess.run(command, input=code, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else code
