"""Folds x learner -> out-of-fold predictions, test predictions, metrics."""

import logging
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from src.config import ExperimentConfig
from src.config.catalogue import load_config, sealed
from src.data.load import TaskData, load_folds
from src.data.table import CrystalTable
from src.data.target import TRANSFORMS
from src.data.task import Task
from src.features.bases import base_of
from src.features.columns import check_columns, data_key
from src.features.elements import word2vec_key
from src.learners.learner import make_learner
from src.paths import EXPERIMENTS, experiment_folders, experiment_name, own_mat2vec
from src.results.folder import NO_TEST, UNREAD, RunDir, oof_arrays
from src.results.metrics import check_targets, scores
from src.results.partial import partial_of
from src.runs.launch import Launcher, run_all
from src.runs.one_fold import FoldJob, Rows, run_fold, versions
from src.storage import names
from src.storage.files import read_id_table, write_csv, write_json

log = logging.getLogger(__name__)


def run_experiment(
    config: ExperimentConfig, name: str, data: TaskData, folds: list[int] | None, launcher: Launcher, device: str
) -> dict | None:
    """Write the folds that are not finished. Once all are, write oof.csv, test.csv, metrics.json and return the metrics.

    folds: numbers of those to train; None: all. The folds of a blend are all written at once.
    """
    check_rows(config, data)
    run, word2vec = RunDir(data.folder / name), own_mat2vec()
    data_hash = data_key(data.key, config.feature_groups, data.task)
    run.claim(config, data_hash, word2vec_key(word2vec))
    if config.parts:
        from src.runs.blended import write_blend

        write_blend(config.parts, run, data, load_folds(data, config.folds), versions())
    else:
        train_folds(config, run, data, folds, launcher, device, word2vec)
    per_fold = [run.fold_metrics(k) for k in range(data.n_folds(config.folds))]
    if missing := [k for k, metrics in enumerate(per_fold) if metrics is None]:
        if begun := partial_of(run):
            log.info("%s: %s", name, begun.text(data.task.metric))
        log.info("%s: folds %s are still to do; oof.csv and test.csv come after the last", name, missing)
        return None
    if not run.training_path.is_file():
        from src.features.similarity import TrainingSet

        TrainingSet.cached(data.train, data.train_key, data.cache, launcher.n_local).save(run.training_path)
    return collect(run, data, [metrics for metrics in per_fold if metrics], data_hash)


def train_folds(
    config: ExperimentConfig,
    run: RunDir,
    data: TaskData,
    folds: list[int] | None,
    launcher: Launcher,
    device: str,
    word2vec: Path | None,
) -> None:
    """Train the unfinished folds with the launcher."""
    n_folds, name = data.n_folds(config.folds), run.path.name
    wanted = sorted(set(range(n_folds) if folds is None else folds))
    if foreign := [k for k in wanted if not 0 <= k < n_folds]:
        raise ValueError(f"there is no fold {foreign[0]}; {name} has {n_folds}")
    to_do = [k for k in wanted if not run.is_finished(k)]
    log.info("%s on %s: folds %s finished, %s to do", name, data.task.label, sorted(set(wanted) - set(to_do)), to_do)
    if not to_do:
        return
    learner = make_learner(config.trained, word2vec=word2vec)

    def rows(table: CrystalTable, key: str) -> Rows:
        """Return a table with everything that is computed from it once for all folds."""
        inputs = learner.prepare_inputs(table.crystals, key, data.cache, launcher.n_local)
        return Rows(table, base_of(config.target, table.crystals, key, data.cache, launcher.n_local), inputs)

    with run.training(to_do):
        train = rows(data.train, data.train_key)
        test = rows(data.test, data.test_key) if data.task.has_test else None
        job = FoldJob(config, run, load_folds(data, config.folds), train, test, device, word2vec)
        growing = {run.fold(k) / file: n for k in to_do for file, n in learner.histories().items()}
        run_all(name, partial(run_fold, job), to_do, run.is_finished, growing, launcher)


def collect(run: RunDir, data: TaskData, per_fold: list[dict], data_hash: str) -> dict:
    """Join the finished folds into oof.csv (rows as in the training table), test.csv (mean over folds) and metrics.json.

    Without a test table there is no test.csv. per_fold: their metrics.
    """
    n_folds = len(per_fold)
    parts = pd.concat([run.valid(k) for k in range(n_folds)])
    covered = not parts["id"].duplicated().any() and set(parts["id"]) == set(data.train.ids)
    oof = parts.set_index("id").loc[data.train.ids].rename_axis("id").reset_index() if covered else parts
    if not covered or not np.allclose(oof["e_form"], data.train.targets, rtol=0, atol=1e-9):
        raise ValueError(
            f"{run.path}: the folds' valid.csv files do not contain each training row once, with its target; remove the "
            "fold folders that were edited or exchanged (or all) and train again"
        )
    fold_maes = [metrics["mae"] for metrics in per_fold]
    target, pred, fold = oof_arrays(oof)
    overall = scores(target, pred, data.task.metric, fold)
    metrics = {
        **{f"oof_{name}": value for name, value in overall.items()},
        "fold_maes": fold_maes,
        "fold_mae_sd": float(np.std(fold_maes, ddof=1)),
        "n_parameters": per_fold[0]["n_parameters"],
        "cpu_seconds": sum(m["cpu_seconds"] for m in per_fold),
        "resumed_folds": [k for k, m in enumerate(per_fold) if m["resumed"]],
        "gpus": sorted({gpu for m in per_fold for gpu in m.get("gpus", [])}),
        "fold_wall_seconds": [m["wall_seconds"] for m in per_fold],
        "data": data_hash,
        "versions": [dict(pairs) for pairs in sorted({tuple(m["versions"].items()) for m in per_fold})],
        "rows_left_out": data.left_out,
        **({UNREAD: data.unread} if data.unread else {}),
        **({} if data.task.has_test else {NO_TEST: True}),
    }
    write_csv(run.path / "oof.csv", oof)
    if data.task.has_test:
        write_csv(run.path / "test.csv", _join_test(run, data, n_folds))
    write_json(run.path / names.METRICS_FILE, metrics)
    return metrics


def _join_test(run: RunDir, data: TaskData, n_folds: int) -> pd.DataFrame:
    """Return the test predictions of every fold and their mean."""
    test = pd.DataFrame({"id": data.test.ids})
    for k in range(n_folds):
        path = run.fold(k) / "test.csv"
        fold_pred = read_id_table(path, ["id", "e_form_pred"])
        if list(fold_pred["id"]) != list(data.test.ids):
            raise ValueError(f"{path}: its ids are not those of the test table; remove the fold and train again")
        test[f"fold_{k}"] = fold_pred["e_form_pred"]
        if "spread" in fold_pred:  # of members
            test[f"spread_{k}"] = fold_pred["spread"]
    return test.assign(e_form_pred=test.filter(like="fold_").mean(axis=1))


def check_rows(config: ExperimentConfig, data: TaskData) -> None:
    """Raise ValueError, which names the row, if a target or a column is not what the metric or the config needs."""
    check_task(config, data.task)
    rows = data.task.path("train"), data.train.ids.tolist(), data.train.targets
    check_targets(data.task.metric, *rows)
    if (transform := config.target.transform) != "none":
        TRANSFORMS[transform].domain.check(*rows, f"target.transform = {transform!r}")
    check_columns(config.feature_groups, data.task)


def check_task(config: ExperimentConfig, task: Task) -> None:
    """Raise ValueError if a task of classes is given to an experiment on numbers, or the other way round.

    Also if the task has only formulas and the experiment needs structures; the message names experiments that do not.
    """
    if not config.parts and (config.target.kind == "classes") != task.of_classes:
        own, other = ("classes", "numbers") if task.of_classes else ("numbers", "classes")
        raise ValueError(
            f"it predicts {other}, and {task.folder / 'task.toml'} says metric = {task.metric!r}, which is for {own}: set "
            "target=TargetConfig('classes') and loss='bce' (networks) or objective='binary' (LightGBM) in the config for "
            "classes, and leave both out for numbers"
        )
    if task.structure_format != "formula" or not (needs := structure_needs(config)):
        return
    from src.features.groups import FORMULA_GROUPS

    others = [folder.name for folder in experiment_folders() if not structure_needs(load_config(folder))]
    raise ValueError(
        f"it needs structures ({'; '.join(needs)}), and {task.folder / 'task.toml'} says structure_format = 'formula'. "
        f"Formulas suffice for {', '.join(others)}, and for LightGBM on the groups {', '.join(FORMULA_GROUPS)}, and Roost, in an "
        "experiment of your own"
    )


def structure_needs(config: ExperimentConfig) -> list[str]:
    """Return the settings of an experiment that need structures."""
    from src.features.groups import NEED_STRUCTURES  # takes half a second to import

    needs = [f"target.base = {config.target.base!r}"] if config.target.base != "none" else []
    if network := config.learner.graph_network:
        needs.append(f"its learner is a network, {network}")
    if groups := [group for group in config.feature_groups if group in NEED_STRUCTURES]:
        needs.append(f"learner.features: {', '.join(groups)}")
    parts = [name for name in map(experiment_name, config.parts) if not sealed(name)]
    return needs + [f"its part {name} does" for name in parts if structure_needs(load_config(EXPERIMENTS / name))]
