"""Train experiments on the official folds of a task, and record what they predict for the official test parts.

Plain: the official folds are the task's given folds. Inner: the training part of each official fold is a task of its own; the
mean over an experiment's own folds predicts the test part, and weights of a blend are fitted to inner out-of-fold rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from src.config import ExperimentConfig, FoldConfig, to_dict
from src.config.catalogue import load_config
from src.data.export import target_of, write_official_fold
from src.data.load import TaskData, load_folds, load_task_data
from src.data.task import read_task
from src.learners.device import check_device
from src.paths import EXPERIMENTS, experiment_name, shown
from src.results.blend import normalized_weights, stack_test
from src.results.comparison import to_markdown
from src.results.folder import RunDir
from src.results.matbench import FoldResult, board_with, publish_record, record, write_record
from src.results.predictions import find_predictions
from src.results.submission import How, blend_parts
from src.runs.experiment import run_experiment
from src.runs.launch import Launcher
from src.runs.train import start_log

Protocol = Literal["plain", "inner"]
RECORDS, OFFICIAL = "matbench", "official"  # folders in the outputs of a task


@dataclass(frozen=True)
class Benchmark:
    """Experiments to run on a task with official folds, and how.

    configs: by name. how: the weights of a blend, or the method that finds them. data: folder of the task. outputs: of all tasks.
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
        """Name of the record's file without its ending: the protocol and, of a blend, its parts and its method."""
        if len(self.configs) == 1:
            return self.protocol
        parts = [name.removeprefix("exp") for name in self.configs]
        return "-".join([self.protocol, *parts, self.how if isinstance(self.how, str) else "weighted"])

    def check(self) -> None:
        """Raise ValueError now for whatever would fail after the training."""
        if not isinstance(self.how, str):
            normalized_weights(self.how, len(self.configs))
        elif self.protocol == "plain" and self.how != "mean":
            raise ValueError(
                "--blend fits weights to out-of-fold rows, which would be the official test rows; add --inner or give --weights"
            )
        task = read_task(self.data)
        target_of(task.name)
        if "folds" not in task.files:
            raise ValueError(f"{task.folder / 'task.toml'}: [files] names no folds; write it with input/prepare_matminer.py")
        check_device(self.device)

    def result(self, data: TaskData, k: int) -> FoldResult:
        """Return what the experiments, trained on the other official folds of a task, predict for official fold k."""
        fold, trained = load_folds(data, FoldConfig()), data
        rows = fold == k
        ids = data.train.ids[rows].tolist()
        if self.protocol == "inner":
            folder = data.folder / OFFICIAL / f"fold_{k}"
            write_official_fold(data.task, fold, k, folder)
            trained = load_task_data(folder, folder.parent, False, self.launcher.n_local)
        for name, config in self.configs.items():
            run_experiment(config, name, trained, None, self.launcher, self.device)
        parts = [find_predictions(name, trained.task, trained.outputs) for name in self.configs]
        blend = blend_parts(parts, self.how, data.task.metric)
        if self.protocol == "inner":
            pred, costs = stack_test(parts, ids) @ blend.weights, [part.metrics for part in parts]
        else:
            pred, costs = blend.nested_pred[rows], [RunDir(part.source).fold_metrics(k) or {} for part in parts]
        weights = {part.name: float(weight) for part, weight in zip(parts, blend.weights, strict=True)}
        return FoldResult(ids, data.train.targets[rows], pred, weights, sum(cost["cpu_seconds"] for cost in costs))


def experiment_configs(numbers: Sequence[str]) -> dict[str, ExperimentConfig]:
    """Return the configs of experiments by name."""
    return {name: load_config(EXPERIMENTS / name) for name in map(experiment_name, numbers)}


def run_benchmark(benchmark: Benchmark, publish: bool = False) -> str:
    """Train what is not finished, write the record to outputs/<task>/matbench, and return the leaderboard as text.

    publish: copy the record to exp/expNNN/results/<task> of the first experiment.
    """
    benchmark.check()
    start_log(benchmark.outputs / benchmark.data.resolve().name / RECORDS)
    data = load_task_data(benchmark.data, benchmark.outputs, skip_bad_rows=False, n_jobs=benchmark.launcher.n_local)
    folds = [benchmark.result(data, k) for k in range(data.n_folds(FoldConfig()))]
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
    return "\n".join(
        [to_markdown(board_with(content, data.task.unit)), "", *(f"{shown(one)}: matbench's record" for one in paths)]
    )
