"""A trial of a search: trained on a part of the training rows of one fold, judged on the rest of them."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from src.config import ExperimentConfig
from src.data.folds import assign_folds
from src.data.load import TaskData, load_folds
from src.data.target import TargetNormalizer
from src.features.sevennet import base_energies
from src.learners.learner import DivergedError, Watched
from src.learners.make import make_learner
from src.paths import MAT2VEC
from src.results.metrics import METRICS
from src.runs.ranges import Range, is_bounds, label, labelled, ranges, with_knobs

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

OUTER_FOLD = 0  # its crystals are left out of everything here
CPU_SECONDS = "cpu_seconds"  # of a trial's training, in its record


@dataclass(frozen=True)
class Trials:
    """What a trial is; each kind has a study of its own.

    n_epochs: of each training; None: the experiment's.
    n_splits: trainings of a trial, each judged on other crystals; the trial is judged by the mean.
    wide: vary more knobs, see src/runs/ranges.py.
    """

    n_epochs: int | None = None
    n_splits: int = 1
    wide: bool = False

    @property
    def suffix(self) -> str:
        """Text that a study's name ends with."""
        epochs = "" if self.n_epochs is None else f"-{self.n_epochs}-epochs"
        return epochs + (f"-{self.n_splits}-splits" if self.n_splits > 1 else "") + ("-wide" if self.wide else "")

    def config(self, config: ExperimentConfig) -> ExperimentConfig:
        """Return the experiment with the trial's epochs. Raises ValueError if its learner has none, or for too many splits."""
        if not 1 <= self.n_splits < config.folds.n_folds:
            raise ValueError(f"tuning: {self.n_splits} splits: must be 1 to {config.folds.n_folds - 1}, one less than the folds")
        if self.n_epochs is None:
            return config
        if not hasattr(config.learner, "training"):
            raise ValueError(f"tuning: {type(config.learner).__name__} has no epochs")
        return with_knobs(config, {"learner.training.n_epochs": self.n_epochs})


def is_finished(trial: "FrozenTrial") -> bool:
    """Return whether a trial was neither stopped early nor interrupted; a stopped one has the value of its last report."""
    return bool(trial.state.name == "COMPLETE")


def seconds_used(study: "Study") -> float:
    """Return the CPU seconds of training of all trials."""
    return sum(trial.user_attrs.get(CPU_SECONDS, 0.0) for trial in study.trials)


def make_objective(
    config: ExperimentConfig, trials: Trials, data: TaskData, folder: Path, device: str, limit: float
) -> "Callable[[Trial], float]":
    """Return the function that Optuna minimises: trial -> loss by the task's metric, the mean over the splits.

    Poor trials are stopped by the MAE of the residual, whatever the metric is: learners report that after each epoch, and it is
    compared with that of other trials at the same epoch of the same split only. So are those that diverge, and the one at which
    the limit, CPU seconds of all trials, is reached.
    """
    rows = np.flatnonzero(load_folds(data, config.folds) != OUTER_FOLD)
    counts, e_form = data.train.crystals.element_counts[rows], data.train.targets[rows]
    inner = assign_folds(e_form, counts, config.folds)
    base = base_energies(config.target, data.train.crystals, data.train_key, data.cache)[rows]
    word2vec = MAT2VEC if MAT2VEC.is_file() else None

    def objective(trial: "Trial") -> float:
        import optuna

        trained = suggested(trial, config, trials.wide).trained
        untrained = make_learner(trained, config.seed, device, word2vec)
        inputs = untrained.prepare_inputs(data.train.crystals, data.train_key, data.cache, 1)
        n_reports = 0

        def loss(split: int) -> float:
            train, valid = np.flatnonzero(inner != split), np.flatnonzero(inner == split)
            normalizer = TargetNormalizer.fit(counts[train], e_form[train], config.target, base[train])
            residual = normalizer.normalize(counts, e_form, base)
            learner = make_learner(trained, config.seed, device, word2vec)

            def report(error: float) -> None:
                nonlocal n_reports
                n_reports += 1
                trial.report(normalizer.scale * error, n_reports)
                if trial.should_prune() or before + time.process_time() - start >= limit:
                    raise optuna.TrialPruned

            learner.fit(inputs[rows[train]], residual[train], place, Watched(inputs[rows[valid]], residual[valid], report))
            residuals = learner.predict_members(inputs[rows[valid]])
            pred, _ = normalizer.mean_and_spread(counts[valid], residuals, base[valid])
            return METRICS[data.task.metric].loss(e_form[valid], pred)

        place = folder / f"trial_{trial.number}"
        place.mkdir(parents=True, exist_ok=True)
        before, start = seconds_used(trial.study), time.process_time()
        try:
            return float(np.mean([loss(split) for split in range(trials.n_splits)]))
        except DivergedError as error:
            raise optuna.TrialPruned from error
        finally:
            trial.set_user_attr(CPU_SECONDS, time.process_time() - start)
            shutil.rmtree(place)

    return objective


def suggested(trial: "Trial", config: Any, wide: bool = False) -> Any:
    """Return the config with a trial's values; a range is read after the knobs before it are set, for it may depend on them."""
    found = config
    for path in ranges(config, wide):
        found = with_knobs(found, {path: _suggest(trial, path, ranges(found, wide)[path])})
    return found


def _suggest(trial: "Trial", path: str, choices: Range) -> Any:
    if is_bounds(choices):
        return trial.suggest_float(path, *choices, log=True)
    return labelled(choices, trial.suggest_categorical(path, [label(choice) for choice in choices]))
