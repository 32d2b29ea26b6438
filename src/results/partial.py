"""Partial runs, with folds that are still to do."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from src.config.catalogue import is_of_track
from src.data.task import MetricName, Task
from src.paths import experiment_folders, experiment_name
from src.results.folder import RunDir, oof_arrays
from src.results.metrics import METRICS, oof_score
from src.results.predictions import Predictions
from src.storage import names


class Partial(NamedTuple):
    """The finished folds of a run. oof: their rows, with the columns of OOF_COLUMNS."""

    name: str
    folds: list[int]
    oof: pd.DataFrame

    def text(self, metric: MetricName) -> str:
        """Return the score for display."""
        score, folds = oof_score(metric, *oof_arrays(self.oof)), ", ".join(map(str, self.folds))
        return f"{METRICS[metric].text} {score:.4f} on the {len(self.oof)} rows of folds {folds} (partial)"


def partial_of(run: RunDir) -> Partial | None:
    """Return the finished folds of a run; None if there are none, or if all are finished."""
    if (run.path / names.METRICS_FILE).is_file() or not (done := run.finished):
        return None
    return Partial(run.path.name, done, pd.concat([run.valid(k) for k in done]))


def partial_runs(numbers: Sequence[str], track: str, task: Task, outputs: Path) -> list[Partial]:
    """Return the partial runs among the experiments of these numbers or, if there are none, of the track."""
    chosen = map(experiment_name, numbers) if numbers else (folder.name for folder in experiment_folders())
    found = [partial for name in chosen if (partial := partial_of(RunDir(task.runs(outputs) / name)))]
    return [one for one in found if numbers or is_of_track(one.name, track)]


def partial_rows(partial: Sequence[Partial], reference: Predictions, metric: MetricName) -> list[dict[str, str]]:
    """Return a row for each partial run, column -> text: its score, and that of a finished experiment on the same rows."""
    rows = []
    for one in partial:
        target, own, fold = oof_arrays(one.oof)
        other = reference.oof.set_index("id").reindex(one.oof["id"])["e_form_pred"].to_numpy()
        row = {"partial run": one.name, "finished folds": ", ".join(map(str, one.folds)), "rows": str(len(one.oof))}
        for name, pred in {"score": own, f"{reference.name} on the same rows": other}.items():
            row[name] = f"{oof_score(metric, target, pred, fold):.4f}" if np.isfinite(pred).all() else ""
        rows.append(row)
    return rows
