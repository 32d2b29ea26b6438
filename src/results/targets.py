"""Comparison of experiments on one target or on several, with the mean score over the targets, which is the competition's."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from src.data.task import Task
from src.results.comparison import as_json, as_text, score_rows, to_markdown
from src.results.metrics import METRICS
from src.results.predictions import Predictions
from src.results.surroundings import points_of


@dataclass(frozen=True, eq=False)
class Compared:
    """Experiments compared on one target. rows: of `score_rows`."""

    task: Task
    members: Sequence[Predictions]
    rows: list[dict]

    @classmethod
    def of(cls, task: Task, members: Sequence[Predictions], labels: pd.Series | None, outputs: Path) -> "Compared":
        """Return the comparison on one target. labels: id -> target of the test rows, for their scores."""
        points = None if labels is None else points_of(task, outputs, members[0])
        return cls(task, members, score_rows(members, labels, points, task.metric))

    def text(self, markdown: bool) -> str:
        """Return the tables for people."""
        return as_text(self.members, self.rows, self.task.unit, markdown, self.task.metric)

    @property
    def json(self) -> str:
        """All figures as JSON."""
        return as_json(self.members, self.rows, self.task.unit)


def mean_scores(compared: Sequence[Compared]) -> list[dict]:
    """Return the task's metric as its mean over targets, out of fold and on the test set, of experiments that have all."""
    metric = compared[0].task.metric
    by_name = [{row["experiment"]: row for row in one.rows} for one in compared]
    means = []
    for name in by_name[0]:
        if all(name in rows for rows in by_name):
            own = [rows[name] for rows in by_name]
            keys = [key for key in (f"oof_{metric}", f"test_{metric}") if key in own[0]]
            means.append({"experiment": name} | {key: float(np.mean([row[key] for row in own])) for key in keys})
    return means


def compared_text(compared: Sequence[Compared], markdown: bool) -> str:
    """Return the tables of each target and, if there are several, that of the means."""
    if len(compared) == 1:
        return compared[0].text(markdown)
    metric = METRICS[compared[0].task.metric]
    titles = {f"oof_{compared[0].task.metric}": f"OOF {metric.text}", f"test_{compared[0].task.metric}": f"test {metric.text}"}
    means = pd.DataFrame(
        [{titles.get(key, key): f"{v:.4f}" if key in titles else v for key, v in row.items()} for row in mean_scores(compared)]
    )
    mark = "## " if markdown else ""
    parts = [f"{mark}{one.task.target_column}\n\n{one.text(markdown)}" for one in compared]
    table = to_markdown(means) if markdown else means.to_string(index=False)
    return "\n\n".join(
        [*parts, f"{mark}mean over {len(compared)} targets\n\n{'no experiment has all' if means.empty else table}"]
    )


def compared_json(compared: Sequence[Compared]) -> str:
    """Return all figures as JSON: of the only target or, by name, of several, with their means."""
    if len(compared) == 1:
        return compared[0].json
    by_target = {one.task.target_column: json.loads(one.json) for one in compared}
    return json.dumps({"targets": by_target, "mean": mean_scores(compared)}, indent=1)
