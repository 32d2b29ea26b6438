"""Search over declared ranges, on a split inside the training folds of an experiment, with Optuna."""

import logging
import shutil
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from src.config import ExperimentConfig, GbdtConfig, GnnConfig, NequipConfig, StudyConfig
from src.config.load import load_config
from src.data.folds import assign_folds
from src.data.load import TaskData, load_folds, load_task_data
from src.data.target import TargetNormalizer
from src.features.chgnet import base_energies
from src.learners.learner import Watched
from src.learners.make import make_learner, prepare_inputs
from src.paths import EXPERIMENTS, MAT2VEC, experiment_name, shown
from src.storage.files import write_atomic

if TYPE_CHECKING:
    from optuna import Study, Trial

log = logging.getLogger(__name__)
OUTER_FOLD = 0  # its crystals are left out of everything here
Range = tuple[float, float] | tuple[int, ...]  # bounds on a logarithmic scale, or choices
TRAINING: dict[str, Range] = {
    "learner.training.lr": (1e-4, 5e-3),
    "learner.training.weight_decay": (1e-3, 1.0),
    "learner.training.batch_size": (16, 32, 64),
}
NEQUIP: dict[str, Range] = {"learner.network.n_layers": (2, 3, 4), "learner.network.n_channels": (32, 64, 96)}
TREES: dict[str, Range] = {
    "learner.learning_rate": (0.01, 0.1),
    "learner.n_trees": (1000, 2000, 3000, 4000),
    "learner.num_leaves": (7, 15, 31, 63),
    "learner.min_child_samples": (5, 10, 20),
    "learner.colsample_bytree": (0.1, 0.6),
    "learner.reg_lambda": (0.1, 10.0),
}


def ranges(config: ExperimentConfig) -> dict[str, Range]:
    """Knob -> its range: two floats bound a logarithmic scale, all else are choices; ValueError where none is declared."""
    if isinstance(config.learner, GbdtConfig):
        return TREES
    if isinstance(config.learner, GnnConfig):
        return TRAINING | (NEQUIP if isinstance(config.learner.network, NequipConfig) else {})
    raise ValueError(f"tuning: no ranges are declared for {type(config.learner).__name__}")


def with_knobs(config: Any, knobs: dict[str, Any]) -> Any:
    """The config with other values: 'learner.training.lr' -> value."""
    for path, value in knobs.items():
        head, _, rest = path.partition(".")
        config = replace(config, **{head: with_knobs(getattr(config, head), {rest: value}) if rest else value})
    return config


def knob(config: Any, path: str) -> Any:
    """The value that a path names."""
    for part in path.split("."):
        config = getattr(config, part)
    return config


def open_study(name: str, folder: Path) -> "Study":
    """The study of an experiment, which goes on where it was left; ValueError where Optuna is not installed."""
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise ValueError("optuna is not installed; pip install -r requirements-extra.txt") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder.mkdir(parents=True, exist_ok=True)
    return optuna.create_study(
        study_name=name,
        storage=f"sqlite:///{(folder / 'study.db').resolve()}",
        load_if_exists=True,
        sampler=optuna.samplers.TPESampler(seed=0),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=5),
    )


def tune(config: ExperimentConfig, data: TaskData, study: "Study", folder: Path, n_trials: int, device: str) -> None:
    """Adds n_trials trials; the first one of a study has the experiment's own settings."""
    declared = ranges(config)
    if not study.trials:
        study.enqueue_trial({path: knob(config, path) for path in declared}, skip_if_exists=True)
    rows = np.flatnonzero(load_folds(data, config.folds) != OUTER_FOLD)
    study.optimize(_objective(config, data, rows, folder, device), n_trials=n_trials, show_progress_bar=True)


def _objective(
    config: ExperimentConfig, data: TaskData, rows: NDArray[np.int64], folder: Path, device: str
) -> "Callable[[Trial], float]":
    """Trial -> MAE, eV/atom, of an inner fold of `rows`."""
    word2vec = MAT2VEC if MAT2VEC.is_file() else None
    counts, e_form = data.train.crystals.element_counts[rows], data.train.targets[rows]
    inner = assign_folds(e_form, counts, config.folds)
    train, valid = np.flatnonzero(inner != 0), np.flatnonzero(inner == 0)
    base = base_energies(config.target, data.train.crystals, data.train_key, data.cache)[rows]
    normalizer = TargetNormalizer.fit(counts[train], e_form[train], config.target, base[train])
    residual = normalizer.normalize(counts, e_form, base)

    def objective(trial: "Trial") -> float:
        import optuna

        learner_config = with_knobs(config, {p: _suggest(trial, p, r) for p, r in ranges(config).items()}).trained
        inputs = prepare_inputs(learner_config, data.train.crystals, data.train_key, data.cache, 1, word2vec)
        errors: list[float] = []

        def report(error: float) -> None:
            errors.append(error)
            trial.report(normalizer.scale * error, len(errors))
            if trial.should_prune():
                raise optuna.TrialPruned

        place = folder / f"trial_{trial.number}"
        place.mkdir(parents=True, exist_ok=True)
        try:
            learner = make_learner(learner_config, config.seed, device, word2vec)
            learner.fit(inputs[rows[train]], residual[train], place, Watched(inputs[rows[valid]], residual[valid], report))
            return normalizer.scale * float(np.abs(learner.predict(inputs[rows[valid]]) - residual[valid]).mean())
        finally:
            shutil.rmtree(place)

    return objective


def _suggest(trial: "Trial", path: str, choices: Range) -> Any:
    low, high = choices[0], choices[-1]
    if len(choices) == 2 and isinstance(low, float):
        return trial.suggest_float(path, low, high, log=True)
    return trial.suggest_categorical(path, choices)


def as_source(config: Any, indent: int = 0) -> str:
    """The config as Python source, every knob named."""
    if is_dataclass(config):
        pad = " " * (indent + 4)
        lines = [f"{pad}{f.name}={as_source(getattr(config, f.name), indent + 4)},\n" for f in fields(config)]
        return f"{type(config).__name__}(\n{''.join(lines)}{' ' * indent})"
    return repr(config)


def class_names(config: Any) -> set[str]:
    """Names of the config classes that `as_source` mentions."""
    if not is_dataclass(config):
        return set()
    return {type(config).__name__}.union(*(class_names(getattr(config, f.name)) for f in fields(config)))


def proposal(config: ExperimentConfig, name: str, study: "Study") -> str:
    """A config.py for a new experiment with the best trial's settings."""
    best = study.best_trial
    changed = {path: value for path, value in best.params.items() if value != knob(config, path)}
    proposed = with_knobs(config, changed)
    own = study.trials[0].value
    found = f"{best.value:.4f} eV/atom on a split inside the training folds of fold {OUTER_FOLD}"
    before = f", {own:.4f} with the settings of {name}" if own is not None else ""
    what = ", ".join(path.removeprefix("learner.") for path in changed) or "nothing: no trial was better"
    return (
        f'"""What do the settings of a search over {len(study.trials)} trials bring?\n\n{found}{before}.\n'
        f'Parent: {name}. Changed: {what}.\n"""\n\n'
        f"from src.config import {', '.join(sorted(class_names(proposed)))}\n\nCONFIG = {as_source(proposed)}\n"
    )


def search(number: str, data_folder: Path, outputs: Path, n_trials: int, device: str) -> str:
    """Add trials to the study of an experiment and write the proposal for a new one; return a summary."""
    name = experiment_name(number)
    config = load_config(EXPERIMENTS / name)
    if isinstance(config, StudyConfig):
        raise ValueError(f"{name} is a study; name an experiment")
    ranges(config)  # before any data is read
    data = load_task_data(data_folder, outputs, skip_bad_rows=False, n_jobs=1)
    folder = data.folder / "tune" / name
    study = open_study(name, folder)
    tune(config, data, study, folder, n_trials, device)
    write_atomic(folder / "proposal.py", proposal(config, name, study).encode())
    return (
        f"{len(study.trials)} trials, best MAE {study.best_value:.4f} {data.task.unit}: {study.best_params}\n"
        f"{shown(folder / 'proposal.py')}: the settings as the config of a new experiment"
    )
