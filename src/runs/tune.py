"""Search over declared ranges, on a split inside the training folds of an experiment, with Optuna."""

import logging
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from operator import attrgetter
from pathlib import Path
from pprint import pformat
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from src.config import ExperimentConfig, GbdtConfig, NequipConfig, TrainingConfig
from src.config.load import load_config
from src.data.folds import assign_folds, training_rows
from src.data.load import TaskData, load_folds, load_task_data
from src.data.target import TargetNormalizer, check_domain
from src.data.task import MetricName, Task
from src.features.potentials import base_energies
from src.learners.distributed import check_device
from src.learners.learner import Watched
from src.learners.make import make_learner
from src.paths import EXPERIMENTS, MAT2VEC, ROOT, experiment_name, shown
from src.results.metrics import METRICS, check_targets
from src.runs.needs import check_structures
from src.storage.files import write_atomic

if TYPE_CHECKING:
    from optuna import Study, Trial

log = logging.getLogger(__name__)
MAX_WIDTH = 120  # characters of a line of a proposal's docstring
OUTER_FOLD = 0  # its crystals are left out of everything here
Range = tuple[float, float] | tuple[int, ...]  # bounds on a logarithmic scale, or choices
RANGES: dict[type, dict[str, Range]] = {
    TrainingConfig: {"lr": (1e-4, 5e-3), "weight_decay": (1e-3, 1.0), "batch_size": (16, 32, 64)},
    NequipConfig: {"n_layers": (2, 3, 4), "n_channels": (32, 64, 96)},
    GbdtConfig: {
        "learning_rate": (0.01, 0.1),
        "n_trees": (1000, 2000, 3000, 4000),
        "num_leaves": (7, 15, 31, 63),
        "min_child_samples": (5, 10, 20),
        "colsample_bytree": (0.1, 0.6),
        "reg_lambda": (0.1, 10.0),
    },
}


def search(number: str, task: Task, outputs: Path, n_trials: int, device: str) -> str:
    """Add trials to the study of an experiment in exp/, write the proposal for a new one, and return a summary."""
    check_device(device)
    name = experiment_name(number)
    config: Any = load_config(EXPERIMENTS / name)
    ranges(config)
    check_structures(config, task)
    folder = task.runs(outputs) / "tune" / name
    study = open_study(name, folder, task.metric)
    data = load_task_data(task.folder, outputs, skip_bad_rows=False, n_jobs=1, target=task.target_column)
    rows = data.task.path("train"), data.train.ids.tolist(), data.train.targets
    check_targets(data.task.metric, *rows)
    check_domain(config.target, *rows)
    tune(config, data, study, folder, n_trials, device)
    write_atomic(folder / "proposal.py", proposal(config, name, study, data.task).encode())
    return (
        f"{len(study.trials)} trials, best {_score(study.best_value, data.task)}: {study.best_params}\n"
        f"{shown(folder / 'proposal.py')}: the settings as the config of a new experiment"
    )


def _score(loss: float, task: Task) -> str:
    """Return the score of a trial as people read it. loss: what Optuna minimises."""
    metric = METRICS[task.metric]
    return f"{metric.text} {-loss if metric.larger_is_better else loss:.4f} {task.unit if metric.has_unit else ''}".rstrip()


def ranges(config: ExperimentConfig) -> dict[str, Range]:
    """Return the range of every knob by its path, `learner.training.lr` for instance. Raises ValueError if there are none."""
    if not (found := _ranges_below(config)):
        raise ValueError(f"tuning: no ranges are declared for {type(getattr(config, 'learner', config)).__name__}")
    return found


def _ranges_below(config: Any, prefix: str = "") -> dict[str, Range]:
    found = {f"{prefix}{name}": limits for name, limits in RANGES.get(type(config), {}).items()}
    for field in fields(config):
        if is_dataclass(value := getattr(config, field.name)):
            found |= _ranges_below(value, f"{prefix}{field.name}.")
    return found


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


def tune(config: ExperimentConfig, data: TaskData, study: "Study", folder: Path, n_trials: int, device: str) -> None:
    """Add n_trials trials; the first trial of a study has the settings of the experiment."""
    declared = ranges(config)
    if not study.trials:
        study.enqueue_trial({path: attrgetter(path)(config) for path in declared}, skip_if_exists=True)
    rows = training_rows(load_folds(data, config.folds), OUTER_FOLD, data.train.crystals.element_counts, config.folds)
    study.optimize(_objective(config, data, rows, folder, device), n_trials=n_trials, show_progress_bar=True)


def _objective(
    config: ExperimentConfig, data: TaskData, rows: NDArray[np.int64], folder: Path, device: str
) -> "Callable[[Trial], float]":
    """Return the function that Optuna minimises: trial -> loss by the task's metric on an inner fold of `rows`.

    Poor trials are stopped by the MAE of the residual, whatever the metric is: learners report that after each epoch, and it is
    compared with that of other trials at the same epoch only.
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

        learner_config = with_knobs(config, {p: _suggest(trial, p, r) for p, r in ranges(config).items()}).trained
        learner = make_learner(learner_config, config.seed, device, word2vec)
        inputs = learner.prepare_inputs(data.train.crystals, data.train_key, data.cache, 1)
        errors: list[float] = []

        def report(error: float) -> None:
            errors.append(error)
            trial.report(normalizer.scale * error, len(errors))
            if trial.should_prune():
                raise optuna.TrialPruned

        place = folder / f"trial_{trial.number}"
        place.mkdir(parents=True, exist_ok=True)
        try:
            learner.fit(inputs[rows[train]], residual[train], place, Watched(inputs[rows[valid]], residual[valid], report))
            residuals = learner.predict_members(inputs[rows[valid]])
            pred, _ = normalizer.mean_and_spread(counts[valid], residuals, base[valid])
            return METRICS[data.task.metric].loss(e_form[valid], pred)
        finally:
            shutil.rmtree(place)

    return objective


def _suggest(trial: "Trial", path: str, choices: Range) -> Any:
    low, high = choices[0], choices[-1]
    if len(choices) == 2 and isinstance(low, float):
        return trial.suggest_float(path, low, high, log=True)
    return trial.suggest_categorical(path, choices)


def proposal(config: ExperimentConfig, name: str, study: "Study", task: Task) -> str:
    """Return the config.py of a new experiment with the settings of the best trial."""
    best = study.best_trial
    changed = {path: value for path, value in best.params.items() if value != attrgetter(path)(config)}
    own = study.trials[0].value
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
