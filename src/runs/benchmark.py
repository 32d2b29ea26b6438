"""Train experiments on the official folds of a matbench task, and record what they predict for the official test parts.

Two protocols. Plain: one model for each official fold, trained on the whole of its training part. Inner: the training part of
each official fold is a task of its own, on which an experiment trains an ensemble over its own (inner) folds; their mean predicts
the test part, and the weights of a blend are fitted to inner out-of-fold rows. No choice looks at the test part in either.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from src.config import ExperimentConfig, FoldConfig, to_dict
from src.config.load import load_config
from src.data.export import target_of, write_official_fold
from src.data.load import TaskData, load_folds, load_task_data
from src.data.task import read_task
from src.learners.device import check_device
from src.paths import EXPERIMENTS, experiment_name, shown
from src.results.blend import normalized_weights, stack_test
from src.results.comparison import to_markdown
from src.results.folder import RunDir
from src.results.matbench import FoldResult, board_with, publish_record, record, write_record
from src.results.predictions import Predictions, find_predictions
from src.results.submission import How, blend_parts
from src.runs.experiment import run_experiment
from src.runs.launch import Launcher
from src.runs.train import start_log

Values = NDArray[np.float64]
Protocol = Literal["plain", "inner"]
RECORDS, OFFICIAL = "matbench", "official"  # folders in the outputs of a task


@dataclass(frozen=True)
class Benchmark:
    """Experiments to run on a task of matbench, and how.

    configs: by name. how: the weights of a blend, or the method that finds them; fitted weights need the inner protocol.
    data: folder of the task. outputs: folder of the outputs of all tasks.
    """

    configs: Mapping[str, ExperimentConfig]
    protocol: Protocol
    how: How
    data: Path
    outputs: Path
    launcher: Launcher
    device: str

    @property
    def algorithm(self) -> str:
        """Name of our row, such as `exp010 + exp022 (0.3, 0.7), 10 inner folds`."""
        how = self.how if isinstance(self.how, str) else ", ".join(map(str, self.how))
        blended = f" ({how})" if len(self.configs) > 1 else ""
        folds = sorted({str(config.folds.n_folds) for config in self.configs.values()})
        inner = f", {' or '.join(folds)} inner folds" if self.protocol == "inner" else ""
        return f"{' + '.join(self.configs)}{blended}{inner}"

    @property
    def record_name(self) -> str:
        """Name of the record's file without its ending: the protocol and, of a blend, its members and its method."""
        if len(self.configs) == 1:
            return self.protocol
        members = [name.removeprefix("exp") for name in self.configs]
        return "-".join([self.protocol, *members, *([self.how] if isinstance(self.how, str) else ["weighted"])])


def experiment_configs(numbers: Sequence[str]) -> dict[str, ExperimentConfig]:
    """Return the configs of experiments by name."""
    return {name: load_config(EXPERIMENTS / name) for name in map(experiment_name, numbers)}


def run_benchmark(benchmark: Benchmark, publish: bool = False) -> str:
    """Train what is not finished, write the record to outputs/<task>/matbench, and return the leaderboard as text.

    publish: copy the record to exp/expNNN/results/<task> of the first experiment.
    """
    _check(benchmark)
    start_log(benchmark.outputs / benchmark.data.resolve().name / RECORDS)
    data = load_task_data(benchmark.data, benchmark.outputs, skip_bad_rows=False, n_jobs=benchmark.launcher.n_local)
    folds = PROTOCOLS[benchmark.protocol](benchmark, data, load_folds(data, FoldConfig()))
    metadata = {
        "algorithm": benchmark.algorithm,
        "protocol": benchmark.protocol,
        "cpu_seconds": sum(fold.cpu_seconds for fold in folds),
        "configs": {name: to_dict(config) for name, config in benchmark.configs.items()},
    }
    content = record(data.task.name, folds, metadata)
    path = data.folder / RECORDS / f"{benchmark.record_name}.json"
    write_record(path, content)
    paths = [path, publish_record(path, next(iter(benchmark.configs)))] if publish else [path]
    table = to_markdown(board_with(content, data.task.unit))
    return "\n".join([table, "", *(f"{shown(one)}: matbench's record" for one in paths)])


def _check(benchmark: Benchmark) -> None:
    """Raise ValueError now for whatever would fail after the training."""
    if not isinstance(benchmark.how, str):
        normalized_weights(benchmark.how, len(benchmark.configs))
    elif benchmark.protocol == "plain" and benchmark.how != "mean":
        raise ValueError(
            "--blend fits weights to out-of-fold rows, which would be the official test rows; add --inner or give --weights"
        )
    task = read_task(benchmark.data)
    target_of(task.name)
    if "folds" not in task.files:
        raise ValueError(f"{task.folder / 'task.toml'}: [files] names no folds; write it with input/prepare_matminer.py")
    check_device(benchmark.device)


def _plain(benchmark: Benchmark, data: TaskData, fold: NDArray[np.int64]) -> list[FoldResult]:
    """Return the out-of-fold predictions of one model for each official fold. fold: (n_crystals,)."""
    members = _train(benchmark, data)
    blend = blend_parts(members, benchmark.how, data.task.metric)
    results = []
    for k in range(int(fold.max()) + 1):
        seconds = sum((RunDir(member.source).fold_metrics(k) or {})["cpu_seconds"] for member in members)
        results.append(_result(data, fold == k, blend.nested_pred[fold == k], members, blend.weights, seconds))
    return results


def _inner(benchmark: Benchmark, data: TaskData, fold: NDArray[np.int64]) -> list[FoldResult]:
    """Return the predictions of an ensemble over inner folds for each official fold. fold: (n_crystals,)."""
    results = []
    for k in range(int(fold.max()) + 1):
        folder = data.folder / OFFICIAL / f"fold_{k}"
        write_official_fold(data.task, fold, k, folder)
        members = _train(benchmark, load_task_data(folder, folder.parent, False, benchmark.launcher.n_local))
        blend = blend_parts(members, benchmark.how, data.task.metric)
        pred = stack_test(members, data.train.ids[fold == k].tolist()) @ blend.weights
        seconds = sum(member.metrics["cpu_seconds"] for member in members)
        results.append(_result(data, fold == k, pred, members, blend.weights, seconds))
    return results


PROTOCOLS: dict[Protocol, Callable[[Benchmark, TaskData, NDArray[np.int64]], list[FoldResult]]] = {
    "plain": _plain,
    "inner": _inner,
}


def _train(benchmark: Benchmark, data: TaskData) -> list[Predictions]:
    """Train what is not finished on a task and return the experiments' predictions."""
    for name, config in benchmark.configs.items():
        run_experiment(config, name, data, None, benchmark.launcher, benchmark.device)
    return [find_predictions(name, data.task, data.outputs) for name in benchmark.configs]


def _result(
    data: TaskData, rows: NDArray[np.bool_], pred: Values, members: list[Predictions], weights: Values, seconds: float
) -> FoldResult:
    """Return the result on the test part of an official fold. rows: (n_crystals,), True for those of the test part."""
    named = {member.name: float(weight) for member, weight in zip(members, weights, strict=True)}
    return FoldResult(data.train.ids[rows].tolist(), data.train.targets[rows], pred, named, seconds)
