"""Predictions of finished experiments, read from outputs/ or from the published results in exp/."""

import shlex
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from src.config.catalogue import sealed, sealed_remedy
from src.data.task import Task
from src.paths import DEFAULT_TASK, EXPERIMENTS, OUTPUTS, SEALED, experiment_name, shown
from src.results.folder import METRICS, NO_TEST, OOF_COLUMNS, RunDir, check_score, read_csv
from src.storage import names
from src.storage.files import RESULTS, published_in, read_json

MODELS = "models"  # folder of the published models


@dataclass(frozen=True)
class Predictions:
    """Predictions and metrics of a finished experiment, and the folder they were read from.

    oof: columns id, fold, e_form, e_form_pred. test: id, fold_0 ..., e_form_pred; it has no rows if the task has no test table.
    `spread` and `spread_0` ... are added by an ensemble and by a network with several members: the standard deviation over them.
    """

    name: str
    source: Path
    oof: pd.DataFrame
    test: pd.DataFrame
    metrics: dict

    @property
    def models(self) -> RunDir:
        """The folder of the fold models: that of the run, or the published one. Raises ValueError if the experiment is sealed."""
        if self.source == SEALED:
            raise ValueError(_sealed(self.name))
        return RunDir(self.source / MODELS if published_in(self.source) else self.source)


def is_default(task: Task) -> bool:
    """Return whether a task is the one in the repository, whose results are published at the top of exp/expNNN/results."""
    return task.name == DEFAULT_TASK.name


def published_folder(name: str, task: Task) -> Path:
    """Return the folder of the published results of an experiment: exp/expNNN/results, for other tasks a folder in it."""
    results = EXPERIMENTS / name / RESULTS
    return results if is_default(task) else results / task.label


def find_predictions(number: str, task: Task, outputs: Path = OUTPUTS) -> Predictions:
    """Return the predictions of a finished experiment: from outputs/ if it is finished there, else the published ones.

    Raises FileNotFoundError if it has none, ValueError if they were damaged.
    """
    name = experiment_name(number)
    run, published = task.runs(outputs) / name, published_folder(name, task)
    if (run / names.METRICS).is_file():
        source, ending = run, ".csv"
    elif (published / names.METRICS).is_file():
        source, ending = published, ".csv.gz"
    elif sealed(name):
        return _find_sealed(name, task)
    elif (EXPERIMENTS / name).is_dir():
        done = len(list(run.glob(f"fold_*/{names.METRICS}")))
        raise FileNotFoundError(
            f"{name} is not finished on task {task.label} ({done} folds are); run: python exp/{name}/train.py{_options(task)}"
        )
    else:
        raise FileNotFoundError(f"there is no experiment {name} in {EXPERIMENTS}")
    metrics = read_json(source / names.METRICS, METRICS)
    oof = read_csv(source / f"oof{ending}", OOF_COLUMNS)
    check_score(source / f"oof{ending}", oof, metrics["oof_mae"])
    if metrics.get(NO_TEST):
        test = pd.DataFrame(columns=["id", *(f"fold_{k}" for k in range(len(metrics["fold_maes"]))), "e_form_pred"])
    else:
        test = read_csv(source / f"test{ending}", ["id", "e_form_pred"])
    return Predictions(name, source, oof, test, metrics)


def _find_sealed(name: str, task: Task) -> Predictions:
    from src.results.sealed import OOF, sealed_metrics, sealed_predictions  # living experiments do without

    metrics = sealed_metrics().get(name) if is_default(task) else None
    if metrics is None:
        raise FileNotFoundError(f"{name} has no predictions on task {task.label}; {_sealed(name)}")
    oof, test = sealed_predictions(name)
    check_score(SEALED / OOF, oof, metrics["oof_mae"])
    return Predictions(name, SEALED, oof, test, metrics)


def _sealed(name: str) -> str:
    kept = sealed(name)
    return sealed_remedy(name, kept["commit"]) if kept else f"{name} is sealed"


def same_data(key: str, other: str) -> bool:
    """Return whether two runs may be of the same data; keys of the first experiments, which have a hyphen, tell nothing."""
    return key == other or "-" in key + other


def _options(task: Task) -> str:
    """Return the options of a command that works on a task: nothing for the default one."""
    data = "" if is_default(task) else f" --data {shlex.quote(str(shown(task.folder)))}"
    return data if len(task.targets) == 1 else f"{data} --target {shlex.quote(task.target_column)}"
