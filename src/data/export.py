"""Export of a task folder with the competition's columns: the inverse of `table.py`, for the scripts in input/.

Also the tasks of matbench v0.1, their targets, their ids and their official folds: Dunn et al., npj
Comput. Mater. 6, 138 (2020), doi:10.1038/s41524-020-00406-3.
"""

import json
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pymatgen.core import Element, Structure

from src.data.rows import read_rows
from src.data.task import Target, Task, description
from src.storage.files import unpacked, write_csv

# The 89 elements of the Materials Project and of the Nishika competition's columns: Z <= 94 without Po, At, Rn, Fr, Ra.
COUNT_COLUMNS = sorted(Element.from_Z(z).symbol for z in range(1, 95) if z not in (84, 85, 86, 87, 88))
ID, CIF, FORMULAS_IN, TARGET = "id", "cif", "formula", "formation_energy_per_atom"
ENERGY = Target(TARGET, "eV/atom")
TABLES = {
    "train": "train.csv.gz",
    "test": "test.csv.gz",
    "sample_submission": "sample_submission.csv",
    "test_labels": "test_labels.csv.gz",
    "folds": "folds.csv",
}

MATBENCH = {
    "matbench_expt_gap": Target("gap expt", "eV"),
    "matbench_expt_is_metal": Target("is_metal", "probability"),
    "matbench_glass": Target("gfa", "probability"),
    "matbench_dielectric": Target("n", "unitless"),
    "matbench_jdft2d": Target("exfoliation_en", "meV/atom"),
    "matbench_log_gvrh": Target("log10(G_VRH)", "log10(GPa)"),
    "matbench_log_kvrh": Target("log10(K_VRH)", "log10(GPa)"),
    "matbench_mp_e_form": Target("e_form", "eV/atom"),
    "matbench_mp_gap": Target("gap pbe", "eV"),
    "matbench_perovskites": Target("e_form", "eV/unit cell"),
    "matbench_mp_is_metal": Target("is_metal", "probability"),
    "matbench_phonons": Target("last phdos peak", "1/cm"),
    "matbench_steels": Target("yield strength", "MPa"),
}
OF_FORMULAS = ("matbench_expt_gap", "matbench_expt_is_metal", "matbench_glass", "matbench_steels")  # the others: of structures
OF_CLASSES = ("matbench_expt_is_metal", "matbench_glass", "matbench_mp_is_metal")
FOLDS_MEMBER = "matbench/matbench_v0.1_validation.json"  # of the wheel of matbench 0.6
GET_FOLDS = "download it: pip download --no-deps matbench==0.6"


def competition_row(row_id: str, structure: Structure, target: float, column: str = TARGET) -> dict:
    """Return one crystal in the competition's columns.

    structure: written as a CIF without symmetry, with 8 decimals; a disordered one has fractional amounts of elements.
    target: in the task's unit. column: its name.
    """
    counts = structure.composition.get_el_amt_dict()
    if foreign := set(counts) - set(COUNT_COLUMNS):
        raise ValueError(f"row {row_id}: no count column for {sorted(foreign)}")
    row = {
        ID: row_id,
        **{symbol: int(n) if (n := counts.get(symbol, 0)) == int(n) else n for symbol in COUNT_COLUMNS},
        "nelements": len(counts),
        "nsites": len(structure),
        "formula_pretty": structure.composition.reduced_formula,
        CIF: structure.to(fmt="cif"),
    }
    if column in row:
        raise ValueError(f"the target {column!r} has the name of another column of the competition; rename it")
    return {**row, column: target}


def write_task(
    folder: Path,
    train: pd.DataFrame,
    test: pd.DataFrame | None,
    target: Target = ENERGY,
    fold: NDArray | None = None,
    **further: Any,
) -> None:
    """Write the tables of a task and task.toml to the folder; from `test`, a sample submission and test labels too.

    fold: (n_train,), given folds of the training rows. further: arguments of `description`.
    """
    tables = {"train": train}
    if test is not None:
        labels = test[[ID, target.column]]
        sample = test[[ID]].assign(**{target.column: 0.0})
        tables |= {"test": test.drop(columns=target.column), "sample_submission": sample, "test_labels": labels}
    if fold is not None:
        tables["folds"] = pd.DataFrame({ID: train[ID], "fold": fold})
    for which, table in tables.items():
        write_csv(folder / TABLES[which], table)
    write_description(folder, [target], tables, **further)


def write_split(folder: Path, rows: pd.DataFrame, n_test: int, seed: int, target: Target = ENERGY) -> str:
    """Write a task whose test rows are n_test of the rows, chosen at random; return a summary."""
    is_test = np.zeros(len(rows), dtype=bool)
    is_test[np.random.default_rng(seed).permutation(len(rows))[:n_test]] = True
    write_task(folder, rows[~is_test], rows[is_test], target)
    return f"{folder}: {(~is_test).sum()} training and {is_test.sum()} test crystals"


def write_description(folder: Path, targets: Sequence[Target], files: Iterable[str], **further: Any) -> None:
    """Write task.toml. files: keys of TABLES. further: arguments of `description`."""
    named = {which: TABLES[which] for which in files}
    structures = FORMULAS_IN if further.get("structure_format") == "formula" else CIF
    text = description(targets, named, id_column=ID, structure_column=structures, **further)
    (folder / "task.toml").write_text(text, encoding="utf-8")


def target_of(name: str) -> Target:
    """Return the target of a task; raise ValueError if it is not one of matbench's tasks."""
    if name not in MATBENCH:
        known = f"{name} is not among matbench's tasks, {', '.join(MATBENCH)}"
        raise ValueError(f"{known}; for another data set of matminer, name its column with --target")
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
    try:
        if path.suffix == ".whl":
            with zipfile.ZipFile(path) as wheel:
                content = wheel.read(FOLDS_MEMBER)
        else:
            content = unpacked(path)
        found = json.loads(content)["splits"]
        found = found.get(name, found)
        folds = [[list(found[f"fold_{k}"][part]) for part in ("train", "test")] for k in range(len(found))]
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: no folds of {name} ({type(error).__name__}: {error}); {GET_FOLDS}") from error
    for k, (train, test) in enumerate(folds):
        if sorted(map(str, train + test)) != sorted(ids):
            raise ValueError(f"{path}: fold_{k} of {name} does not split the {len(ids)} rows into train and test; {GET_FOLDS}")
    if sorted(row_id for _, test in folds for row_id in test) != sorted(ids):
        raise ValueError(f"{path}: the test parts of the folds of {name} do not have each row once; {GET_FOLDS}")
    fold = {row_id: k for k, (_, test) in enumerate(folds) for row_id in test}
    return np.array([fold[row_id] for row_id in ids])


def write_official_fold(task: Task, folds: NDArray[np.int64], k: int, folder: Path) -> None:
    """Write the task of one official fold: its training part as the training table, its test part as the test table.

    folds: (n_rows,), of the rows of the training table in their order.
    """
    rows = pd.DataFrame(read_rows(task.path("train")))
    further: dict[str, Any] = {"metric": task.metric, "structure_format": task.structure_format, "classes": task.classes}
    write_task(folder, rows[folds != k], rows[folds == k], task.target, **further)
