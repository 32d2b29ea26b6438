"""Train experiments on the official folds of a task, and record their predictions for the official test parts.

Plain: the official folds are the task's given folds. Inner: the training part of each official fold is a task of its own; the
mean over an experiment's own folds predicts the test part, and weights of a blend are fitted to inner out-of-fold rows.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from src.config import ExperimentConfig, FoldConfig, to_dict
from src.data.export import target_of, write_official_fold
from src.data.load import TaskData, load_folds, load_task_data
from src.data.task import Task, read_task
from src.learners.device import check_device
from src.paths import shown
from src.results.blend import ON_LOGITS, normalized_weights, stack_oof, stack_test
from src.results.comparison import to_markdown
from src.results.folder import RunDir
from src.results.matbench import Record, board, fold_record, publish_record, record, write_record
from src.results.metrics import HALF, best_threshold
from src.results.predictions import find_predictions
from src.results.submission import How, blend_parts
from src.runs.experiment import run_experiment
from src.runs.launch import Launcher
from src.runs.train import start_log


def run_benchmark(
    configs: Mapping[str, ExperimentConfig],
    inner: bool,
    how: How,
    data: Path,
    outputs: Path,
    launcher: Launcher,
    device: str,
    publish: bool,
) -> str:
    """Train what is not finished, write the record to outputs/<task>/matbench, and return the leaderboard as text.

    configs: by name. how: the weights of a blend, or the method that finds them. data: folder of the task. publish: copy the
    record to exp/expNNN/results/<task> of the first experiment. Raises ValueError early for anything that would fail later.
    """
    if not isinstance(how, str):
        normalized_weights(how, len(configs))
    elif not inner and how != "mean":
        raise ValueError(
            "--blend fits weights to out-of-fold rows, which would be the official test rows; add --inner or give --weights"
        )
    task = read_task(data)
    check_official(task)
    check_device(device)
    start_log(outputs / task.name / "matbench")
    loaded = load_task_data(data, outputs, skip_bad_rows=False, n_jobs=launcher.n_local)
    folds = [official_fold(configs, inner, how, loaded, k, launcher, device) for k in range(loaded.n_folds(FoldConfig()))]
    protocol = "inner" if inner else "plain"
    metadata = {
        "algorithm": algorithm(configs, inner, how),
        "protocol": protocol,
        "cpu_seconds": sum(fold["parameters"]["cpu_seconds"] for fold in folds),
        "configs": {name: to_dict(config) for name, config in configs.items()},
    }
    parts = [name.removeprefix("exp") for name in configs] if len(configs) > 1 else []
    method = [how if isinstance(how, str) else "weighted"] if parts else []
    return finished(loaded, folds, metadata, "-".join([protocol, *parts, *method]), next(iter(configs)) if publish else None)


def finished(data: TaskData, folds: Sequence[Record], metadata: Record, stem: str, publish: str | None) -> str:
    """Write the record of all official folds, copy it to a folder in exp/ unless that is None, and return the leaderboard."""
    content, path = record(data.task.name, folds, metadata), data.folder / "matbench" / f"{stem}.json"
    write_record(path, content)
    lines = [f"{shown(one)}: matbench's record" for one in ([path, publish_record(path, publish)] if publish else [path])]
    return "\n".join([to_markdown(board(data.task.name, data.task.unit, content)), "", *lines])


def check_official(task: Task) -> None:
    """Raise ValueError if a task is not one of matbench's, or has no official folds."""
    target_of(task.name)
    if "folds" not in task.files:
        raise ValueError(f"{task.folder / 'task.toml'}: [files] names no folds; write it with input/prepare_matminer.py")


def official_fold(
    configs: Mapping[str, ExperimentConfig], inner: bool, how: How, data: TaskData, k: int, launcher: Launcher, device: str
) -> Record:
    """Return the predictions for official fold k by experiments trained on the other official folds."""
    fold, trained = load_folds(data, FoldConfig()), data
    rows = fold == k
    ids = data.train.ids[rows].tolist()
    if inner:
        folder = data.folder / "official" / f"fold_{k}"
        write_official_fold(data.task, fold, k, folder)
        trained = load_task_data(folder, folder.parent, False, launcher.n_local)
    for name, config in configs.items():
        run_experiment(config, name, trained, None, launcher, device)
    parts = [find_predictions(name, trained.task, trained.outputs) for name in configs]
    blend = blend_parts(parts, how, data.task.metric)
    if inner:
        pred, costs = blend.mix(stack_test(parts, ids)), [part.metrics for part in parts]
    else:
        pred, costs = blend.nested_pred[rows], [RunDir(part.source).fold_metrics(k) or {} for part in parts]
    threshold = None
    if data.task.of_classes:  # one model for each official fold has no out-of-fold rows in its training part
        target = stack_oof(parts)[0]
        threshold = best_threshold("balanced_accuracy", target, blend.nested_pred) if inner else HALF
    weights = {part.name: float(weight) for part, weight in zip(parts, blend.weights, strict=True)}
    weights |= {ON_LOGITS: 1.0} if blend.on_logits else {}
    return fold_record(ids, data.train.targets[rows], pred, weights, sum(cost["cpu_seconds"] for cost in costs), threshold)


def algorithm(configs: Mapping[str, ExperimentConfig], inner: bool, how: How) -> str:
    """Return the name of our row, such as `exp010 + exp022 (0.3, 0.7), 10 inner folds`."""
    method = how if isinstance(how, str) else ", ".join(map(str, how))
    folds = sorted({str(config.folds.n_folds) for config in configs.values()})
    after = f", {' or '.join(folds)} inner folds" if inner else ""
    return f"{' + '.join(configs)}{f' ({method})' if len(configs) > 1 else ''}{after}"
