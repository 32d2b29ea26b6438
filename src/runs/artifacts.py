"""RunDir: names, formats and guards of everything that a run leaves in outputs/, and of what an experiment publishes."""

import contextlib
import hashlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from src.config import BlendConfig, ExperimentConfig, StudyConfig, check_kinds, from_dict, to_dict, track
from src.files import locked, read_json, write_csv, write_json
from src.runs.stored import FOLD_METRICS, METRICS, check_score, read_csv, remedy

ROOT = Path(__file__).resolve().parents[2]
INPUT, OUTPUTS, EXPERIMENTS = ROOT / "input", ROOT / "outputs", ROOT / "exp"
DEFAULT_TASK = INPUT / "flla"
MAT2VEC = INPUT / "mat2vec" / "pretrained_embeddings"
OOF_COLUMNS = ["id", "fold", "e_form", "e_form_pred"]


def experiment_name(number: str) -> str:
    """'12' or '012' or 'exp012' -> 'exp012'; ValueError for anything else."""
    digits = number.removeprefix("exp")
    if not digits.isdecimal() or len(digits) > 3:
        raise ValueError(f"{number!r} is not the number of an experiment, 012 for instance")
    return f"exp{int(digits):03d}"


def load_config(folder: Path) -> ExperimentConfig | StudyConfig:
    """CONFIG of exp/expNNN/config.py."""
    path = folder / "config.py"
    spec = importlib.util.spec_from_file_location(f"{folder.name}_config", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # a config is Python: whatever is wrong with it is its author's to see
        raise ValueError(f"{path}: {type(error).__name__}: {error}") from error
    config = getattr(module, "CONFIG", None)
    if not isinstance(config, ExperimentConfig | StudyConfig):
        raise ValueError(f"{path}: CONFIG is neither an ExperimentConfig nor a StudyConfig")
    try:
        check_kinds(config)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return config


def track_of(number: str) -> Literal["closed", "open"]:
    """The track of an experiment in exp/: `open` where it or, in an ensemble, any member is."""
    config = load_config(EXPERIMENTS / experiment_name(number))
    if isinstance(config, StudyConfig):
        parts = [track(experiment) for _, experiment in config.variants]
    elif isinstance(config.learner, BlendConfig):
        parts = [track_of(member) for member in config.learner.members]
    else:
        parts = [track(config)]
    return "open" if "open" in parts else "closed"


def shown(path: Path) -> Path:
    """A path for people: relative to the repository where it lies inside."""
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def word2vec_key(word2vec: Path | None) -> str:
    """Identifies the vectors that mat2vec is taken from: a user's file with its side files, or the packaged table."""
    if word2vec is None:
        return "packaged"
    digest = hashlib.sha256()
    for path in sorted(word2vec.parent.glob(f"{word2vec.name}*")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class RunDir:
    """The folder of one experiment on one task."""

    path: Path

    @property
    def metrics_path(self) -> Path:
        return self.path / "metrics.json"

    def fold(self, k: int) -> Path:
        return self.path / f"fold_{k}"

    def fold_metrics(self, k: int) -> dict | None:
        """What a finished fold has written last; None where it is not finished."""
        path = self.fold(k) / "metrics.json"
        return read_json(path, FOLD_METRICS, remedy(path)) if path.is_file() else None

    def is_finished(self, k: int) -> bool:
        return (self.fold(k) / "metrics.json").is_file()

    def checkpoints(self, k: int) -> list[Path]:
        """Where the stages of a network's training keep their state until the fold is finished."""
        return list(self.fold(k).rglob("checkpoint.pt"))

    @contextlib.contextmanager
    def training(self, folds: list[int]) -> Iterator[None]:
        """Keeps other processes from these folds while the block runs, and removes what killed ones left in them."""
        with contextlib.ExitStack() as stack:
            for k in folds:
                held = f"fold {k} is being trained already: wait for it, or name other folds with --folds"
                stack.enter_context(locked(self.fold(k) / ".lock", held))
                for left in self.fold(k).rglob(".*-*"):
                    left.unlink(missing_ok=True)
            yield

    def claim(self, config: ExperimentConfig, data_key: str, word2vec: str) -> None:
        """Writes the run's config, or stops where the folder holds a run of another config, other data or another word2vec."""
        path = self.path / "config.json"
        if path.is_file():
            way_out = f"restore it, or remove {self.path} to run it anew"
            stored = read_json(path, {"config": dict, "data": str, "word2vec": str}, way_out)
            try:
                stored_config = from_dict(stored["config"])
            except ValueError as error:
                raise ValueError(f"{path}: {error}; {way_out}") from error
            same = {
                "config": stored_config == config,
                "data": stored["data"] == data_key,
                "word2vec": stored["word2vec"] == word2vec,
            }
            for part, is_same in same.items():
                if not is_same:
                    raise ValueError(
                        f"{path} was written with another {part}. An experiment never changes: give the new one a new number, "
                        f"or remove {self.path} to run it anew"
                    )
            return
        write_json(path, {"config": to_dict(config), "data": data_key, "word2vec": word2vec})

    def write_fold(self, k: int, valid: pd.DataFrame, test: pd.DataFrame, metrics: dict) -> None:
        """Writes a fold's predictions; its metrics come last and mark it as finished.

        valid: OOF_COLUMNS. test: id, e_form_pred. Both may have `spread`, of an ensemble's members.
        """
        write_csv(self.fold(k) / "valid.csv", valid)
        write_csv(self.fold(k) / "test.csv", test)
        write_json(self.fold(k) / "metrics.json", metrics)
        for path in self.checkpoints(k):
            path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Predictions:
    """What a finished experiment leaves behind, and where it was read from.

    oof: columns id, fold, e_form, e_form_pred. test: id, fold_0 ..., e_form_pred. An ensemble adds `spread` and `spread_0` ...:
    the standard deviation over its members.
    """

    name: str
    source: Path
    oof: pd.DataFrame
    test: pd.DataFrame
    metrics: dict


def find_predictions(number: str, task_name: str, outputs: Path = OUTPUTS) -> Predictions:
    """The predictions of a finished experiment: from outputs/ where it is finished there, else from what is published in exp/."""
    name = experiment_name(number)
    run = outputs / task_name / name
    published = EXPERIMENTS / name / "results"
    if (run / "metrics.json").is_file():
        source, ending = run, ".csv"
    elif task_name == DEFAULT_TASK.name and (published / "metrics.json").is_file():
        source, ending = published, ".csv.gz"
    elif (EXPERIMENTS / name).is_dir():
        done = len(list(run.glob("fold_*/metrics.json")))
        raise FileNotFoundError(f"{name} is not finished on task {task_name} ({done} folds are); run: python exp/{name}/train.py")
    else:
        raise FileNotFoundError(f"there is no experiment {name} in {EXPERIMENTS}")
    metrics = read_json(source / "metrics.json", METRICS, remedy(source / "metrics.json"))
    oof = read_csv(source / f"oof{ending}", OOF_COLUMNS)
    check_score(source / f"oof{ending}", oof, metrics["oof_mae"])
    return Predictions(name, source, oof, read_csv(source / f"test{ending}", ["id", "e_form_pred"]), metrics)


def publish(number: str, outputs: Path = OUTPUTS) -> Path:
    """Copies a finished run of the default task to exp/expNNN/results; returns that folder."""
    predictions = find_predictions(number, DEFAULT_TASK.name, outputs)
    folder = EXPERIMENTS / predictions.name / "results"
    if predictions.source != folder:
        write_csv(folder / "oof.csv.gz", predictions.oof)
        write_csv(folder / "test.csv.gz", predictions.test)
        write_json(folder / "metrics.json", predictions.metrics)
    return folder
