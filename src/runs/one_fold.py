"""One fold: train on the crystals of all others, predict its own and the test crystals, write its files."""

import platform
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from src.config import ExperimentConfig
from src.data.table import CrystalTable
from src.data.target import TargetNormalizer
from src.learners.device import device_of
from src.learners.learner import DivergedError, Inputs, Learner, Watched, make_learner
from src.results.folder import OOF_COLUMNS, RunDir
from src.results.metrics import scores
from src.storage.cache import installed_version
from src.storage.files import named, write_json

LIBRARIES = (
    "torch", "numba", "numpy", "lightgbm", "scikit-learn", "pymatgen-core", "matminer", "gensim", "ElementEmbeddings",
    "moyopy", "scipy", "lion-pytorch", "torch-geometric", "sevenn",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Rows:
    """A table and everything that is computed from it once for all folds.

    base: (n_rows,), eV/atom, energies of the target's base. inputs: of the learner.
    """

    table: CrystalTable
    base: NDArray[np.float64]
    inputs: Inputs


@dataclass(frozen=True, eq=False)
class FoldJob:
    """Everything that a fold needs, in a form that travels to another process; large arrays travel as paths.

    fold_of_crystal: (n_train,). test: None if the task has no test table.
    """

    config: ExperimentConfig
    run: RunDir
    fold_of_crystal: NDArray[np.int64]
    train: Rows
    test: Rows | None
    device: str
    word2vec: Path | None


def run_fold(job: FoldJob, k: int) -> str | None:
    """Train fold k and write its files, the metrics last. Return None, or how it diverged and on which crystals."""
    wall, cpu = time.perf_counter(), time.process_time()
    folder = job.run.fold(k)  # made with its lock
    resumed = bool(job.run.checkpoints(k))
    table, inputs, base = job.train.table, job.train.inputs, job.train.base
    counts, target = table.crystals.element_counts, table.targets
    train = np.flatnonzero(job.fold_of_crystal != k)
    valid = np.flatnonzero(job.fold_of_crystal == k)
    normalizer = TargetNormalizer.fit(counts[train], target[train], job.config.target, base[train])
    residual = normalizer.normalize(counts, target, base)
    learner = make_learner(job.config.trained, job.config.seed + k, device_of(job.device, k), job.word2vec)
    learner.limit_threads()
    try:
        with named(folder):
            learner.fit(inputs[train], residual[train], folder, Watched(inputs[valid], residual[valid]))
    except DivergedError as error:
        return error.describe(table.ids[train[error.rows]].tolist())
    predicted = _predict(job.train, valid, learner, normalizer)
    test = None if job.test is None else _predict(job.test, np.arange(len(job.test.table.ids)), learner, normalizer)
    metrics = {
        **scores(target[valid], predicted["e_form_pred"].to_numpy()),
        "n_train": len(train),
        "n_valid": len(valid),
        "n_parameters": learner.n_parameters,
        "wall_seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - cpu,
        "resumed": resumed,  # the seconds are then those since the interruption
        "gpus": [learner.gpu] if learner.gpu else [],
        "versions": versions(),
    }
    write_json(folder / "normalizer.json", normalizer.to_json())
    learner.save(folder)
    oof = predicted.assign(fold=k, e_form=target[valid])
    job.run.write_fold(k, oof[[*OOF_COLUMNS, *predicted.columns.difference(OOF_COLUMNS)]], test, metrics)
    return None


def _predict(rows: Rows, chosen: NDArray[np.integer], learner: Learner, normalizer: TargetNormalizer) -> pd.DataFrame:
    """Return id and e_form_pred of chosen rows of a table, and `spread` if the learner has several members."""
    counts, residuals = rows.table.crystals.element_counts[chosen], learner.predict_members(rows.inputs[chosen])
    mean, spread = normalizer.mean_and_spread(counts, residuals, rows.base[chosen])
    predicted = pd.DataFrame({"id": rows.table.ids[chosen], "e_form_pred": mean})
    return predicted.assign(spread=spread) if len(residuals) > 1 else predicted


def versions() -> dict[str, str]:
    """Return the versions of everything that predictions depend on."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    return found | {name: installed_version(name) or "not installed" for name in LIBRARIES}
