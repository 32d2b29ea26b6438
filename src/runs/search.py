"""Search over declared ranges with Optuna: each trial trains on a part of fold 0's training rows and is judged on the rest."""

import itertools
import shutil
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

from src.config import ExperimentConfig
from src.config.catalogue import config_source, load_config
from src.data.load import TaskData, load_task_data
from src.data.task import MetricName, Task
from src.learners.device import check_device
from src.learners.learner import DivergedError
from src.paths import EXPERIMENTS, experiment_name, shown
from src.results.metrics import METRICS, judge_of
from src.results.publish import TRIALS
from src.runs.experiment import check_rows, check_task
from src.runs.inner import OUTER_FOLD, InnerSplits
from src.runs.ranges import label, labelled, ranges, suggested, with_knobs
from src.storage.files import write_atomic, write_csv

if TYPE_CHECKING:
    from optuna import Study, Trial

MAX_WIDTH = 120  # characters of a line of a proposal


@dataclass(frozen=True)
class Search:
    """The limits of a search, whichever is reached first, and the form of its trials; each form has its own study.

    n_trials: in addition to those of the study. seconds: after which no trial starts. None: no limit.
    n_epochs: of each training; None: the experiment's. n_splits: trainings of a trial, each judged on other crystals; their mean
    judges the trial.
    """

    n_trials: int | None = None
    seconds: float | None = None
    n_epochs: int | None = None
    n_splits: int = 1

    def __post_init__(self) -> None:
        if self.n_trials is None and self.seconds is None:
            raise ValueError("tuning: say how many trials (--trials) or how many seconds (--seconds)")
        if any(value is not None and value <= 0 for value in (self.n_trials, self.seconds)):
            raise ValueError(f"tuning: {self.n_trials} trials, {self.seconds} seconds: must be positive")

    @property
    def suffix(self) -> str:
        """Suffix of the name of its study."""
        epochs = "" if self.n_epochs is None else f"-{self.n_epochs}-epochs"
        return epochs + (f"-{self.n_splits}-splits" if self.n_splits > 1 else "")

    def shortened(self, config: ExperimentConfig) -> ExperimentConfig:
        """Return the experiment with the trials' epochs. Raises ValueError if its learner has none, or for too many splits."""
        if not 1 <= self.n_splits < config.folds.n_folds:
            raise ValueError(f"tuning: {self.n_splits} splits: must be 1 to {config.folds.n_folds - 1}, one less than the folds")
        if self.n_epochs is None:
            return config
        if not hasattr(config.learner, "training"):
            raise ValueError(f"tuning: {type(config.learner).__name__} has no epochs")
        return with_knobs(config, {"learner.training.n_epochs": self.n_epochs})


def search(number: str, task: Task, outputs: Path, plan: Search, device: str, skip_bad_rows: bool) -> str:
    """Add trials to the study of an experiment in exp/, write the proposal for a new one, and return a summary.

    The proposal keeps the experiment's epochs, whatever those of the trials are.
    """
    check_device(device)
    name = experiment_name(number)
    config = load_config(EXPERIMENTS / name)
    ranges(config)
    plan.shortened(config)
    check_task(config, task)
    folder = task.runs(outputs) / "tune" / name
    study = open_study(name + plan.suffix, folder, task.metric)
    data = load_task_data(task.folder, outputs, skip_bad_rows, n_jobs=1, target=task.target_column)
    check_rows(config, data)
    tune(config, data, study, folder, plan, device)
    # neither stopped nor interrupted: a stopped trial has the value of its last report
    finished = [trial for trial in study.trials if trial.state.name == "COMPLETE"]
    if not finished:
        raise ValueError(f"tuning: none of {len(study.trials)} trials of {name} was finished; a larger budget is needed")
    write_atomic(folder / "proposal.py", proposal(config, name, study, data.task, plan).encode())
    write_csv(folder / TRIALS, study.trials_dataframe(attrs=("number", "state", "value", "duration", "params")))
    return (
        f"{len(study.trials)} trials, {len(finished)} to the end\n"
        f"best {score_text(study.best_value, data.task)}: {study.best_params}\n"
        f"{shown(folder / 'proposal.py')}: the settings as the config of a new experiment; all trials are in {TRIALS} beside it"
    )


def open_study(name: str, folder: Path, metric: MetricName) -> "Study":
    """Return the study of an experiment and a metric, which continues where it stopped. Raises ValueError without Optuna.

    The sampler's seed is the number of trials, so that a process that continues or joins a study does not repeat draws.
    """
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise ValueError('optuna is not installed; pip install -e ".[extra]"') from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        study_name=name if metric == "mae" else f"{name}-{metric}",
        storage=f"sqlite:///{(folder / 'study.db').resolve()}",
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=5),
    )
    study.sampler = optuna.samplers.TPESampler(seed=len(study.trials), constant_liar=True)
    return study


def tune(config: ExperimentConfig, data: TaskData, study: "Study", folder: Path, plan: Search, device: str) -> None:
    """Add the trials of a search; the first trial of a study has the settings of the experiment.

    Optuna minimises the loss by `judge_of` the task's metric, the mean over the splits. Poor trials are stopped by the error
    that learners report after each epoch, MAE or log loss, whatever the metric is; it is compared with that of other trials at
    the same epoch of the same split.
    """
    if not study.trials:
        own = {path: label(attrgetter(path)(config)) for path in ranges(config)}
        study.enqueue_trial(own)
    shortened, splits = plan.shortened(config), InnerSplits.of(data, config.folds, config.folds)

    def objective(trial: "Trial") -> float:
        from optuna import TrialPruned

        own, epochs = suggested(trial, shortened), itertools.count(1)
        place = folder / f"trial_{trial.number}"

        def report(error: float) -> None:
            trial.report(error, next(epochs))
            if trial.should_prune():
                raise TrialPruned

        def loss(split: int) -> float:
            pred = splits.predict(own, split, place, device, report)
            return METRICS[judge_of(data.task.metric)].loss(splits.target(split), pred)

        try:
            return float(np.mean([loss(split) for split in range(plan.n_splits)]))
        finally:
            shutil.rmtree(place, ignore_errors=True)

    limits = {"n_trials": plan.n_trials, "timeout": plan.seconds}
    study.optimize(objective, **limits, catch=DivergedError, show_progress_bar=plan.n_trials is not None)


def score_text(loss: float, task: Task) -> str:
    """Return the score of a trial for display. loss: what Optuna minimises."""
    metric = METRICS[judge_of(task.metric)]
    return f"{metric.text} {-loss if metric.larger_is_better else loss:.4f} {task.unit if metric.has_unit else ''}".rstrip()


def proposal(config: ExperimentConfig, name: str, study: "Study", task: Task, plan: Search) -> str:
    """Return the config.py of a new experiment with the settings of the best trial."""
    choices = ranges(config)
    best = {path: labelled(choices[path], value) for path, value in study.best_trial.params.items()}
    changed = {path: value for path, value in best.items() if value != attrgetter(path)(config)}
    first = study.trials[0]
    own = f", {score_text(first.value, task)} with the settings of {name}" if first.state.name == "COMPLETE" else ""
    where = "a split" if plan.n_splits == 1 else f"{plan.n_splits} splits"
    what = ", ".join(path.removeprefix("learner.") for path in changed) or "nothing: no trial was better"
    found = f"{score_text(study.best_value, task)} on {where} inside the training folds of fold {OUTER_FOLD}{own}."
    text = "\n".join(fill(line, MAX_WIDTH) for line in (found, f"Parent: {name}. Changed: {what}."))
    question = f"What do the settings found by a search over {len(study.trials)} trials bring?"
    return config_source(f"{question}\n\n{text}", with_knobs(config, changed))
