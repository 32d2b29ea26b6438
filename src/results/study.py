"""Results of a finished study: variants of one experiment, paired."""

from pathlib import Path

import pandas as pd

from src.data.task import MetricName
from src.results.folder import OOF_COLUMNS, read_csv
from src.results.metrics import score_difference, scores
from src.storage.files import write_csv

PREDICTIONS, TABLE, PICTURE = "predictions.csv", "table.csv", "table.png"


def study_table(predictions: pd.DataFrame, variants: list[str], metric: MetricName = "mae") -> pd.DataFrame:
    """Return one row per variant: MAE, RMSE and the task's metric, and the paired difference of the metric to the first variant.

    delta, low, high: that difference and its 95% interval over crystals.
    """
    e_form, first = predictions["e_form"].to_numpy(), predictions[variants[0]].to_numpy()
    rows = []
    for variant in variants:
        pred = predictions[variant].to_numpy()
        found = scores(e_form, pred, metric)
        row = {"variant": variant} | {name: found[name] for name in dict.fromkeys(("mae", "rmse", metric))}
        rows.append(row | dict(zip(("delta", "low", "high"), score_difference(metric, e_form, first, pred), strict=True)))
    return pd.DataFrame(rows)


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
