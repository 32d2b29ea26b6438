"""Published results, checked by training one fold again."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from src.data.task import read_task
from src.paths import DEFAULT_TASK, EXPERIMENTS, experiment_name
from src.results.folder import OOF_COLUMNS, RunDir, read_csv
from src.results.predictions import published_folder
from src.runs import train

SAME_MACHINE = 1e-5  # eV/atom, largest difference of a row
OTHER_MACHINE = 0.10  # relative difference of the fold's MAE


def verify(number: str, fold: int) -> tuple[bool, str]:
    """Train a fold of a published experiment in a temporary folder; return whether it supports the published rows, and why."""
    name = experiment_name(number)
    path = published_folder(name, read_task(DEFAULT_TASK)) / "oof.csv.gz"
    if not path.is_file():
        raise FileNotFoundError(f"{name} is not published ({path} is missing)")
    published = read_csv(path, OOF_COLUMNS)
    with tempfile.TemporaryDirectory() as outputs:
        train.main(EXPERIMENTS / name, ["--folds", str(fold), "--outputs", outputs])
        retrained = RunDir(Path(outputs) / DEFAULT_TASK.name / name).valid(fold)
    agrees, reason = verdict(published[published["fold"] == fold], retrained)
    return agrees, f"{name} fold {fold}: {reason}"


def verdict(published: pd.DataFrame, retrained: pd.DataFrame) -> tuple[bool, str]:
    """Return whether the retrained rows of a fold support the published ones, and why."""
    pair = published.merge(retrained, on="id", suffixes=("", "_new"), validate="one_to_one")
    if len(pair) != len(published) or len(pair) != len(retrained):
        return False, f"the fold has {len(retrained)} crystals, {len(published)} are published"
    largest = float(np.abs(pair["e_form_pred"] - pair["e_form_pred_new"]).max())
    old, new = (float(np.abs(pair["e_form"] - pair[column]).mean()) for column in ("e_form_pred", "e_form_pred_new"))
    figures = f"largest difference {largest:.1e} eV/atom; MAE {new:.4f}, published {old:.4f}"
    if largest <= SAME_MACHINE:
        return True, f"same rows: {figures}"
    if abs(new - old) <= OTHER_MACHINE * old:
        return True, f"same score within {OTHER_MACHINE:.0%}, as on another type of machine: {figures}"
    return False, f"DIFFERENT: {figures}"
