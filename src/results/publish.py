"""Publishing: a finished run -> exp/expNNN/results. Predictions, metrics, trials of a search, and fold models of networks."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from src.data.task import Task
from src.paths import experiment_name, shown
from src.results.blend import stack_test
from src.results.folder import METRICS_KINDS, NO_TEST, OOF_COLUMNS, RunDir, oof_arrays
from src.results.metrics import scores
from src.results.predictions import MODELS, Predictions, find_predictions, is_default, published_folder, same_data, train_command
from src.storage import names
from src.storage.files import packed, read_id_table, read_json, remedy, write_atomic, write_csv, write_json
from src.storage.names import SHARED, WEIGHTS

MAX_BYTES = 13_000_000  # of all published models of an experiment: they stay in the history of the repository
COMMON = "element_vectors"  # the same table in all folds, stored once
TRIALS = "trials.csv"  # of a search


def check_trained(numbers: Sequence[str], task: Task, outputs: Path) -> None:
    """Raise ValueError, which names them, if experiments have nothing to publish: no finished run here, and no search."""
    found = [find_predictions(number, task, outputs) for number in numbers]
    runs = {one.name: one.source for one in found if not (task.runs(outputs) / "tune" / one.name / TRIALS).is_file()}
    if missing := [name for name, source in runs.items() if source != task.runs(outputs) / name]:
        what = f"not trained here on task {task.label}, so there is nothing to publish: {', '.join(missing)}"
        raise ValueError(f"{what}; what was published stays as it is. To train: {train_command(missing[0], task)}")


def publish(number: str, task: Task, outputs: Path, models: bool = False, labels: pd.Series | None = None) -> Path:
    """Copy a finished run to exp/expNNN/results or, if its task is not the default one, a folder in it; return it.

    Published results stay as they are, seconds included, if the run has the same out-of-fold predictions. Raises ValueError if
    those of other data are published. models: publish the fold models of a network too, with their own predictions; rows that are
    published already stay, since another type of machine rounds differently. labels: id -> target of the test rows; the scores on
    them are published for all but the default task, whose labels are in the repository.
    """
    name = experiment_name(number)
    if not is_default(task) and task.name == MODELS:
        raise ValueError(f"a task cannot be named {MODELS!r}, as the folder of published models is; rename {task.folder}")
    run, folder = task.runs(outputs) / name, published_folder(name, task)
    predictions = find_predictions(number, task, outputs)
    if predictions.source != folder:
        _publish(predictions, folder, {} if is_default(task) else _about(predictions, task, labels), keep_rows=models)
    if models:
        publish_models(RunDir(run), RunDir(folder / MODELS), len(predictions.metrics["fold_maes"]))
    if (trials := task.runs(outputs) / "tune" / name / TRIALS).is_file() and not (folder / TRIALS).is_file():
        write_atomic(folder / TRIALS, trials.read_bytes())
    return folder


def _about(predictions: Predictions, task: Task, labels: pd.Series | None) -> dict:
    """Return additions to the published metrics of a task outside the repository: metric, unit, scores on its labels."""
    about: dict = {"metric": task.metric, "unit": task.unit}
    if labels is None:
        return about
    test, (target, pred, _) = stack_test([predictions], list(labels.index))[:, 0], oof_arrays(predictions.oof)
    return about | {"test": scores(labels.to_numpy(), test, task.metric, known=(target, pred))}


def _publish(predictions: Predictions, folder: Path, about: dict, keep_rows: bool) -> None:
    """Write the results of a run; if its out-of-fold predictions are published already, only add what is new in `about`."""
    metrics, path = predictions.metrics, folder / names.METRICS_FILE
    if path.is_file():
        published = read_json(path, METRICS_KINDS | {"data": str})
        if not same_data(published["data"], metrics["data"]):
            raise ValueError(
                f"{predictions.source} was trained on other data than the results in {shown(folder)}; "
                "to replace these, remove that folder first"
            )
        is_same = read_id_table(folder / "oof.csv.gz", OOF_COLUMNS).equals(predictions.oof)
        if is_same and not about.items() <= published.items():
            write_json(path, metrics | published | about)
        if is_same or keep_rows:
            return
    write_csv(folder / "oof.csv.gz", predictions.oof)
    if not metrics.get(NO_TEST):
        write_csv(folder / "test.csv.gz", predictions.test)
    write_json(path, metrics | about)


def publish_models(run: RunDir, target: RunDir, n_folds: int) -> None:
    """Copy what predictions need: config, training crystals, the models' own predictions, and each fold's weights, settings and
    normaliser.

    Raises ValueError if the run has no networks, or if they are too large; nothing is written then.
    """
    if missing := [path for path in (run.config_path, run.training_path) if not path.is_file()]:
        raise FileNotFoundError(f"{missing[0]} is missing, so its models are not there; train the experiment first")
    files = {target.config_path: run.config_path.read_bytes(), target.training_path: run.training_path.read_bytes()}
    for k in range(n_folds):
        files |= _fold_files(run.fold(k), target.fold(k))
    for path in (run.path / "oof.csv", run.path / "test.csv"):
        if path.is_file():
            compressed = target.path / f"{path.name}.gz"
            files[compressed] = packed(compressed, path.read_bytes())
    if (size := sum(map(len, files.values()))) > MAX_BYTES:
        raise ValueError(f"{run.path}: its models have {size} bytes; at most {MAX_BYTES} are published")
    for path, content in files.items():
        write_atomic(path, content)


def _fold_files(source: Path, target: Path) -> dict[Path, bytes]:
    """Return the files of a fold; its learner.json has the SHA-256 of both files of weights."""
    from safetensors.numpy import load, save  # takes a while to import

    if not (source / WEIGHTS).is_file():
        raise ValueError(f"{source} has no {WEIGHTS}: only models of networks that are trained here are published")
    settings = read_json(source / "learner.json", {"config": dict, "sha256": str})
    content = (source / WEIGHTS).read_bytes()
    if hashlib.sha256(content).hexdigest() != settings["sha256"]:
        raise ValueError(f"{source / WEIGHTS} was changed: its SHA-256 is not that in learner.json; {remedy(source / WEIGHTS)}")
    weights = load(content)
    shared, own = save({COMMON: weights.pop(COMMON)}), save(weights)
    settings |= {"sha256": hashlib.sha256(own).hexdigest(), "shared_sha256": hashlib.sha256(shared).hexdigest()}
    return {
        target.parent / SHARED: shared,
        target / WEIGHTS: own,
        target / "learner.json": (json.dumps(settings, indent=1) + "\n").encode(),
        target / "normalizer.json": (source / "normalizer.json").read_bytes(),
    }
