"""Export of a task folder with the competition's columns: the inverse of `table.py`, for the scripts in input/."""

from pathlib import Path

import pandas as pd
from pymatgen.core import Element, Structure
from pymatgen.io.cif import CifWriter

from src.storage.files import write_csv

# The 89 elements of the Materials Project and of the Nishika competition's columns: Z <= 94 without Po, At, Rn, Fr, Ra.
COUNT_COLUMNS = sorted(Element.from_Z(z).symbol for z in range(1, 95) if z not in (84, 85, 86, 87, 88))
TARGET = "formation_energy_per_atom"

TASK_TOML = """\
# What the columns and files of this task are called, and what is predicted. Read by src/data/task.py.
id_column = "id"
structure_column = "cif"
target_column = "formation_energy_per_atom"
metric = "mae"
unit = "{unit}"

[files]
train = "train.csv.gz"
test = "test.csv.gz"
sample_submission = "sample_submission.csv"
test_labels = "test_labels.csv.gz"
"""


def competition_row(row_id: str, structure: Structure, target: float) -> dict:
    """Return one crystal in the competition's columns.

    structure: written as a CIF without symmetry, with 8 decimals.
    target: in the task's unit.
    """
    counts = structure.composition.get_el_amt_dict()
    foreign = set(counts) - set(COUNT_COLUMNS)
    if foreign:
        raise ValueError(f"row {row_id}: no count column for {sorted(foreign)}")
    return {
        "id": row_id,
        **{symbol: int(counts.get(symbol, 0)) for symbol in COUNT_COLUMNS},
        "nelements": len(counts),
        "nsites": len(structure),
        "formula_pretty": structure.composition.reduced_formula,
        "cif": str(CifWriter(structure)),
        TARGET: target,
    }


def write_task(folder: Path, train: pd.DataFrame, test: pd.DataFrame, unit: str = "eV/atom") -> None:
    """Write train and test tables, sample submission, test labels and task.toml to the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / "train.csv.gz", train)
    write_csv(folder / "test.csv.gz", test.drop(columns=TARGET))
    write_csv(folder / "sample_submission.csv", test[["id"]].assign(**{TARGET: 0.0}))
    write_csv(folder / "test_labels.csv.gz", test[["id", TARGET]])
    (folder / "task.toml").write_text(TASK_TOML.format(unit=unit))
