"""Folds x learner -> out-of-fold predictions, test predictions, metrics."""

import logging
import platform
import time
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from src.config import BlendConfig, ExperimentConfig, GnnConfig
from src.data.table import Crystals
from src.data.target import TargetNormalizer
from src.features.potential import base_energies
from src.files import write_csv, write_json
from src.learners import parallel
from src.learners.learner import DivergedError, Inputs, Watched, histories, make_learner, prepare_inputs
from src.runs.artifacts import MAT2VEC, OOF_COLUMNS, RunDir, word2vec_key
from src.runs.ensemble import write_ensemble
from src.runs.launch import Launcher, Work, run_all
from src.runs.metrics import scores
from src.runs.stored import check_score, read_csv
from src.runs.task_data import TaskData, load_folds

log = logging.getLogger(__name__)
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


def run_experiment(
    config: ExperimentConfig, name: str, data: TaskData, folds: list[int] | None, launcher: Launcher, device: str
) -> dict | None:
    """Trains the folds that are not finished; once all are, writes oof.csv, test.csv, metrics.json and returns the metrics."""
    run = RunDir(data.folder / name)
    word2vec = MAT2VEC if MAT2VEC.is_file() else None
    with parallel.main_first():
        run.claim(config, data.key, word2vec_key(word2vec))
    if isinstance(config.learner, BlendConfig):
        write_ensemble(config.learner, run, data, load_folds(data, config.folds), _versions())
        return collect(config, run, data)
    wanted = list(range(config.folds.n_folds)) if folds is None else sorted(set(folds))
    for k in wanted:
        if not 0 <= k < config.folds.n_folds:
            raise ValueError(f"there is no fold {k}; {name} has {config.folds.n_folds}")
    to_do = [k for k in wanted if not run.is_finished(k)]
    log.info("%s on %s: folds %s finished, %s to do", name, data.task.name, sorted(set(wanted) - set(to_do)), to_do)
    if to_do:
        with run.training(to_do) if parallel.is_main() else nullcontext():
            with parallel.main_first():
                job = _make_job(config, data, run, launcher, device, word2vec)
            files = histories(config.trained) if parallel.is_main() else {}  # one bar is enough
            growing = {run.fold(k) / file: n for k in to_do for file, n in files.items()}
            run_all(Work(name, run_fold, job, run.is_finished, growing, to_do), launcher)
    if not parallel.is_main():
        return None
    missing = [k for k in range(config.folds.n_folds) if not run.is_finished(k)]
    if missing:
        log.info("%s: folds %s are still to do; oof.csv and test.csv come after the last", name, missing)
        return None
    return collect(config, run, data)


def _make_job(
    config: ExperimentConfig, data: TaskData, run: RunDir, launcher: Launcher, device: str, word2vec: Path | None
) -> FoldJob:
    inputs, test_inputs = (
        prepare_inputs(config.trained, table.crystals, key, data.cache, launcher.n_local, word2vec)
        for table, key in ((data.train, data.train_key), (data.test, data.test_key))
    )
    base, test_base = (
        base_energies(config.target, table.crystals, key, data.cache, launcher.n_local)
        for table, key in ((data.train, data.train_key), (data.test, data.test_key))
    )
    return FoldJob(
        config=config,
        run=run,
        fold_of_crystal=load_folds(data, config.folds),
        ids=data.train.ids,
        e_form=data.train.targets,
        crystals=data.train.crystals,
        base=base,
        inputs=inputs,
        test_ids=data.test.ids,
        test_crystals=data.test.crystals,
        test_base=test_base,
        test_inputs=test_inputs,
        device=device,
        word2vec=word2vec,
    )


def run_fold(job: FoldJob, k: int) -> None:
    """Trains fold k on all other folds' crystals, predicts its own and the test crystals, writes its files."""
    device = job.device
    if isinstance(job.config.trained, GnnConfig):
        import torch

        device = parallel.device_of(job.device, k, torch.cuda.device_count())
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
    watched = Watched(job.inputs[valid], residual[valid])
    try:
        learner.fit(job.inputs[train], residual[train], folder, watched)
    except DivergedError as error:
        raise FloatingPointError(error.describe(job.ids[train][error.rows].tolist())) from error
    predicted = normalizer.denormalize(counts[valid], learner.predict(job.inputs[valid]), base[valid])
    test_rows = np.arange(len(job.test_ids))
    test_pred = normalizer.denormalize(
        job.test_crystals.element_counts, learner.predict(job.test_inputs[test_rows]), job.test_base
    )
    cpu_seconds = parallel.total_of(time.process_time() - cpu)
    if not parallel.is_main():
        parallel.wait()
        return
    write_json(folder / "normalizer.json", normalizer.to_json())
    learner.save(folder)
    oof = pd.DataFrame(dict(zip(OOF_COLUMNS, (job.ids[valid], k, job.e_form[valid], predicted), strict=True)))
    metrics = {
        **scores(job.e_form[valid], predicted),
        "n_train": len(train),
        "n_valid": len(valid),
        "n_parameters": learner.n_parameters,
        "wall_seconds": time.perf_counter() - wall,
        "cpu_seconds": cpu_seconds,
        "resumed": resumed,  # then the seconds are those behind the interruption only
        "versions": _versions(),
    }
    job.run.write_fold(k, oof, pd.DataFrame({"id": job.test_ids, "e_form_pred": test_pred}), metrics)
    parallel.wait()


def collect(config: ExperimentConfig, run: RunDir, data: TaskData) -> dict:
    """Joins the finished folds into oof.csv (rows as in the training table), test.csv (mean over folds) and metrics.json."""
    n_folds = config.folds.n_folds
    per_fold = [metrics for k in range(n_folds) if (metrics := run.fold_metrics(k))]
    parts = pd.concat([_read_fold(run.fold(k) / "valid.csv", metrics["mae"]) for k, metrics in enumerate(per_fold)])
    covered = not parts["id"].duplicated().any() and set(parts["id"]) == set(data.train.ids)
    oof = parts.set_index("id").loc[data.train.ids].rename_axis("id").reset_index() if covered else parts
    if not covered or not np.allclose(oof["e_form"], data.train.targets, rtol=0, atol=1e-9):
        raise ValueError(
            f"{run.path}: valid.csv of the folds do not hold each row of the training table once, with its target; remove the "
            "fold folders that were edited or exchanged (or all) and train again"
        )
    test = pd.DataFrame({"id": data.test.ids})
    for k in range(n_folds):
        fold_pred = read_csv(run.fold(k) / "test.csv", ["id", "e_form_pred"])
        if list(fold_pred["id"]) != list(data.test.ids):
            raise ValueError(
                f"{run.fold(k) / 'test.csv'}: its ids are not those of the test table; remove the fold and train again"
            )
        test[f"fold_{k}"] = fold_pred["e_form_pred"]
        if "spread" in fold_pred:  # of an ensemble's members
            test[f"spread_{k}"] = fold_pred["spread"]
    test["e_form_pred"] = test.filter(like="fold_").mean(axis=1)
    fold_maes = [metrics["mae"] for metrics in per_fold]
    overall = scores(oof["e_form"].to_numpy(), oof["e_form_pred"].to_numpy())
    metrics = {
        "oof_mae": overall["mae"],
        "oof_rmse": overall["rmse"],
        "oof_r2": overall["r2"],
        "fold_maes": fold_maes,
        "fold_mae_sd": float(np.std(fold_maes, ddof=1)),
        "n_parameters": per_fold[0]["n_parameters"],
        "cpu_seconds": sum(m["cpu_seconds"] for m in per_fold),
        "resumed_folds": [k for k, m in enumerate(per_fold) if m["resumed"]],
        "fold_wall_seconds": [m["wall_seconds"] for m in per_fold],
        "data": data.key,
        "versions": [dict(pairs) for pairs in sorted({tuple(m["versions"].items()) for m in per_fold})],
        "rows_left_out": data.left_out,
    }
    write_csv(run.path / "oof.csv", oof)
    write_csv(run.path / "test.csv", test)
    write_json(run.metrics_path, metrics)
    return metrics


def _read_fold(path: Path, mae: float) -> pd.DataFrame:
    table = read_csv(path, OOF_COLUMNS)
    check_score(path, table, mae)
    return table


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
