"""Results of a finished study: variants of one experiment, paired."""

from pathlib import Path

import numpy as np
import pandas as pd

from src.results.folder import OOF_COLUMNS, read_csv
from src.results.metrics import bootstrap_interval, scores
from src.storage.files import write_csv

PREDICTIONS, TABLE, PICTURE = "predictions.csv", "table.csv", "table.png"


def study_table(predictions: pd.DataFrame, variants: list[str]) -> pd.DataFrame:
    """Return one row per variant: errors, and the paired difference of absolute errors to the first with its 95% interval."""
    e_form = predictions["e_form"].to_numpy()
    errors = {variant: np.abs(predictions[variant].to_numpy() - e_form) for variant in variants}
    rows = []
    for variant in variants:
        difference = errors[variant] - errors[variants[0]]
        low, high = bootstrap_interval(difference)
        found = scores(e_form, predictions[variant].to_numpy())
        rows.append((variant, found["mae"], found["rmse"], difference.mean(), low, high))
    return pd.DataFrame(rows, columns=["variant", "mae", "rmse", "delta", "low", "high"])


def is_finished_study(study: Path) -> bool:
    """Return whether the folder has the table that a study writes when all its variants are trained."""
    return (study / TABLE).is_file()


def publish_study(study: Path, folder: Path) -> None:
    """Copy a finished study's predictions, table and picture to `folder`."""
    for file in (PREDICTIONS, TABLE, PICTURE):
        if not (study / file).is_file():
            raise FileNotFoundError(f"{study / file} is missing: the study is not finished")
    write_csv(folder / f"{PREDICTIONS}.gz", read_csv(study / PREDICTIONS, OOF_COLUMNS[:3]))
    write_csv(folder / TABLE, pd.read_csv(study / TABLE, float_precision="round_trip"))
    (folder / PICTURE).write_bytes((study / PICTURE).read_bytes())
