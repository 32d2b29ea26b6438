"""Send finished folds to a tracker: settings, figures of each epoch, files. Learners know nothing about it."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from src.config import ExperimentConfig
from src.results.folder import RunDir
from src.storage import names

FILES = (names.METRICS, "oof.csv", "test.csv", "config.json")


def check_tracker(tracker: str) -> None:
    """Raise ValueError if the tracker is not installed."""
    if find_spec(tracker) is None:
        raise ValueError(f'--tracker {tracker}: {tracker} is not installed; pip install -e ".[extra]"')


def track_run(tracker: str, config: ExperimentConfig, run: RunDir, metrics: dict | None, folder: Path) -> None:
    """Send the histories of all finished folds of a run, under the name of the experiment.

    metrics: of the whole run; None if folds are missing. folder: the tracker's local store.
    """
    settings, folds = dict(flat_settings(config)), finished_folds(run)
    send = _to_tensorboard if tracker == "tensorboard" else _to_mlflow
    send(run, settings, folds, metrics, folder)


def flat_settings(config: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield every knob and its value by its path, `learner.training.lr` for instance."""
    for field in fields(config):
        value, name = getattr(config, field.name), f"{prefix}{field.name}"
        if is_dataclass(value):
            yield name, type(value).__name__
            yield from flat_settings(value, f"{name}.")
        else:
            yield name, str(value)


def finished_folds(run: RunDir) -> dict[int, pd.DataFrame]:
    """Return the history of each finished fold that has one; its first column is the unit of progress."""
    finished = sorted(int(path.parent.name.removeprefix("fold_")) for path in run.path.glob(f"fold_*/{names.METRICS}"))
    paths = {k: run.fold(k) / names.HISTORY for k in finished}
    return {k: pd.read_csv(path) for k, path in paths.items() if path.is_file()}


def _scalars(metrics: dict | None) -> dict[str, float]:
    return {name: float(value) for name, value in (metrics or {}).items() if isinstance(value, int | float)}


def _to_tensorboard(
    run: RunDir, settings: dict[str, str], folds: dict[int, pd.DataFrame], metrics: dict | None, folder: Path
) -> None:
    from torch.utils.tensorboard import SummaryWriter

    folder = folder / run.path.name
    for k, history in folds.items():
        with SummaryWriter(str(folder / f"fold_{k}")) as writer:
            for row in history.to_dict("records"):
                step, *figures = row.items()
                for figure, value in figures:
                    writer.add_scalar(figure, value, int(step[1]))
    with SummaryWriter(str(folder)) as writer:
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
