"""A study: variants of one experiment on a few folds, one table and one picture, by the task's metric."""

import logging
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from src.config import ExperimentConfig, GnnConfig, StudyConfig
from src.data.load import TaskData
from src.data.task import MetricName
from src.results.folder import OOF_COLUMNS, RunDir
from src.results.metrics import METRICS
from src.results.study import PICTURE, PREDICTIONS, TABLE, study_table
from src.runs.experiment import run_experiment
from src.runs.launch import Launcher
from src.storage.files import write_csv

log = logging.getLogger(__name__)


def run_study(config: StudyConfig, name: str, data: TaskData, folds: list[int] | None, launcher: Launcher, device: str) -> None:
    """Train what is not finished, then write predictions, table and picture to the folder of the study.

    folds: some of those of the study; None: all of them. Each variant is a run in a folder of its own, like any experiment.
    """
    foreign = sorted(set(folds or ()) - set(config.folds))
    if foreign:
        raise ValueError(f"{name} has no fold {foreign[0]}; its folds are {', '.join(map(str, config.folds))}")
    study = data.folder / name
    for variant, experiment in config.variants:
        run_experiment(experiment, f"{name}/{variant}", data, list(config.folds if folds is None else folds), launcher, device)
    runs = {variant: RunDir(study / variant) for variant, _ in config.variants}
    missing = [f"{v} fold {k}" for v, run in runs.items() for k in config.folds if not run.is_finished(k)]
    if missing:
        log.info("%s: still to do: %s", name, ", ".join(missing))
        return
    predictions = _join(runs, config.folds)
    metric = data.task.metric
    table = study_table(predictions, list(runs), metric)
    finished = ([runs[v].fold_metrics(k) or {} for k in config.folds] for v in table["variant"])
    table["cpu_seconds"] = [sum(metrics["cpu_seconds"] for metrics in folds) for folds in finished]
    if any(experiment.folds.n_train for _, experiment in config.variants):
        table["learner"] = _learners(config)
        table["n_train"] = [np.mean([(runs[v].fold_metrics(k) or {})["n_train"] for k in config.folds]) for v in table["variant"]]
    write_csv(study / PREDICTIONS, predictions)
    write_csv(study / TABLE, table)
    _draw(table, metric, data.task.unit, study / PICTURE)
    log.info("%s", table.round(4).to_string(index=False))


def _learners(config: StudyConfig) -> list[str]:
    """Return the name of each variant's learner: variants that differ in the number of training crystals alone share it.

    It is the class of the network or of another learner, such as Nequip or Gbdt; if there are several of it, the first variant.
    """
    alike = [replace(experiment, folds=replace(experiment.folds, n_train=None)) for _, experiment in config.variants]
    names, n_of_kind = [name for name, _ in config.variants], Counter(map(_kind, set(alike)))
    return [_kind(one) if n_of_kind[_kind(one)] == 1 else names[alike.index(one)] for one in alike]


def _kind(experiment: ExperimentConfig) -> str:
    learner = experiment.trained
    return type(learner.network if isinstance(learner, GnnConfig) else learner).__name__.removesuffix("Config")


def _draw(table: pd.DataFrame, metric: MetricName, unit: str, path: Path) -> None:
    """Draw the scores of the variants or, if they differ in the number of training crystals, learning curves."""
    from src.report import curves, figures  # here, so that nothing else waits for matplotlib

    label = METRICS[metric].label(unit)
    if "n_train" in table:
        figure = curves.training_sizes(table, metric, label, METRICS[metric].larger_is_better)
    else:
        figure = figures.study(table, metric, label, METRICS[metric].larger_is_better)
    figures.save(figure, path)


def _join(runs: dict[str, RunDir], folds: tuple[int, ...]) -> pd.DataFrame:
    """Return columns id, fold, e_form, and one of predictions for each variant."""
    joined = pd.DataFrame()
    for variant, run in runs.items():
        parts = pd.concat([run.valid(k) for k in folds], ignore_index=True)
        if joined.empty:
            joined = parts[OOF_COLUMNS[:3]].copy()
        elif not joined[OOF_COLUMNS[:3]].equals(parts[OOF_COLUMNS[:3]]):
            raise ValueError(f"{run.path}: its folds differ from those of the other variants")
        joined[variant] = parts["e_form_pred"]
    return joined
