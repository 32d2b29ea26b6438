"""Sends finished folds to a tracker: settings, figures of each epoch, files. Off unless asked for; learners are unaware of it."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from src.config import ExperimentConfig
from src.results.folder import RunDir

Tracker = Literal["tensorboard", "mlflow"]
FILES = ("metrics.json", "oof.csv", "test.csv", "config.json")


def track_run(tracker: Tracker, config: ExperimentConfig, run: RunDir, metrics: dict | None, folder: Path) -> None:
    """Writes all finished folds of a run, from their history.csv, under the experiment's name.

    metrics: of the whole run, None where folds are missing. folder: the tracker's local store.
    Raises ValueError where the tracker is not installed.
    """
    settings, folds = dict(flat_settings(config)), finished_folds(run, config.folds.n_folds)
    try:
        if tracker == "tensorboard":
            _to_tensorboard(run.path.name, settings, folds, metrics, folder)
        else:
            _to_mlflow(run, settings, folds, metrics, folder)
    except ModuleNotFoundError as error:
        raise ValueError(f"--tracker {tracker}: {error.name} is not installed; pip install -r requirements-extra.txt") from error


def flat_settings(config: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every knob with its path, `learner.training.lr` for instance."""
    for field in fields(config):
        value, name = getattr(config, field.name), f"{prefix}{field.name}"
        if is_dataclass(value):
            yield name, type(value).__name__
            yield from flat_settings(value, f"{name}.")
        else:
            yield name, str(value)


def finished_folds(run: RunDir, n_folds: int) -> dict[int, pd.DataFrame]:
    """history.csv of each finished fold that has one; its first column is the unit of progress."""
    paths = {k: run.fold(k) / "history.csv" for k in range(n_folds) if run.fold_metrics(k)}
    return {k: pd.read_csv(path) for k, path in paths.items() if path.is_file()}


def _scalars(metrics: dict | None) -> dict[str, float]:
    return {name: float(value) for name, value in (metrics or {}).items() if isinstance(value, int | float)}


def _to_tensorboard(
    name: str, settings: dict[str, str], folds: dict[int, pd.DataFrame], metrics: dict | None, folder: Path
) -> None:
    from torch.utils.tensorboard import SummaryWriter

    for k, history in folds.items():
        with SummaryWriter(str(folder / name / f"fold_{k}")) as writer:
            for row in history.to_dict("records"):
                step, *figures = row.items()
                for figure, value in figures:
                    writer.add_scalar(figure, value, int(step[1]))
    with SummaryWriter(str(folder / name)) as writer:
        writer.add_text("config", "\n".join(f"    {knob} = {value}" for knob, value in settings.items()))
        for figure, value in _scalars(metrics).items():
            writer.add_scalar(figure, value)


def _to_mlflow(run: RunDir, settings: dict[str, str], folds: dict[int, pd.DataFrame], metrics: dict | None, folder: Path) -> None:
    import mlflow

    folder.mkdir(parents=True, exist_ok=True)
    mlflow.set_tracking_uri(f"sqlite:///{(folder / 'mlflow.db').resolve()}")
    if mlflow.get_experiment_by_name(run.path.name) is None:  # files would go to the working directory
        mlflow.create_experiment(run.path.name, artifact_location=(folder / "artifacts").resolve().as_uri())
    mlflow.set_experiment(run.path.name)
    with mlflow.start_run(run_name=run.path.name):
        mlflow.log_params(settings)
        for k, history in folds.items():
            for row in history.to_dict("records"):
                step, *figures = row.items()
                mlflow.log_metrics({f"fold_{k}/{figure}": value for figure, value in figures}, step=int(step[1]))
        mlflow.log_metrics(_scalars(metrics))
        for name in FILES:
            if (run.path / name).is_file():
                mlflow.log_artifact(str(run.path / name))
