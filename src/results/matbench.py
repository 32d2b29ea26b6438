"""Results on the official folds of matbench v0.1: its own record of them, and our row among the published ones.

The record is what `MatbenchBenchmark.to_file` of the package matbench 0.6 writes and its `from_file` accepts.
"""

import datetime
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from src.data.task import MetricName
from src.paths import EXPERIMENTS, INPUT
from src.results.metrics import METRICS
from src.storage.files import packed, unpacked, write_atomic

Values = NDArray[np.float64]
Record = dict[str, Any]
BENCHMARK = "matbench_v0.1"
BALANCED = "balanced accuracy (rocauc)"  # as matbench calls it
LEADERBOARDS = INPUT / f"{BENCHMARK}_leaderboards.csv"  # the rows of others, see input/README.md
BOARDS = "boards"  # folder in exp/ of records that are no experiment's
OF_DECISIONS: tuple[MetricName, ...] = ("accuracy", "balanced_accuracy", "f1")
MAPE_THRESHOLD = 1e-5  # targets closer to zero are left out of matbench's MAPE


def fold_record(
    ids: Sequence[str],
    target: Values,
    pred: Values,
    weights: dict[str, float],
    cpu_seconds: float,
    threshold: float | None = None,
) -> Record:
    """Return the record of the predictions for the test part of an official fold, with matbench's four scores.

    target, pred: (n_test,), in the task's unit. weights: of the experiments, by name. threshold: of classes, above which a
    probability means the second one. Matbench scores decisions: what it calls `rocauc` is then their balanced accuracy (issue
    137 of its repository); the true area under the curve and the probabilities are among the parameters.
    """
    parameters: Record = {"weights": weights, "cpu_seconds": cpu_seconds}
    submitted: NDArray[Any] = pred
    scores: dict[str, float]
    if threshold is not None:
        parameters |= {"threshold": threshold, "roc_auc": METRICS["roc_auc"](target, pred), "probabilities": pred.tolist()}
        submitted = pred > threshold
        scores = {name: METRICS[name](target, submitted.astype(float)) for name in OF_DECISIONS}
        scores["rocauc"] = scores["balanced_accuracy"]
    else:
        kept, error = np.abs(target) > MAPE_THRESHOLD, target - pred
        scores = {name: METRICS[name](target, pred) for name in ("mae", "rmse")}
        scores |= {"mape": float(np.abs(error[kept] / target[kept]).mean()), "max_error": float(np.abs(error).max())}
    data = dict(zip(ids, submitted.tolist(), strict=True))
    return {"data": data, "parameters": parameters, "scores": scores, "uncertainty": None}


def record(task_name: str, folds: Sequence[Record], metadata: dict[str, Any]) -> Record:
    """Return the record of a task. folds: of `fold_record`, all of them, in order. metadata: free, JSON-serialisable."""
    task = {"@module": "matbench.task", "@class": "MatbenchTask", "benchmark_name": BENCHMARK, "dataset_name": task_name}
    content = {
        "@module": "matbench.bench",
        "@class": "MatbenchBenchmark",
        "version": "0.6",
        "tasks": {task_name: task | {"results": {f"fold_{k}": fold for k, fold in enumerate(folds)}}},
        "user_metadata": metadata,
        "benchmark_name": BENCHMARK,
        "datestamp": datetime.datetime.now(datetime.UTC).strftime("%Y.%m.%d %H:%M.%S"),
    }
    return content | {"hash": hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()}


def is_of_classes(content: Record) -> bool:
    """Return whether a record is of a task of classes."""
    return "rocauc" in _results(content, "scores")[0]


def own_row(content: Record) -> dict[str, Any]:
    """Return the row of a record: algorithm, score, sd, cpu_seconds, and rmse and max_error or, of classes, f1 and roc_auc.

    score: mean over the official folds of the MAE or, of classes, of the balanced accuracy. sd: that of the population of folds,
    as on matbench's leaderboards. max_error: the largest of all. Others: means over folds.
    """
    scores, about = pd.DataFrame(_results(content, "scores")), content["user_metadata"]
    if is_of_classes(content):
        area = np.mean([parameters["roc_auc"] for parameters in _results(content, "parameters")])
        score, others = scores["rocauc"], {"f1": scores["f1"].mean(), "roc_auc": area}
    else:
        score, others = scores["mae"], {"rmse": scores["rmse"].mean(), "max_error": scores["max_error"].max()}
    numbers = {"score": score.mean(), "sd": score.std(ddof=0), **others, "cpu_seconds": about["cpu_seconds"]}
    return {"algorithm": about["algorithm"]} | {name: float(number) for name, number in numbers.items()}


def board(task_name: str, unit: str, own: Record | None = None) -> pd.DataFrame:
    """Return the published rows of others and of our records for display, the best first, ours in bold.

    own: a record that replaces the published one of its algorithm.
    """
    published = [read_record(path) for path in sorted(EXPERIMENTS.glob(f"*/results/{task_name}/*.json.gz"))]
    if own is not None:
        name = own["user_metadata"]["algorithm"]
        published = [own, *(one for one in published if one["user_metadata"]["algorithm"] != name)]
    of_classes, others = any(map(is_of_classes, published)), rivals(task_name)
    heads = {"score": BALANCED if of_classes else f"MAE ({unit})", "sd": "sd over folds"}
    heads |= {"f1": "F1", "roc_auc": "ROC AUC"} if of_classes else {"rmse": "RMSE", "max_error": "max error"}
    others["algorithm"] += np.where(others["pretrained"], ", pretrained", "")
    rows = [*others.to_dict("records"), *map(own_row, published)]
    table = pd.DataFrame(rows, columns=["algorithm", *heads, "cpu_seconds"])
    table = table.sort_values("score", ascending=not of_classes, kind="stable", ignore_index=True)
    n_digits = 2 if table["score"].min() >= 1 else 4
    digits = dict.fromkeys(heads, n_digits) | {"max_error": n_digits - 1, "cpu_seconds": 0}
    texts = {name: table[name].map(f"{{:.{digits[name]}f}}".format, na_action="ignore") for name in (*heads, "cpu_seconds")}
    cells, is_own = table.assign(**texts).astype(object).fillna(""), table["cpu_seconds"].notna()
    cells.loc[is_own] = "**" + cells[is_own] + "**"
    return cells.rename(columns=heads | {"cpu_seconds": "CPU s"})


def rivals(task_name: str) -> pd.DataFrame:
    """Return the rows of others, the best first: algorithm, score (MAE or balanced accuracy), sd, rmse, max_error, pretrained."""
    from src.data.export import OF_CLASSES  # pymatgen is slow to import

    table = pd.read_csv(LEADERBOARDS)
    own = table[table["task"] == task_name].drop(columns="task").sort_values("score", ascending=task_name not in OF_CLASSES)
    return own.assign(pretrained=own["pretrained"] == "yes")


def place(content: Record) -> str:
    """Return the place of a record among the rows of others without pretraining, as text."""
    (task_name,) = content["tasks"]
    own, found = own_row(content)["score"], rivals(task_name)
    others = found["score"][~found["pretrained"]]
    ahead = (others > own) if is_of_classes(content) else (others < own)
    return f"{ahead.sum() + 1} of {len(others) + 1}"


def write_record(path: Path, content: Record) -> None:
    """Write a record as JSON, which matbench reads; .json.gz is for publishing."""
    write_atomic(path, packed(path, json.dumps(content).encode()))


def read_record(path: Path) -> Record:
    """Return the record in a file that `write_record` wrote."""
    return json.loads(unpacked(path))


def publish_record(path: Path, name: str) -> Path:
    """Copy a record to exp/<name>/results/<task>/; return its path there. One with the same predictions stays as it is."""
    content = read_record(path)
    (task_name,) = content["tasks"]
    published = EXPERIMENTS / name / "results" / task_name / f"{path.stem}.json.gz"
    if not published.is_file() or _results(read_record(published), "data") != _results(content, "data"):
        write_record(published, content)
    return published


def _results(content: Record, key: str) -> list[dict[str, Any]]:
    """Return the values of a key in a record, fold by fold."""
    (task,) = content["tasks"].values()
    return [result[key] for result in task["results"].values()]
