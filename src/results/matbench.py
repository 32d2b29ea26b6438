"""Results on the official folds of matbench v0.1: its own record of them, and our row among the published ones.

The record is what `MatbenchBenchmark.to_file` of the package matbench 0.6 writes and its `from_file` accepts.
"""

import datetime
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

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


class Row(NamedTuple):
    """A row of a leaderboard: mean and standard deviation of the folds' MAE, mean of their RMSE, largest error of all."""

    algorithm: str
    mae: float
    sd: float
    rmse: float
    max_error: float
    cpu_seconds: float | None = None  # of our rows


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
    if threshold is not None:
        chosen = pred > threshold
        found = {name: METRICS[name](target, chosen.astype(float)) for name in OF_DECISIONS}
        parameters |= {"threshold": threshold, "roc_auc": METRICS["roc_auc"](target, pred), "probabilities": pred.tolist()}
        own = {"data": dict(zip(ids, chosen.tolist(), strict=True)), "parameters": parameters}
        return {**own, "scores": found | {"rocauc": found["balanced_accuracy"]}, "uncertainty": None}
    kept, error = np.abs(target) > MAPE_THRESHOLD, target - pred
    scores = {name: METRICS[name](target, pred) for name in ("mae", "rmse")}
    scores |= {"mape": float(np.abs(error[kept] / target[kept]).mean()), "max_error": float(np.abs(error).max())}
    return {
        "data": dict(zip(ids, pred.tolist(), strict=True)),
        "parameters": parameters,
        "scores": scores,
        "uncertainty": None,
    }


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


def own_row(content: Record) -> Row:
    """Return the row of a record; as on matbench's leaderboards, the standard deviation is that of the population of folds."""
    scores, about = pd.DataFrame(_results(content, "scores")), content["user_metadata"]
    found = scores["mae"].mean(), scores["mae"].std(ddof=0), scores["rmse"].mean(), scores["max_error"].max()
    mae, sd, rmse, largest = map(float, found)
    return Row(about["algorithm"], mae, sd, rmse, largest, about["cpu_seconds"])


def board(task_name: str, unit: str, own: Record | None = None) -> pd.DataFrame:
    """Return the published rows of others and of our records, ours in bold, by MAE, as people read them.

    own: a record that takes the place of the published one of its algorithm.
    """
    published = [read_record(path) for path in sorted(EXPERIMENTS.glob(f"*/results/{task_name}/*.json.gz"))]
    if own is not None:
        name = own["user_metadata"]["algorithm"]
        published = [own, *(one for one in published if one["user_metadata"]["algorithm"] != name)]
    others = rivals(task_name)
    names = others["algorithm"] + np.where(others["pretrained"], ", pretrained", "")
    if published and is_of_classes(published[0]):
        of_others = pd.DataFrame({"algorithm": names, BALANCED: others["score"].map("{:.4f}".format)})
        every = pd.concat([pd.DataFrame(map(class_cells, published)), of_others])
        return every.sort_values(BALANCED, ascending=False, key=lambda text: text.str.strip("*")).fillna("")
    rows = [Row(*values) for values in others.assign(algorithm=names).drop(columns="pretrained").itertuples(index=False)]
    every = sorted([*rows, *map(own_row, published)], key=lambda row: row.mae)
    cells, digits = [], 2 if every and every[0].mae >= 1 else 4
    for row in every:
        numbers = zip((row.mae, row.sd, row.rmse, row.max_error), (digits, digits, digits, digits - 1), strict=True)
        texts = [row.algorithm, *("" if np.isnan(number) else f"{number:.{n}f}" for number, n in numbers)]
        is_own = row.cpu_seconds is not None
        cells.append([f"**{text}**" for text in [*texts, f"{row.cpu_seconds:.0f}"]] if is_own else [*texts, ""])
    return pd.DataFrame(cells, columns=["algorithm", f"MAE ({unit})", "sd over folds", "RMSE", "max error", "CPU s"])


def rivals(task_name: str) -> pd.DataFrame:
    """Return the rows of others, the best first: algorithm, score (MAE or balanced accuracy), sd, rmse, max_error, pretrained."""
    from src.data.export import OF_CLASSES  # pymatgen is slow to import

    table = pd.read_csv(LEADERBOARDS)
    own = table[table["task"] == task_name].drop(columns="task").sort_values("score", ascending=task_name not in OF_CLASSES)
    return own.assign(pretrained=own["pretrained"] == "yes")


def score_of(content: Record) -> float:
    """Return the mean over the official folds of the MAE or, of classes, of the balanced accuracy."""
    return float(np.mean([scores["rocauc" if is_of_classes(content) else "mae"] for scores in _results(content, "scores")]))


def place(content: Record) -> str:
    """Return the place of a record among the rows of others without pretraining, as people read it."""
    (task_name,) = content["tasks"]
    own, found = score_of(content), rivals(task_name)
    others = found["score"][~found["pretrained"]]
    ahead = (others > own) if is_of_classes(content) else (others < own)
    return f"{ahead.sum() + 1} of {len(others) + 1}"


def class_cells(content: Record) -> dict[str, str]:
    """Return the row of a record of classes as people read it: means over the official folds."""
    scores, about = pd.DataFrame(_results(content, "scores")), content["user_metadata"]
    area = np.mean([parameters["roc_auc"] for parameters in _results(content, "parameters")])
    balanced = scores["rocauc"]
    own = {"algorithm": about["algorithm"], BALANCED: f"{balanced.mean():.4f}", "sd over folds": f"{balanced.std(ddof=0):.4f}"}
    own |= {"F1": f"{scores['f1'].mean():.4f}", "ROC AUC": f"{area:.4f}"}
    own |= {"CPU s": f"{about['cpu_seconds']:.0f}"}
    return {name: f"**{text}**" for name, text in own.items()}


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
    """Return what a record has under a key, fold by fold."""
    (task,) = content["tasks"].values()
    return [result[key] for result in task["results"].values()]
