"""Export of a task folder with the competition's columns: the inverse of `table.py`, for the scripts in input/."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from numpy.typing import NDArray
from pymatgen.core import Element, Structure
from pymatgen.io.cif import CifWriter

from src.data.task import MetricName, Target, description
from src.storage.files import write_csv

# The 89 elements of the Materials Project and of the Nishika competition's columns: Z <= 94 without Po, At, Rn, Fr, Ra.
COUNT_COLUMNS = sorted(Element.from_Z(z).symbol for z in range(1, 95) if z not in (84, 85, 86, 87, 88))
ID, CIF, TARGET = "id", "cif", "formation_energy_per_atom"
ENERGY = Target(TARGET, "eV/atom")
FILES = {
    "train": "train.csv.gz",
    "test": "test.csv.gz",
    "sample_submission": "sample_submission.csv",
    "test_labels": "test_labels.csv.gz",
    "folds": "folds.csv",
}


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
    write_csv(folder / FILES["train"], train)
    write_csv(folder / FILES["test"], test.drop(columns=column))
    write_csv(folder / FILES["sample_submission"], test[[ID]].assign(**{column: 0.0}))
    write_csv(folder / FILES["test_labels"], test[[ID, column]])
    write_description(folder, [target], ["train", "test", "sample_submission", "test_labels"])


def write_task_with_folds(folder: Path, train: pd.DataFrame, fold: NDArray, target: Target) -> None:
    """Write a task without a test table: training table, its folds, (n_rows,), and task.toml."""
    write_csv(folder / FILES["train"], train)
    write_csv(folder / FILES["folds"], pd.DataFrame({ID: train[ID], "fold": fold}))
    write_description(folder, [target], ["train", "folds"])


def write_description(
    folder: Path,
    targets: Sequence[Target],
    files: Sequence[str],
    metric: MetricName = "mae",
    numeric: Sequence[str] = (),
    categorical: Sequence[str] = (),
) -> None:
    """Write task.toml. files: keys of FILES. numeric, categorical: further columns that learners may use."""
    named = {which: FILES[which] for which in files}
    text = description(ID, CIF, targets, metric, named, numeric=numeric, categorical=categorical)
    (folder / "task.toml").write_text(text, encoding="utf-8")
