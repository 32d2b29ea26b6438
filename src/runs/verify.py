"""Published results, checked by training one fold again."""

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from src.config.load import load_config
from src.data.load import load_task_data
from src.data.task import Task
from src.features.columns import data_key
from src.paths import EXPERIMENTS, experiment_name, shown
from src.results.folder import OOF_COLUMNS, RunDir, read_csv
from src.results.predictions import published_folder, same_data
from src.runs import train
from src.storage.files import read_json
from src.storage.names import METRICS
from src.storage.remedy import remedy

SAME_MACHINE = 1e-5  # largest difference of a row, in units of the spread of targets (about 1 eV/atom)
OTHER_MACHINE = 0.10  # relative difference of the fold's MAE


def verify(number: str, fold: int, task: Task) -> tuple[bool, str]:
    """Train a fold of a published experiment in a temporary folder; return whether it supports the published rows, and why.

    Raises ValueError if the task's files are not those of the published run.
    """
    name = experiment_name(number)
    folder = published_folder(name, task)
    path = folder / "oof.csv.gz"
    if not path.is_file():
        raise FileNotFoundError(f"{name} is not published on task {task.label} ({path} is missing)")
    published = read_csv(path, OOF_COLUMNS)
    metrics = read_json(folder / METRICS, {"data": str}, remedy(folder / METRICS))
    skip = bool(metrics.get("rows_left_out"))  # the first experiments do not say
    with tempfile.TemporaryDirectory() as temporary:
        outputs = Path(temporary)
        data = load_task_data(task.folder, outputs, skip, os.cpu_count() or 1, task.target_column)
        config: Any = load_config(EXPERIMENTS / name)  # no study is published with out-of-fold rows
        if not same_data(data_key(data.key, config.learner.feature_groups, task), metrics["data"]):
            raise ValueError(f"{shown(folder)} was trained on other data than the tables in {shown(task.folder)}")
        where = ["--data", str(task.folder), "--target", task.target_column, "--outputs", temporary]
        train.main(EXPERIMENTS / name, [*where, "--folds", str(fold), *(["--skip-bad-rows"] if skip else [])])
        retrained = RunDir(data.folder / name).valid(fold)
    agrees, reason = verdict(published[published["fold"] == fold], retrained, task.unit)
    return agrees, f"{name} on {task.label}, fold {fold}: {reason}"


def verdict(published: pd.DataFrame, retrained: pd.DataFrame, unit: str = "eV/atom") -> tuple[bool, str]:
    """Return whether the retrained rows of a fold support the published ones, and why."""
    pair = published.merge(retrained, on="id", suffixes=("", "_new"), validate="one_to_one")
    if len(pair) != len(published) or len(pair) != len(retrained):
        return False, f"the fold has {len(retrained)} crystals, {len(published)} are published"
    largest = float(np.abs(pair["e_form_pred"] - pair["e_form_pred_new"]).max())
    old, new = (float(np.abs(pair["e_form"] - pair[column]).mean()) for column in ("e_form_pred", "e_form_pred_new"))
    figures = f"largest difference {largest:.1e} {unit}; MAE {new:.4f}, published {old:.4f}"
    if largest <= SAME_MACHINE * max(1.0, float(pair["e_form"].std())):
        return True, f"same rows: {figures}"
    if abs(new - old) <= OTHER_MACHINE * old:
        return True, f"same score within {OTHER_MACHINE:.0%}, as on another type of machine: {figures}"
    return False, f"DIFFERENT: {figures}"
