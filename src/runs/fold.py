"""One fold: train on the crystals of all others, predict its own and the test crystals, write its files."""

import platform
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from src.config import ExperimentConfig
from src.data.table import CrystalTable
from src.data.target import TargetNormalizer
from src.learners import distributed
from src.learners.learner import DivergedError, Inputs, Learner, Values, Watched
from src.learners.make import make_learner
from src.results.folder import OOF_COLUMNS, RunDir
from src.results.metrics import scores
from src.storage.files import write_json

LIBRARIES = (
    "torch",
    "e3nn",
    "numba",
    "numpy",
    "lightgbm",
    "scikit-learn",
    "pymatgen-core",
    "matminer",
    "gensim",
    "ElementEmbeddings",
    "moyopy",
    "scipy",
    "lion-pytorch",
    "chgnet",
)


@dataclass(frozen=True, eq=False)
class Rows:
    """A table and what is computed from it once for all folds.

    base: (n_rows,), eV/atom, energies of the target's base. inputs: of the learner.
    """

    table: CrystalTable
    base: NDArray[np.float64]
    inputs: Inputs


@dataclass(frozen=True, eq=False)
class FoldJob:
    """Everything that a fold needs, in a form that travels to another process; large arrays travel as paths.

    fold_of_crystal: (n_train,).
    """

    config: ExperimentConfig
    run: RunDir
    fold_of_crystal: NDArray[np.int64]
    train: Rows
    test: Rows
    device: str
    word2vec: Path | None


class TrainedFold(NamedTuple):
    """A fitted learner and its predictions, eV/atom. cpu_seconds: of all processes that trained it."""

    learner: Learner
    normalizer: TargetNormalizer
    valid_pred: Values
    test_pred: Values
    cpu_seconds: float


def run_fold(job: FoldJob, k: int) -> str | None:
    """Train fold k and write its files, the metrics last. Return None, or how it diverged and on which crystals."""
    start, folder = time.perf_counter(), job.run.fold(k)
    folder.mkdir(parents=True, exist_ok=True)
    resumed = bool(job.run.checkpoints(k))
    table, valid = job.train.table, job.fold_of_crystal == k
    try:
        trained = distributed.everywhere(train_fold, job, k)
    except DivergedError as error:
        return error.describe(table.ids[~valid][error.rows].tolist())
    metrics = {
        **scores(table.targets[valid], trained.valid_pred),
        "n_train": int((~valid).sum()),
        "n_valid": int(valid.sum()),
        "n_parameters": trained.learner.n_parameters,
        "wall_seconds": time.perf_counter() - start,
        "cpu_seconds": trained.cpu_seconds,
        "resumed": resumed,  # the seconds are then those since the interruption
        "versions": versions(),
    }
    write_json(folder / "normalizer.json", trained.normalizer.to_json())
    trained.learner.save(folder)
    columns = (table.ids[valid], k, table.targets[valid], trained.valid_pred)
    oof = pd.DataFrame(dict(zip(OOF_COLUMNS, columns, strict=True)))
    test = pd.DataFrame({"id": job.test.table.ids, "e_form_pred": trained.test_pred})
    job.run.write_fold(k, oof, test, metrics)
    return None


def train_fold(job: FoldJob, k: int) -> TrainedFold:
    """Train fold k; only the learner writes, its checkpoints and histories. Raises DivergedError."""
    start = time.process_time()
    train, valid = np.flatnonzero(job.fold_of_crystal != k), np.flatnonzero(job.fold_of_crystal == k)
    counts, e_form, base = job.train.table.crystals.element_counts, job.train.table.targets, job.train.base
    normalizer = TargetNormalizer.fit(counts[train], e_form[train], job.config.target, base[train])
    residual = normalizer.normalize(counts, e_form, base)
    device = distributed.device_of(job.device, k)
    learner = make_learner(job.config.trained, job.config.seed + k, device, job.word2vec)
    learner.limit_threads()
    inputs, own = job.train.inputs, job.train.inputs[valid]
    learner.fit(inputs[train], residual[train], job.run.fold(k), Watched(own, residual[valid]))
    valid_pred = normalizer.denormalize(counts[valid], learner.predict(own), base[valid])
    test = job.test
    test_residual = learner.predict(test.inputs[np.arange(len(test.table.ids))])
    test_pred = normalizer.denormalize(test.table.crystals.element_counts, test_residual, test.base)
    seconds = distributed.total_of(time.process_time() - start)
    return TrainedFold(learner, normalizer, valid_pred, test_pred, seconds)


def versions() -> dict[str, str]:
    """Return the versions of everything that predictions depend on."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
