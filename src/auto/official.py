"""The autopilot on the official folds of a matbench task: in each, it sees only the training part."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from src.auto.pilot import fly
from src.config import FoldConfig
from src.data.export import write_official_fold
from src.data.load import load_folds, load_task_data
from src.data.task import read_task, read_tasks
from src.results.matbench import BALANCED, BOARDS, Record, fold_record, read_record, write_record
from src.results.metrics import best_threshold
from src.runs.benchmark import check_official, finished
from src.runs.launch import Launcher

log = logging.getLogger(__name__)


def fly_official(
    data: Path, outputs: Path, minutes: float, only: list[int] | None, launcher: Launcher, device: str, publish: bool
) -> str:
    """Run the unfinished official folds, write matbench's record once all are finished, and return the leaderboard as text.

    minutes: of wall time for each fold. only: numbers of folds; None: all.
    """
    task = read_task(data)
    check_official(task)
    loaded = load_task_data(data, outputs, skip_bad_rows=False, n_jobs=launcher.n_local)
    fold, top = load_folds(loaded, FoldConfig()), loaded.folder / f"auto-{minutes:g}"
    numbers = range(int(fold.max()) + 1)
    for k in only or numbers:
        folder, kept = top / f"fold_{k}", top / f"fold_{k}.json"
        if not kept.is_file():
            write_official_fold(task, fold, k, folder)
            flown = fly(read_tasks(folder), top, minutes, False, launcher, device, False)
            log.info("official fold %d\n%s", k, flown.text)
            rows = fold == k
            ids = loaded.train.ids[rows].tolist()
            pred = pd.read_csv(folder / "submission.csv", index_col=task.id_column).loc[ids, task.target_column].to_numpy()
            threshold = None
            if task.of_classes:
                (number,) = flown.submitted[task.target_column]
                oof = pd.read_csv(folder / f"exp{number}" / "oof.csv")
                threshold = best_threshold("balanced_accuracy", oof["e_form"].to_numpy(), oof["e_form_pred"].to_numpy())
            seconds = flown.seconds * launcher.at_once
            write_record(kept, fold_record(ids, loaded.train.targets[rows], pred, {}, seconds, threshold))
    records: dict[int, Record] = {k: read_record(top / f"fold_{k}.json") for k in numbers if (top / f"fold_{k}.json").is_file()}
    name = "rocauc" if task.of_classes else "mae"
    what = BALANCED if task.of_classes else f"MAE in {task.unit}"
    scores = {k: one["scores"][name] for k, one in records.items()}
    text = ", ".join(f"fold {k} {score:.4f}" for k, score in scores.items())
    if missing := sorted(set(numbers) - set(records)):
        return f"{what}: {text}; folds {missing} are still to do"
    metadata = {
        "algorithm": f"auto.py, {minutes:g} minutes",
        "protocol": "auto",
        "cpu_seconds": sum(one["parameters"]["cpu_seconds"] for one in records.values()),
    }
    table = finished(loaded, [records[k] for k in numbers], metadata, f"auto-{minutes:g}", BOARDS if publish else None)
    return f"{table}\n{what}: {text}; mean {np.mean(list(scores.values())):.4f}"
