"""Test labels, which nothing else in src reads."""

from pathlib import Path

import numpy as np
import pandas as pd

from src.data.rows import number, read_rows
from src.data.task import Task
from src.paths import shown
from src.results.metrics import METRICS, check_targets, scores


def read_labels(task: Task) -> pd.Series:
    """Return the test labels, id -> target. Raises ValueError if the task's metric is not defined for one of them."""
    path = task.path("test_labels")
    labels = _read_numbers(path, task.id_column, task.target_column)
    check_targets(task.metric, path, list(labels.index), labels.to_numpy())
    return labels


def score_submission(path: Path, task: Task) -> str:
    """Return the test scores of a submission as text."""
    labels, submitted = read_labels(task), _read_numbers(path, task.id_column, task.target_column)
    if set(labels.index) != set(submitted.index):
        raise ValueError(f"{path}: its ids are not those of the test labels; write it again with submit.py")
    found = scores(labels.to_numpy(), submitted[labels.index].to_numpy(), task.metric)
    own = "" if task.metric in ("mae", "rmse") else f"{METRICS[task.metric].text} {found[task.metric]:.4f}, "
    return f"{shown(path)}: test {own}MAE {found['mae']:.4f}, RMSE {found['rmse']:.4f} {task.unit}, {len(labels)} crystals"


def _read_numbers(path: Path, id_column: str, column: str) -> pd.Series:
    """Return id -> finite number from a CSV file; raise ValueError if an id is duplicated or a number is not finite."""
    rows = pd.DataFrame(read_rows(path))
    if not {id_column, column} <= set(rows):
        raise ValueError(f"{path}: expected the columns {id_column!r} and {column!r}, found {list(rows)}")
    ids, numbers = rows[id_column], rows[column].map(number)
    bad = ids[~np.isfinite(numbers) | ids.duplicated()]
    if len(bad):
        raise ValueError(f"{path}: {bad.iloc[0]!r} is duplicated, or its {column!r} is not finite; correct it")
    return pd.Series(numbers.to_numpy(), index=pd.Index(ids, name=id_column), name=column)
