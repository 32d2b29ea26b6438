"""The one reader of test labels; compare, the ledger, the report and publish score finished runs with it."""

from collections.abc import Sequence
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


def score_submission(path: Path, tasks: Sequence[Task]) -> str:
    """Return the test scores of a submission as text. tasks: one per target; of several the mean score is added."""
    found = [_scores(path, task) for task in tasks]
    if len(tasks) == 1:
        return f"{shown(path)}: {_text(found[0], tasks[0])}"
    lines = [f"{shown(path)}:"]
    lines += [f"  {task.target_column}: {_text(own, task)}" for task, own in zip(tasks, found, strict=True)]
    metric = tasks[0].metric
    mean = np.mean([own[metric] for own in found])
    return "\n".join([*lines, f"  mean over {len(tasks)} targets: {METRICS[metric].text} {mean:.4f}"])


def _scores(path: Path, task: Task) -> dict[str, float]:
    """Return the scores of a submission for one target, and the number of crystals."""
    labels, submitted = read_labels(task), _read_numbers(path, task.id_column, task.target_column)
    if set(labels.index) != set(submitted.index):
        raise ValueError(f"{path}: its ids are not those of the test labels; write it again with submit.py")
    return scores(labels.to_numpy(), submitted[labels.index].to_numpy(), task.metric) | {"n": len(labels)}


def _text(found: dict[str, float], task: Task) -> str:
    own = "" if task.metric in ("mae", "rmse") else f"{METRICS[task.metric].text} {found[task.metric]:.4f}, "
    return f"test {own}MAE {found['mae']:.4f}, RMSE {found['rmse']:.4f} {task.unit}, {found['n']} crystals"


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
