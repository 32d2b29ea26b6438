"""The regression tasks on structures of matbench v0.1: their targets, their ids and their official folds.

Dunn et al., npj Comput. Mater. 6, 138 (2020), doi:10.1038/s41524-020-00406-3.
"""

import gzip
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from src.data.export import CIF, ID, write_task
from src.data.rows import read_rows
from src.data.task import Target, Task

TASKS = {
    "matbench_dielectric": Target("n", "unitless"),
    "matbench_jdft2d": Target("exfoliation_en", "meV/atom"),
    "matbench_log_gvrh": Target("log10(G_VRH)", "log10(GPa)"),
    "matbench_log_kvrh": Target("log10(K_VRH)", "log10(GPa)"),
    "matbench_mp_e_form": Target("e_form", "eV/atom"),
    "matbench_mp_gap": Target("gap pbe", "eV"),
    "matbench_perovskites": Target("e_form", "eV/unit cell"),
    "matbench_phonons": Target("last phdos peak", "1/cm"),
}
FOLDS_MEMBER = "matbench/matbench_v0.1_validation.json"  # of the wheel of matbench 0.6
GET_FOLDS = "download it: pip download --no-deps matbench==0.6"


def target_of(name: str) -> Target:
    """Return the target of a task; raise ValueError if it is no regression on structures."""
    if name not in TASKS:
        raise ValueError(
            f"{name} is not among matbench's regression tasks on structures, {', '.join(TASKS)}; "
            "for another data set of matminer, name its column with --target"
        )
    return TASKS[name]


def row_ids(name: str, n: int) -> list[str]:
    """Return matbench's ids of the n rows of a data set: mb-phonons-0001, ..., as wide as n."""
    prefix = name.replace("matbench", "mb").replace("_", "-")
    return [f"{prefix}-{i:0{len(str(n))}d}" for i in range(1, n + 1)]


def read_official_folds(path: Path, name: str, ids: Sequence[str]) -> NDArray[np.int64]:
    """Return the official fold in which each row is scored, (n_rows,).

    path: the wheel of matbench, the file FOLDS_MEMBER that it contains (.json or .json.gz), or the part of a single task.
    Raises ValueError, which names the file, if the folds are no partition of the rows.
    """
    splits = _splits(path, name)
    place = {row_id: i for i, row_id in enumerate(ids)}
    fold = np.full(len(ids), -1)
    for k in range(len(splits)):
        train, test = (set(splits[f"fold_{k}"][part]) for part in ("train", "test"))
        if unknown := sorted((train | test) - set(place)):
            raise ValueError(f"{path}: fold_{k} of {name} has {unknown[0]!r}, which is no row of the data; {GET_FOLDS}")
        rows = [place[row_id] for row_id in test]
        if train & test or len(train | test) < len(ids) or (fold[rows] >= 0).any():
            raise ValueError(f"{path}: fold_{k} of {name} does not split the {len(ids)} rows into train and test; {GET_FOLDS}")
        fold[rows] = k
    if missing := [row_id for row_id, k in zip(ids, fold, strict=True) if k < 0]:
        raise ValueError(f"{path}: {missing[0]!r} of {name} is in the test part of no fold; {GET_FOLDS}")
    return fold


def _splits(path: Path, name: str) -> dict[str, dict[str, list[str]]]:
    """Return fold_0, ... of a task, each with the ids of its training and test rows."""
    try:
        if path.suffix == ".whl":
            with zipfile.ZipFile(path) as wheel:
                content = wheel.read(FOLDS_MEMBER)
        else:
            content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        found: Any = json.loads(content)["splits"]
        found = found.get(name, found)
        return {
            f"fold_{k}": {part: [*map(str, found[f"fold_{k}"][part])] for part in ("train", "test")} for k in range(len(found))
        }
    except (zipfile.BadZipFile, gzip.BadGzipFile, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: no folds of {name} ({type(error).__name__}: {error}); {GET_FOLDS}") from error


def write_official_fold(task: Task, folds: NDArray[np.int64], k: int, folder: Path) -> None:
    """Write the task of one official fold: its training part as the training table, its test part as the test table.

    folds: (n_rows,), of the rows of the training table in their order.
    """
    if (task.id_column, task.structure_column) != (ID, CIF):
        raise ValueError(f"{task.folder / 'task.toml'}: its columns are not those that input/prepare_matminer.py writes")
    rows = pd.DataFrame(read_rows(task.path("train")))
    write_task(folder, rows[folds != k], rows[folds == k], task.target)
