"""Published results, checked by training one fold again.

On another type of machine, rounding differs and training amplifies it. The retrained model is then a different one of the same
recipe, whose MAE differs by up to 11%. Recipes are told apart by distances row by row: on the test rows, the retrained model must
be closer to the published one than those of the other folds, at most `NEARER` times as far. Without a test table, the rows of the
fold are used, in units of their MAE (`OF_MAE`). Measured on FLLA on a CPU without AVX-512, exp010 lies at 0.67 to 0.82 of the
first unit and LightGBM at 0.38 to 0.54; both criteria accept all 23 folds. The first refuses 97.6% of other experiments' folds,
and most that it accepts differ in a few epochs. The second refuses 72% of other networks' folds.
"""

import shlex
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from src.config.catalogue import load_config, sealed
from src.data.load import load_task_data
from src.data.task import Task
from src.features.columns import data_key
from src.paths import EXPERIMENTS, ROOT, experiment_name, shown
from src.results.folder import NO_TEST, OOF_COLUMNS, RunDir
from src.results.predictions import published_folder, same_data
from src.runs import train
from src.storage.cache import ALL_CORES
from src.storage.files import read_id_table, read_json
from src.storage.names import METRICS_FILE

SAME_MACHINE = 1e-5  # largest difference of a row, in units of the spread of targets (about 1 eV/atom)
NEARER = 0.85  # largest distance on the test rows, in units of the mean distance of the other folds' models
OF_MAE = 0.7  # largest distance on the fold's rows, in units of their MAE; for tasks without a test table


def command_elsewhere(number: str, fold: int, device: str = "cpu") -> str | None:
    """Return the command that verifies a fold of a sealed experiment with the code that trains it; None if the experiment lives.

    It makes a working tree of that commit beside the repository, once, and trains there with this Python.
    """
    name = experiment_name(number)
    if not (kept := sealed(name)):
        return None
    tree = ROOT.with_name(f"{ROOT.name}-{kept['commit'][:7]}")
    add = [] if tree.is_dir() else [["git", "-C", str(ROOT), "worktree", "add", "--detach", str(tree), kept["commit"]]]
    verify = [sys.executable, "exp/verify.py", name.removeprefix("exp"), "--fold", str(fold), "--device", device]
    return " && ".join(map(shlex.join, [*add, ["cd", str(tree)], verify]))


@dataclass(frozen=True, eq=False)
class FoldRows:
    """Predictions of a fold's model.

    valid: OOF_COLUMNS, the fold's own rows, and `spread` if they are means over members, which lie close to those of each member.
    test: (n_test,), by id; None if the task has no test table.
    """

    valid: pd.DataFrame
    test: pd.Series | None


def verify(number: str, fold: int, task: Task, device: str = "cpu") -> tuple[bool, str]:
    """Train a fold of a published experiment in a temporary folder; return whether it supports the published rows, and why.

    Raises ValueError if the task's files are not those of the published run.
    """
    name = experiment_name(number)
    folder = published_folder(name, task)
    path = folder / "oof.csv.gz"
    if not path.is_file():
        raise FileNotFoundError(f"{name} is not published on task {task.label} ({path} is missing)")
    metrics = read_json(folder / METRICS_FILE, {"data": str})
    skip = bool(metrics.get("rows_left_out"))  # the first experiments do not say
    with tempfile.TemporaryDirectory() as temporary:
        outputs = Path(temporary)
        data = load_task_data(task.folder, outputs, skip, ALL_CORES, task.target_column)
        config = load_config(EXPERIMENTS / name)
        if not same_data(data_key(data.key, config.feature_groups, task), metrics["data"]):
            raise ValueError(f"{shown(folder)} was trained on other data than the tables in {shown(task.folder)}")
        where = ["--data", str(task.folder), "--target", task.target_column, "--outputs", temporary, "--device", device]
        train.main(EXPERIMENTS / name, [*where, "--folds", str(fold), *(["--skip-bad-rows"] if skip else [])])
        run = RunDir(data.folder / name)
        test = None if metrics.get(NO_TEST) else read_id_table(run.fold(fold) / "test.csv", ["id", "e_form_pred"])
        retrained = FoldRows(run.valid(fold), None if test is None else test.set_index("id")["e_form_pred"])
    published, scatter = published_fold(folder, fold, not metrics.get(NO_TEST))
    agrees, reason = verdict(published, retrained, scatter, task.unit)
    return agrees, f"{name} on {task.label}, fold {fold}: {reason}"


def published_fold(folder: Path, fold: int, has_test: bool) -> tuple[FoldRows, float]:
    """Return the published rows of a fold, and the mean distance of other folds' models to its model on the test rows.

    Without a test table the second is infinite.
    """
    oof = read_id_table(folder / "oof.csv.gz", OOF_COLUMNS)
    valid = oof[oof["fold"] == fold]
    if not has_test:
        return FoldRows(valid, None), np.inf
    column = f"fold_{fold}"
    test = read_id_table(folder / "test.csv.gz", ["id", column]).set_index("id").filter(regex=r"^fold_\d+$")
    others = test.drop(columns=column)
    return FoldRows(valid, test[column]), float(others.sub(test[column], axis=0).abs().to_numpy().mean())


def verdict(published: FoldRows, retrained: FoldRows, scatter: float, unit: str = "eV/atom") -> tuple[bool, str]:
    """Return whether the retrained rows of a fold support the published ones, and why.

    scatter: mean distance of other folds' published models on the test rows, see `published_fold`.
    """
    pair = published.valid.merge(retrained.valid, on="id", suffixes=("", "_new"), validate="one_to_one")
    if not len(pair) == len(published.valid) == len(retrained.valid):
        return False, f"the fold has {len(retrained.valid)} crystals, {len(published.valid)} are published"
    if ("spread" in published.valid) != ("spread" in retrained.valid):
        return False, "DIFFERENT: only one of the two is a mean of several networks or experiments"
    apart = np.abs(pair["e_form_pred"] - pair["e_form_pred_new"]).to_numpy()
    old, new = (float(np.abs(pair["e_form"] - pair[column]).mean()) for column in ("e_form_pred", "e_form_pred_new"))
    figures = f"largest difference {apart.max():.1e} {unit}; MAE {new:.4f}, published {old:.4f}"
    if apart.max() <= SAME_MACHINE * max(1.0, float(pair["e_form"].std())):
        return True, f"same rows: {figures}"
    if published.test is None or retrained.test is None:
        distance, unit_of_distance, limit, what = float(apart.mean()), old, OF_MAE, "the fold's MAE"
    else:
        distance = float((published.test - retrained.test.reindex(published.test.index)).abs().mean())
        unit_of_distance, limit, what = scatter, NEARER, "that of other folds' models"
    figures = f"mean difference {distance:.4f} {unit}, {limit:.0%} of {what} ({unit_of_distance:.4f}) is the limit; {figures}"
    if distance <= limit * unit_of_distance:
        return True, f"the same recipe, as on another type of machine: {figures}"
    return False, f"DIFFERENT: {figures}"
