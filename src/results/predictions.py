"""Predictions of finished experiments: from outputs/, from the published results in exp/, or from the tables of sealed ones."""

import functools
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from src.config.catalogue import sealed, sealed_remedy
from src.data.task import Task
from src.paths import DEFAULT_TASK, EXPERIMENTS, SEALED, experiment_name, shown
from src.results.folder import METRICS_KINDS, NO_TEST, OOF_COLUMNS, RunDir, check_score
from src.storage import names
from src.storage.files import RESULTS, published_in, read_id_table, read_json

MODELS = "models"  # folder of the published models


@dataclass(frozen=True)
class Predictions:
    """Predictions and metrics of a finished experiment, and the folder they were read from.

    oof: OOF_COLUMNS. test: id, fold_0 ..., e_form_pred; it has no rows if the task has no test table.
    `spread` and `spread_0` ... are added by ensembles and by networks with several members: the standard deviation over these.
    """

    name: str
    source: Path
    oof: pd.DataFrame
    test: pd.DataFrame
    metrics: dict

    @property
    def models(self) -> RunDir:
        """The folder of the fold models: that of the run, or the published one. Raises ValueError if the experiment is sealed."""
        if self.source == SEALED and (kept := sealed(self.name)):
            raise ValueError(sealed_remedy(self.name, kept["commit"]))
        return RunDir(self.source / MODELS if published_in(self.source) else self.source)

    @property
    def of_models(self) -> "Predictions":
        """The same with what the published models predict out of fold: they may come from another machine than the rows."""
        path = self.models.path / "oof.csv.gz"
        return replace(self, oof=read_id_table(path, OOF_COLUMNS)) if path.is_file() else self


def is_default(task: Task) -> bool:
    """Return whether a task is the one in the repository, whose results are published at the top of exp/expNNN/results."""
    return task.name == DEFAULT_TASK.name


def published_folder(name: str, task: Task) -> Path:
    """Return the folder of the published results of an experiment: exp/expNNN/results, for other tasks a folder in it."""
    results = EXPERIMENTS / name / RESULTS
    return results if is_default(task) else results / task.label


def find_predictions(number: str, task: Task, outputs: Path) -> Predictions:
    """Return the predictions of a finished experiment: from outputs/ if it is finished there, else the published ones.

    Raises FileNotFoundError if it has none, ValueError if they were damaged.
    """
    name = experiment_name(number)
    run, published = task.runs(outputs) / name, published_folder(name, task)
    if (run / names.METRICS_FILE).is_file():
        source, ending = run, ".csv"
    elif (published / names.METRICS_FILE).is_file():
        source, ending = published, ".csv.gz"
    elif is_default(task) and name in sealed_metrics() and sealed(name):
        source, ending = SEALED, ".csv.gz"
    else:
        raise FileNotFoundError(_missing(name, task, run))
    if source == SEALED:
        metrics, oof, test = sealed_metrics()[name], _sealed(f"oof{ending}", name, 3), _sealed(f"test{ending}", name, 1)
    else:
        metrics = read_json(source / names.METRICS_FILE, METRICS_KINDS)
        oof = read_id_table(source / f"oof{ending}", OOF_COLUMNS)
        no_test = pd.DataFrame(columns=["id", *(f"fold_{k}" for k in range(len(metrics["fold_maes"]))), "e_form_pred"])
        test = no_test if metrics.get(NO_TEST) else read_id_table(source / f"test{ending}", ["id", "e_form_pred"])
    check_score(source / f"oof{ending}", oof, metrics["oof_mae"])
    return Predictions(name, source, oof, test, metrics)


def find_parts(numbers: Sequence[str], task: Task, outputs: Path) -> list[Predictions]:
    """Return the predictions of the parts of a blend; raises as `find_predictions`, and ValueError if one is named twice."""
    parts = [find_predictions(number, task, outputs) for number in numbers]
    names_of_parts = [part.name for part in parts]
    if twice := [name for i, name in enumerate(names_of_parts) if name in names_of_parts[:i]]:
        raise ValueError(f"{twice[0]} is named twice: name each experiment once, and give it more weight with --weights")
    return parts


def _missing(name: str, task: Task, run: Path) -> str:
    """Return why an experiment has no predictions, and what to do."""
    if kept := sealed(name):
        return f"{name} has no predictions on task {task.label}; {sealed_remedy(name, kept['commit'])}"
    if not (EXPERIMENTS / name).is_dir():
        return f"there is no experiment {name} in {EXPERIMENTS}"
    done = len(RunDir(run).finished)
    return f"{name} is not finished on task {task.label} ({done} folds are); run: {train_command(name, task)}"


def train_command(name: str, task: Task) -> str:
    """Return the command that trains an experiment on a task."""
    data = "" if is_default(task) else f" --data {shlex.quote(str(shown(task.folder)))}"
    target = f" --target {shlex.quote(task.target_column)}" if len(task.targets) > 1 else ""
    return f"python exp/{name}/train.py{data}{target}"


@functools.cache
def sealed_metrics() -> dict[str, dict]:
    """Return the published metrics of sealed experiments, by name; those whose predictions were not published have none."""
    return read_json(SEALED / names.METRICS_FILE, {})


def _sealed(file: str, name: str, n_shared: int) -> pd.DataFrame:
    """Return the columns that all sealed experiments share and those of this one, without its name, as published."""
    table = _sealed_table(file)
    own = table.filter(regex=f"^{name}_")
    return table[OOF_COLUMNS[:n_shared]].join(own.rename(columns=lambda column: column.removeprefix(f"{name}_")))


@functools.cache
def _sealed_table(file: str) -> pd.DataFrame:
    return read_id_table(SEALED / file, OOF_COLUMNS[:1])


def same_data(key: str, other: str) -> bool:
    """Return whether two runs may have used the same data; the first experiments' keys, with a hyphen, do not tell."""
    return key == other or "-" in key + other
