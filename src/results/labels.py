"""The only reader of test labels; compare, the ledger, the report and publish score finished runs with it."""

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
    labels = _read_numbers(path, task, task.of_classes)
    check_targets(task.metric, path, list(labels.index), labels.to_numpy())
    return labels


def score_submission(path: Path, tasks: Sequence[Task]) -> str:
    """Return the test scores of a submission as text. tasks: one per target; of several the mean score is added."""
    metric, lines, own = tasks[0].metric, [], []
    for task in tasks:
        labels, submitted = read_labels(task), _read_numbers(path, task, METRICS[metric].curve is not None)
        if set(labels.index) != set(submitted.index):
            raise ValueError(f"{path}: its ids are not those of the test labels; write it again with submit.py")
        found = scores(labels.to_numpy(), submitted[labels.index].to_numpy(), metric)
        own.append(found[metric])
        first = "" if metric in ("mae", "rmse") else f"{METRICS[metric].text} {found[metric]:.4f}, "
        if task.of_classes:
            lines.append(f"test {METRICS[metric].text} {found[metric]:.4f}, {len(labels)} crystals")
            continue
        lines.append(f"test {first}MAE {found['mae']:.4f}, RMSE {found['rmse']:.4f} {task.unit}, {len(labels)} crystals")
    if len(tasks) == 1:
        return f"{shown(path)}: {lines[0]}"
    lines = [f"  {task.target_column}: {line}" for task, line in zip(tasks, lines, strict=True)]
    return "\n".join([f"{shown(path)}:", *lines, f"  mean over {len(tasks)} targets: {METRICS[metric].text} {np.mean(own):.4f}"])


def _read_numbers(path: Path, task: Task, of_classes: bool) -> pd.Series:
    """Return id -> finite number from a CSV file; raise ValueError if an id is duplicated or a number is not finite.

    of_classes: the target's fields are texts of classes, which become 0 and 1.
    """
    id_column, column = task.id_column, task.target_column
    rows = pd.DataFrame(read_rows(path))
    if not {id_column, column} <= set(rows):
        raise ValueError(f"{path}: expected the columns {id_column!r} and {column!r}, found {list(rows)}")
    ids, numbers = rows[id_column], rows[column].map(task.class_number if of_classes else number)
    bad = ids[~np.isfinite(numbers) | ids.duplicated()]
    if len(bad):
        raise ValueError(
            f"{path}: {bad.iloc[0]!r} is duplicated, or its {column!r} is not {'a class' if of_classes else 'finite'}; correct it"
        )
    return pd.Series(numbers.to_numpy(), index=pd.Index(ids, name=id_column), name=column)
