"""One fold: trains on all others' crystals, predicts its own and the test crystals, writes its files."""

import platform
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from src.config import ExperimentConfig, GnnConfig
from src.data.table import Crystals
from src.data.target import TargetNormalizer
from src.learners import distributed
from src.learners.learner import DivergedError, Inputs, Watched
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
class FoldJob:
    """Everything that a fold needs, in a form that travels to another process; large arrays travel as paths."""

    config: ExperimentConfig
    run: RunDir
    fold_of_crystal: NDArray[np.int64]
    ids: NDArray[np.str_]
    e_form: NDArray[np.float64]
    crystals: Crystals
    base: NDArray[np.float64]
    inputs: Inputs
    test_ids: NDArray[np.str_]
    test_crystals: Crystals
    test_base: NDArray[np.float64]
    test_inputs: Inputs
    device: str
    word2vec: Path | None


def run_fold(job: FoldJob, k: int) -> None:
    """Trains fold k and writes its artifacts, the metrics last; where processes train together, the main one writes.

    Raises FloatingPointError that names the crystals where the training diverges.
    """
    device = job.device
    if isinstance(job.config.trained, GnnConfig):
        import torch

        device = distributed.device_of(job.device, k, torch.cuda.device_count())
        if device == "cpu":
            torch.set_num_threads(1)  # folds run beside each other, and one thread makes the same numbers everywhere
    wall, cpu = time.perf_counter(), time.process_time()
    folder = job.run.fold(k)
    folder.mkdir(parents=True, exist_ok=True)
    resumed = bool(job.run.checkpoints(k))
    train, valid = np.flatnonzero(job.fold_of_crystal != k), np.flatnonzero(job.fold_of_crystal == k)
    counts, base = job.crystals.element_counts, job.base
    normalizer = TargetNormalizer.fit(counts[train], job.e_form[train], job.config.target, base[train])
    residual = normalizer.normalize(counts, job.e_form, base)
    learner = make_learner(job.config.trained, job.config.seed + k, device, job.word2vec)
    try:
        learner.fit(job.inputs[train], residual[train], folder, Watched(job.inputs[valid], residual[valid]))
    except DivergedError as error:
        raise FloatingPointError(error.describe(job.ids[train][error.rows].tolist())) from error
    predicted = normalizer.denormalize(counts[valid], learner.predict(job.inputs[valid]), base[valid])
    test_values = learner.predict(job.test_inputs[np.arange(len(job.test_ids))])
    test_pred = normalizer.denormalize(job.test_crystals.element_counts, test_values, job.test_base)
    metrics = {
        **scores(job.e_form[valid], predicted),
        "n_train": len(train),
        "n_valid": len(valid),
        "n_parameters": learner.n_parameters,
        "wall_seconds": time.perf_counter() - wall,
        "cpu_seconds": distributed.total_of(time.process_time() - cpu),
        "resumed": resumed,  # then the seconds are those behind the interruption only
        "versions": versions(),
    }
    if distributed.is_main():
        write_json(folder / "normalizer.json", normalizer.to_json())
        learner.save(folder)
        oof = pd.DataFrame(dict(zip(OOF_COLUMNS, (job.ids[valid], k, job.e_form[valid], predicted), strict=True)))
        job.run.write_fold(k, oof, pd.DataFrame({"id": job.test_ids, "e_form_pred": test_pred}), metrics)
    distributed.wait()  # so that no process takes the fold for unfinished


def versions() -> dict[str, str]:
    """Of everything that predictions depend on."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
