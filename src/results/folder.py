"""Names, formats and checks of the files of a run in outputs/ and of published results."""

import contextlib
import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from src.config import ExperimentConfig, from_dict, to_dict
from src.paths import EXPERIMENTS
from src.storage import names
from src.storage.files import RESULTS, locked, read_id_table, read_json, remedy, write_csv, write_json

log = logging.getLogger(__name__)
Values = NDArray[np.float64]
NUMBER = (int, float)
Kinds = dict[str, type | tuple[type, ...]]
FOLD_METRICS: Kinds = {
    "mae": NUMBER,
    "n_parameters": int,
    "cpu_seconds": NUMBER,
    "wall_seconds": NUMBER,
    "resumed": bool,
    "versions": dict,
}
METRICS_KINDS: Kinds = {
    "oof_mae": NUMBER,
    "fold_maes": list,
    "fold_mae_sd": NUMBER,
    "n_parameters": int,
    "cpu_seconds": NUMBER,
    "fold_wall_seconds": list,
}
ROUNDING = 1e-6  # or this share of it; the stored score and that of the stored rows differ only by rounding
NO_TEST = "no_test_table"  # in metrics.json of a run on a task without one
UNREAD = "test_rows_unread"  # in metrics.json: ids of test rows whose structure cannot be read
OOF_COLUMNS = ["id", "fold", "e_form", "e_form_pred"]


def oof_arrays(oof: pd.DataFrame) -> tuple[Values, Values, NDArray[np.int64]]:
    """Return truth, prediction and fold of each row of out-of-fold predictions, (n_rows,) each."""
    target, pred, fold = (oof[column].to_numpy() for column in ("e_form", "e_form_pred", "fold"))
    return target, pred, fold


def check_score(path: Path, table: pd.DataFrame, mae: float) -> None:
    """Raise ValueError if the rows of a file do not have the MAE in metrics.json."""
    found = float(np.abs(table["e_form"] - table["e_form_pred"]).mean())
    if not abs(found - mae) <= ROUNDING * max(1.0, mae):
        raise ValueError(
            f"{path}: its rows have an MAE of {found:.6f}, metrics.json says {mae:.6f}; one was edited: {remedy(path)}"
        )


@dataclass(frozen=True)
class RunDir:
    """The folder of one experiment on one task."""

    path: Path

    @property
    def config_path(self) -> Path:
        """Path of the config that the run was started with."""
        return self.path / "config.json"

    @property
    def training_path(self) -> Path:
        """Path of the description of the training crystals, see src/features/similarity.py."""
        return self.path / "training.npz"

    @property
    def difficulty_path(self) -> Path:
        """Path of the trees that predict the difficulty of crystals, see src/results/trees.py; only published models have it."""
        return self.path / "difficulty.npz"

    def weights(self, k: int) -> Path:
        """Return the path of the members' weights in fold k of an ensemble."""
        return self.fold(k) / "weights.json"

    def fold(self, k: int) -> Path:
        """Return the folder of fold k."""
        return self.path / f"fold_{k}"

    def fold_metrics(self, k: int) -> dict | None:
        """Return the metrics of a finished fold, None if it is not finished."""
        path = self.fold(k) / names.METRICS_FILE
        return read_json(path, FOLD_METRICS) if path.is_file() else None

    @property
    def finished(self) -> list[int]:
        """Numbers of the finished folds."""
        return sorted(int(path.parent.name.removeprefix("fold_")) for path in self.path.glob(f"fold_*/{names.METRICS_FILE}"))

    def is_finished(self, k: int) -> bool:
        """Return whether fold k has its metrics, which are written last."""
        return (self.fold(k) / names.METRICS_FILE).is_file()

    def valid(self, k: int) -> pd.DataFrame:
        """Return the predictions of a finished fold for its own crystals; raise ValueError if they do not have its MAE."""
        path, metrics = self.fold(k) / "valid.csv", self.fold_metrics(k) or {}
        table = read_id_table(path, OOF_COLUMNS)
        check_score(path, table, metrics["mae"])
        return table

    def checkpoints(self, k: int) -> list[Path]:
        """Return the checkpoints of a network's training stages, which stay until the fold is finished."""
        return list(self.fold(k).rglob(names.CHECKPOINT))

    @contextlib.contextmanager
    def training(self, folds: list[int]) -> Iterator[None]:
        """Keep other processes out of these folds while the block runs; first remove what killed ones left in them."""
        with contextlib.ExitStack() as stack:
            for k in folds:
                held = f"fold {k} is being trained already: wait for it, or name other folds with --folds"
                stack.enter_context(locked(self.fold(k) / ".lock", held))
                for left in self.fold(k).rglob(".*-*"):
                    left.unlink(missing_ok=True)
            yield

    def claimed(self) -> dict:
        """Return what `claim` wrote: the run's config, and the keys of its data and of the user's word2vec file."""
        path = self.config_path
        stored = read_json(path, {"config": dict, "data": str, "word2vec": str})
        try:
            return stored | {"config": from_dict(stored["config"])}
        except ValueError as error:
            raise ValueError(f"{path}: {error}; {remedy(path)}") from error

    def claim(self, config: ExperimentConfig, data_key: str, word2vec: str) -> None:
        """Write the run's config, and remove the unfinished folds of a draft that had another one.

        Raises ValueError if the run, with another config, other data or another word2vec, has a finished fold or is published.
        """
        path, own = self.config_path, {"config": config, "data": data_key, "word2vec": word2vec}
        if path.is_file():
            stored = self.claimed()
            if not (changed := [part for part in own if stored[part] != own[part]]):
                return
            begun = [int(folder.name.removeprefix("fold_")) for folder in self.path.glob("fold_*")]
            if any(map(self.is_finished, begun)) or (EXPERIMENTS / self.path.name / RESULTS).exists():
                raise ValueError(
                    f"{path} was written with another {changed[0]}. An experiment never changes: give the new one a new number, "
                    f"or remove {self.path} to train it again"
                )
            with self.training(begun):
                for k in begun:
                    shutil.rmtree(self.fold(k))
            log.info("%s starts over: no fold was finished with the earlier %s", self.path.name, " and ".join(changed))
        write_json(path, own | {"config": to_dict(config)})

    def write_fold(self, k: int, valid: pd.DataFrame, test: pd.DataFrame | None, metrics: dict) -> None:
        """Write a fold's predictions and then its metrics, which mark it as finished.

        valid: OOF_COLUMNS. test: id, e_form_pred; None if there is no test table. Both may have `spread`, the
        standard deviation over the members of an ensemble or of a network's training.
        """
        write_csv(self.fold(k) / "valid.csv", valid)
        if test is not None:
            write_csv(self.fold(k) / "test.csv", test)
        write_json(self.fold(k) / names.METRICS_FILE, metrics)
        for path in self.checkpoints(k):
            path.unlink(missing_ok=True)
