"""Export of a task folder with the competition's columns: the inverse of `table.py`, for the scripts in input/.

Also the regression tasks on structures of matbench v0.1, their targets, their ids and their official folds: Dunn et al., npj
Comput. Mater. 6, 138 (2020), doi:10.1038/s41524-020-00406-3.
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
from pymatgen.core import Element, Structure
from pymatgen.io.cif import CifWriter

from src.data.rows import read_rows
from src.data.task import MetricName, Target, Task, description
from src.storage.files import unpacked, write_csv

# The 89 elements of the Materials Project and of the Nishika competition's columns: Z <= 94 without Po, At, Rn, Fr, Ra.
COUNT_COLUMNS = sorted(Element.from_Z(z).symbol for z in range(1, 95) if z not in (84, 85, 86, 87, 88))
ID, CIF, TARGET = "id", "cif", "formation_energy_per_atom"
ENERGY = Target(TARGET, "eV/atom")
TABLES = {
    "train": "train.csv.gz",
    "test": "test.csv.gz",
    "sample_submission": "sample_submission.csv",
    "test_labels": "test_labels.csv.gz",
    "folds": "folds.csv",
}

MATBENCH = {
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


def competition_row(row_id: str, structure: Structure, target: float, column: str = TARGET) -> dict:
    """Return one crystal in the competition's columns.

    structure: written as a CIF without symmetry, with 8 decimals.
    target: in the task's unit. column: its name.
    """
    counts = structure.composition.get_el_amt_dict()
    foreign = set(counts) - set(COUNT_COLUMNS)
    if foreign:
        raise ValueError(f"row {row_id}: no count column for {sorted(foreign)}")
    row = {
        ID: row_id,
        **{symbol: int(counts.get(symbol, 0)) for symbol in COUNT_COLUMNS},
        "nelements": len(counts),
        "nsites": len(structure),
        "formula_pretty": structure.composition.reduced_formula,
        CIF: str(CifWriter(structure)),
    }
    if column in row:
        raise ValueError(f"the target {column!r} has the name of another column of the competition; rename it")
    return {**row, column: target}


def write_task(folder: Path, train: pd.DataFrame, test: pd.DataFrame, target: Target = ENERGY) -> None:
    """Write train and test tables, sample submission, test labels and task.toml to the folder."""
    column = target.column
    write_csv(folder / TABLES["train"], train)
    write_csv(folder / TABLES["test"], test.drop(columns=column))
    write_csv(folder / TABLES["sample_submission"], test[[ID]].assign(**{column: 0.0}))
    write_csv(folder / TABLES["test_labels"], test[[ID, column]])
    write_description(folder, [target], ["train", "test", "sample_submission", "test_labels"])


def write_task_with_folds(folder: Path, train: pd.DataFrame, fold: NDArray, target: Target) -> None:
    """Write a task without a test table: training table, its folds, (n_rows,), and task.toml."""
    write_csv(folder / TABLES["train"], train)
    write_csv(folder / TABLES["folds"], pd.DataFrame({ID: train[ID], "fold": fold}))
    write_description(folder, [target], ["train", "folds"])


def write_description(
    folder: Path,
    targets: Sequence[Target],
    files: Sequence[str],
    metric: MetricName = "mae",
    numeric: Sequence[str] = (),
    categorical: Sequence[str] = (),
) -> None:
    """Write task.toml. files: keys of TABLES. numeric, categorical: further columns that learners may use."""
    named = {which: TABLES[which] for which in files}
    text = description(ID, CIF, targets, metric, named, numeric=numeric, categorical=categorical)
    (folder / "task.toml").write_text(text, encoding="utf-8")


def target_of(name: str) -> Target:
    """Return the target of a task; raise ValueError if it is no regression on structures."""
    if name not in MATBENCH:
        raise ValueError(
            f"{name} is not among matbench's regression tasks on structures, {', '.join(MATBENCH)}; "
            "for another data set of matminer, name its column with --target"
        )
    return MATBENCH[name]


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
            content = unpacked(path)
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
