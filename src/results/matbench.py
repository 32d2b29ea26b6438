"""Results on the official folds of matbench v0.1: its own record of them, and our row among the published ones.

The record is what `MatbenchBenchmark.to_file` of the package matbench 0.6 writes and its `from_file` accepts.
"""

import datetime
import gzip
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from src.paths import EXPERIMENTS, shown
from src.results.metrics import METRICS
from src.storage.files import write_atomic

Values = NDArray[np.float64]
Record = dict[str, Any]
BENCHMARK, VERSION = "matbench_v0.1", "0.6"
MAPE_THRESHOLD = 1e-5  # targets closer to zero are left out of matbench's MAPE
MAX_RECORD = 200_000  # of a published record: it stays in the history of the repository


class Row(NamedTuple):
    """A row of a leaderboard: mean and standard deviation of the folds' MAE, mean of their RMSE, largest error of all.

    cpu_seconds: of our rows.
    """

    algorithm: str
    mae: float
    sd: float
    rmse: float
    max_error: float
    cpu_seconds: float | None = None


# github.com/materialsproject/matbench, docs_src: the leaderboard of each task, and the fold scores of each algorithm
PUBLISHED = {
    "matbench_phonons": (
        Row("MegNet (kgcnn v2.1.0)", 28.7606, 2.5767, 57.4679, 774.1321),
        Row("coNGN", 28.8874, 3.2840, 57.1375, 747.0843),
        Row("ALIGNN", 29.5385, 2.1148, 53.5010, 615.3466),
        Row("coGN", 29.7117, 1.9968, 57.7099, 622.4674),
        Row("DeeperGATGNN", 33.1211, 1.4530, 78.8475, 1134.0565),
        Row("MODNet (v0.1.12)", 34.2751, 2.0781, 70.0669, 1079.1280),
        Row("SchNet (kgcnn v2.1.0)", 38.9636, 1.9760, 76.9279, 1034.3312),
        Row("CrabNet", 55.1114, 5.7317, 138.3775, 1452.7562),
        Row("CGCNN v2019", 57.7635, 12.3109, 141.7018, 2504.8743),
        Row("RF-SCM/Magpie", 67.6126, 8.9900, 146.2764, 2024.7301),
    )
}


@dataclass(frozen=True, eq=False)
class FoldResult:
    """Predictions for the test part of an official fold.

    ids, target, pred: (n_test,), in the task's unit. weights: of the experiments, by name.
    """

    ids: Sequence[str]
    target: Values
    pred: Values
    weights: dict[str, float]
    cpu_seconds: float

    @property
    def scores(self) -> dict[str, float]:
        """matbench's four scores of a regression."""
        kept, error = np.abs(self.target) > MAPE_THRESHOLD, self.target - self.pred
        return {
            "mae": METRICS["mae"](self.target, self.pred),
            "rmse": METRICS["rmse"](self.target, self.pred),
            "mape": float(np.abs(error[kept] / self.target[kept]).mean()),
            "max_error": float(np.abs(error).max()),
        }


def record(task_name: str, folds: Sequence[FoldResult], metadata: dict[str, Any]) -> Record:
    """Return the record of a task. folds: all of them, in order. metadata: free, JSON-serialisable."""
    results = {
        f"fold_{k}": {
            "data": dict(zip(fold.ids, fold.pred.tolist(), strict=True)),
            "parameters": {"weights": fold.weights, "cpu_seconds": fold.cpu_seconds},
            "scores": fold.scores,
            "uncertainty": None,
        }
        for k, fold in enumerate(folds)
    }
    task = {"@module": "matbench.task", "@class": "MatbenchTask", "benchmark_name": BENCHMARK, "dataset_name": task_name}
    content = {
        "@module": "matbench.bench",
        "@class": "MatbenchBenchmark",
        "version": VERSION,
        "tasks": {task_name: task | {"results": results}},
        "user_metadata": metadata,
        "benchmark_name": BENCHMARK,
        "datestamp": datetime.datetime.now(datetime.UTC).strftime("%Y.%m.%d %H:%M.%S"),
    }
    return content | {"hash": hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()}


def own_row(content: Record) -> Row:
    """Return the row of a record; as on matbench's leaderboards, the standard deviation is that of the population of folds."""
    scores, about = pd.DataFrame(_results(content, "scores")), content["user_metadata"]
    spread, largest = float(scores["mae"].std(ddof=0)), float(scores["max_error"].max())
    return Row(
        about["algorithm"], float(scores["mae"].mean()), spread, float(scores["rmse"].mean()), largest, about["cpu_seconds"]
    )


def board(task_name: str, contents: Sequence[Record], unit: str) -> pd.DataFrame:
    """Return the published rows of others and those of our records, in bold, by MAE, as people read them."""
    cells = []
    for row in sorted([*PUBLISHED.get(task_name, ()), *map(own_row, contents)], key=lambda row: row.mae):
        texts = [row.algorithm, f"{row.mae:.2f}", f"{row.sd:.2f}", f"{row.rmse:.2f}", f"{row.max_error:.1f}"]
        is_own = row.cpu_seconds is not None
        cells.append([f"**{text}**" for text in [*texts, f"{row.cpu_seconds:.0f}"]] if is_own else [*texts, ""])
    return pd.DataFrame(cells, columns=["algorithm", f"MAE ({unit})", "sd over folds", "RMSE", "max error", "CPU s"])


def board_with(content: Record, unit: str) -> pd.DataFrame:
    """Return the leaderboard with a record and with all published records of other algorithms of ours."""
    (task_name,) = content["tasks"]
    name = content["user_metadata"]["algorithm"]
    others = [one for one in published_records(task_name) if one["user_metadata"]["algorithm"] != name]
    return board(task_name, [content, *others], unit)


def published_records(task_name: str) -> list[Record]:
    """Return the published records of a task."""
    return [read_record(path) for path in sorted(EXPERIMENTS.glob(f"exp*/results/{task_name}/*.json.gz"))]


def write_record(path: Path, content: Record) -> None:
    """Write a record as JSON, which matbench reads; .json.gz is for publishing."""
    text = json.dumps(content).encode()
    write_atomic(path, gzip.compress(text, compresslevel=9, mtime=0) if path.suffix == ".gz" else text)


def read_record(path: Path) -> Record:
    """Return the record in a file that `write_record` wrote."""
    content = path.read_bytes()
    return json.loads(gzip.decompress(content) if path.suffix == ".gz" else content)


def publish_record(path: Path, name: str) -> Path:
    """Copy a record to exp/<name>/results/<task>/; return its path there. One with the same predictions stays as it is."""
    content = read_record(path)
    (task_name,) = content["tasks"]
    published = EXPERIMENTS / name / "results" / task_name / f"{path.stem}.json.gz"
    if published.is_file() and _results(read_record(published), "data") == _results(content, "data"):
        return published
    if (size := len(gzip.compress(path.read_bytes(), compresslevel=9))) > MAX_RECORD:
        raise ValueError(f"{shown(path)}: compressed, it has {size} bytes; at most {MAX_RECORD} are published")
    write_record(published, content)
    return published


def _results(content: Record, key: str) -> list[dict[str, float]]:
    """Return what a record has under a key, fold by fold."""
    (task,) = content["tasks"].values()
    return [result[key] for result in task["results"].values()]
