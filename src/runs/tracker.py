"""Send finished folds to a tracker: settings, figures of each epoch, files. Learners know nothing about it."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from importlib.util import find_spec
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import pandas as pd

from src.config import ExperimentConfig
from src.results.folder import RunDir
from src.storage import names

Rows = Iterator[tuple[str, int, dict[str, float]]]
RUN_FILES = (names.METRICS_FILE, "oof.csv", "test.csv", "config.json")


def check_tracker(tracker: str) -> None:
    """Raise ValueError if the tracker is not installed."""
    if find_spec(tracker) is None:
        raise ValueError(f'--tracker {tracker}: {tracker} is not installed; pip install -e ".[extra]"')


def track_run(tracker: str, config: ExperimentConfig, run: RunDir, metrics: dict | None, folder: Path) -> None:
    """Send the histories of all finished folds of a run, under the name of the experiment.

    metrics: of the whole run; None if folds are missing. folder: the tracker's local store.
    """
    send = _to_tensorboard if tracker == "tensorboard" else _to_mlflow
    scores = {name: float(value) for name, value in (metrics or {}).items() if isinstance(value, int | float)}
    send(run, dict(flat_settings(config)), _figures(run), scores, folder)


def flat_settings(config: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield every knob and its value by its path, `learner.training.lr` for instance."""
    for field in fields(config):
        value, name = getattr(config, field.name), f"{prefix}{field.name}"
        if is_dataclass(value):
            yield name, type(value).__name__
            yield from flat_settings(value, f"{name}.")
        else:
            yield name, str(value)


def _figures(run: RunDir) -> Rows:
    """Yield each row of the history of each finished fold: `fold_0`, epoch or number of trees, figures."""
    for folder in sorted(path.parent for path in run.path.glob(f"fold_*/{names.METRICS_FILE}")):
        if (path := folder / names.HISTORY).is_file():
            for step, figures in pd.read_csv(path, index_col=0).to_dict("index").items():
                yield folder.name, int(step), figures


def _to_tensorboard(run: RunDir, settings: dict[str, str], rows: Rows, scores: dict[str, float], folder: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    for fold, of_fold in groupby(rows, itemgetter(0)):
        with SummaryWriter(str(folder / run.path.name / fold)) as writer:
            for _, step, figures in of_fold:
                for figure, value in figures.items():
                    writer.add_scalar(figure, value, step)
    with SummaryWriter(str(folder / run.path.name)) as writer:
        writer.add_text("config", "\n".join(f"    {knob} = {value}" for knob, value in settings.items()))
        for figure, value in scores.items():
            writer.add_scalar(figure, value)


def _to_mlflow(run: RunDir, settings: dict[str, str], rows: Rows, scores: dict[str, float], folder: Path) -> None:
    import mlflow

    folder.mkdir(parents=True, exist_ok=True)
    mlflow.set_tracking_uri(f"sqlite:///{(folder / 'mlflow.db').resolve()}")
    if mlflow.get_experiment_by_name(run.path.name) is None:  # files would go to the working directory
        mlflow.create_experiment(run.path.name, artifact_location=(folder / "artifacts").resolve().as_uri())
    mlflow.set_experiment(run.path.name)
    with mlflow.start_run(run_name=run.path.name):
        mlflow.log_params(settings)
        for fold, step, figures in rows:
            mlflow.log_metrics({f"{fold}/{figure}": value for figure, value in figures.items()}, step=step)
        mlflow.log_metrics(scores)
        for name in RUN_FILES:
            if (run.path / name).is_file():
                mlflow.log_artifact(str(run.path / name))
