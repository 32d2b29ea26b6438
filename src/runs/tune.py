"""Search over declared ranges, on splits inside the training folds of an experiment, with Optuna."""

import math
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from src.config import ExperimentConfig
from src.config.load import load_config
from src.data.load import TaskData, load_task_data
from src.data.target import check_domain
from src.data.task import MetricName, Task
from src.learners.device import check_device
from src.paths import EXPERIMENTS, experiment_name, shown
from src.results.metrics import check_targets
from src.results.publish import KNOBS, PICTURE, TRIALS
from src.runs.importance import importances
from src.runs.needs import check_structures
from src.runs.proposal import proposal, score_text
from src.runs.ranges import label, ranges
from src.runs.trial import CPU_SECONDS, Trials, is_finished, make_objective, seconds_used
from src.storage.files import write_atomic, write_csv

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial


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


def search(number: str, task: Task, outputs: Path, trials: Trials, budget: Budget, device: str) -> str:
    """Add trials to the study of an experiment in exp/, write the proposal for a new one, and return a summary.

    The proposal keeps the experiment's epochs, whatever those of the trials are.
    """
    check_device(device)
    name = experiment_name(number)
    config: Any = load_config(EXPERIMENTS / name)
    ranges(config, trials.wide)
    trials.config(config)
    check_structures(config, task)
    folder = task.runs(outputs) / "tune" / name
    study = open_study(name + trials.suffix, folder, task.metric)
    data = load_task_data(task.folder, outputs, skip_bad_rows=False, n_jobs=1, target=task.target_column)
    rows = data.task.path("train"), data.train.ids.tolist(), data.train.targets
    check_targets(data.task.metric, *rows)
    check_domain(config.target, *rows)
    tune(config, data, study, folder, trials, budget, device)
    if not any(is_finished(trial) for trial in study.trials):
        raise ValueError(f"tuning: none of {len(study.trials)} trials of {name} was finished; a larger budget is needed")
    write_atomic(folder / "proposal.py", proposal(config, name, study, data.task, trials).encode())
    write_tables(study, folder)
    n_finished = sum(map(is_finished, study.trials))
    return (
        f"{len(study.trials)} trials, {n_finished} to the end, {seconds_used(study):.0f} CPU s of training\n"
        f"best {score_text(study.best_value, data.task)}: {study.best_params}\n"
        f"{shown(folder / 'proposal.py')}: the settings as the config of a new experiment; all trials are in {TRIALS} beside it"
    )


def write_tables(study: "Study", folder: Path) -> None:
    """Write all trials and, if enough have ended, the importance of each knob as a table and as a picture."""
    write_csv(folder / TRIALS, trials_table(study))
    for name in (KNOBS, PICTURE):
        (folder / name).unlink(missing_ok=True)  # it may be of another study of the experiment
    if (table := importances(study)) is not None:
        from src.report import figures  # here, so that nothing else waits for matplotlib

        write_csv(folder / KNOBS, table)
        figures.save(figures.importance(table), folder / PICTURE)


def open_study(name: str, folder: Path, metric: MetricName) -> "Study":
    """Return the study of an experiment, which continues where it stopped. Raises ValueError if Optuna is not installed.

    Trials that were judged by another metric are in a study of their own. The sampler's seed is the number of trials: one that
    goes on with a study, or joins it from another process, does not draw what was drawn before.
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


def trials_table(study: "Study") -> pd.DataFrame:
    """Return a row for each trial: its state, what Optuna minimises (of stopped trials, the last report), CPU seconds, knobs."""
    rows = []
    for trial in study.trials:
        about = {"trial": trial.number, "state": trial.state.name.lower(), "loss": trial.value}
        rows.append(about | {CPU_SECONDS: trial.user_attrs.get(CPU_SECONDS)} | trial.params)
    return pd.DataFrame(rows)


def tune(
    config: ExperimentConfig, data: TaskData, study: "Study", folder: Path, trials: Trials, budget: Budget, device: str
) -> None:
    """Add the trials of a budget; the first trial of a study has the settings of the experiment."""
    if not study.trials:
        own = {path: label(attrgetter(path)(config)) for path in ranges(config, trials.wide)}
        study.enqueue_trial(own, skip_if_exists=True)
    limit = math.inf if budget.seconds is None else budget.seconds
    if seconds_used(study) >= limit:
        return

    def stop_if_used(study: "Study", _: "FrozenTrial") -> None:
        if seconds_used(study) >= limit:
            study.stop()

    objective = make_objective(trials.config(config), trials, data, folder, device, limit)
    bar = budget.n_trials is not None
    study.optimize(objective, n_trials=budget.n_trials, callbacks=[stop_if_used], show_progress_bar=bar)
