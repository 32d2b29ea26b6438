"""Write input/NAME/ from any matminer data set with a structure column, or from any matbench task.

    python input/prepare_matminer.py matbench_phonons              # matbench v0.1: its target, its ids, its official folds
    python input/prepare_matminer.py matbench_phonons --file data.json.gz --folds matbench-0.6-py3-none-any.whl
    python input/prepare_matminer.py dielectric_constant --target n --unit unitless --test-size 0.2
    python input/prepare_matminer.py mine --target e_form --file mine.json.gz     # a local file in the same format

The data sets are listed at https://hackingmaterials.lbl.gov/matminer/dataset_summary.html; each is downloaded on first use.
Without --target, the name is that of a matbench task. Its official folds are in the package
matbench 0.6, which is downloaded but not installed. With --target, rows are split at random into training and test rows.
"""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pymatgen.core import Structure
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from src.command import command, one_message
from src.data.export import (
    FORMULAS_IN,
    GET_FOLDS,
    ID,
    OF_CLASSES,
    OF_FORMULAS,
    competition_row,
    read_official_folds,
    row_ids,
    target_of,
    write_split,
    write_task,
)
from src.data.task import Target

WHEEL = "matbench-0.6-py3-none-any.whl"


def read_dataset(name: str, file: Path | None) -> pd.DataFrame:
    """Return the data set as a table, from matminer's download (or its cache) or from a local file in matminer's format."""
    if file is None:
        from matminer.datasets import load_dataset

        return load_dataset(name)
    from matminer.utils.io import load_dataframe_from_json

    return load_dataframe_from_json(str(file))


def column_of(data: pd.DataFrame, column: str) -> pd.Series:
    """Return a column of the data set; raise ValueError if there is none of that name."""
    if column not in data:
        raise ValueError(f"no column {column!r}; the data set has {sorted(data.columns)}")
    return data[column]


def to_rows(data: pd.DataFrame, structure: str, target: str, ids: Sequence[str]) -> pd.DataFrame:
    """Return the data set in the competition's columns."""
    found = zip(ids, column_of(data, structure), column_of(data, target), strict=True)
    rows = []
    for row_id, crystal, value in tqdm(found, total=len(data), desc="structures to CIF"):
        crystal = Structure.from_dict(crystal) if isinstance(crystal, dict) else crystal
        rows.append(competition_row(row_id, crystal, float(value), target))
    return pd.DataFrame(rows)


def official_folds(path: Path | None, name: str, ids: Sequence[str]) -> NDArray[np.int64]:
    """Return the official fold of each row, (n_rows,), from a file or from the package, which is downloaded."""
    if path is not None:
        return read_official_folds(path, name, ids)
    with tempfile.TemporaryDirectory() as folder:
        download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "matbench==0.6", "-d", folder]
        done = subprocess.run(download, check=False, capture_output=True, text=True)
        wheel = Path(folder) / WHEEL
        if not wheel.is_file():
            reason = done.stderr.strip()[-200:]
            raise ValueError(f"matbench 0.6 cannot be downloaded ({reason}); elsewhere, {GET_FOLDS}; then --folds {WHEEL}")
        return read_official_folds(wheel, name, ids)


def prepare_matbench(name: str, file: Path | None, folds: Path | None, out: Path) -> str:
    """Write a task of matbench with its official folds; return a summary."""
    target = target_of(name)
    data = read_dataset(name, file)
    ids = row_ids(name, len(data))
    fold = official_folds(folds, name, ids)
    further: dict[str, Any] = {"metric": "roc_auc"} if name in OF_CLASSES else {}
    if name in OF_FORMULAS:
        rows = pd.DataFrame({ID: ids, FORMULAS_IN: column_of(data, "composition"), target.column: column_of(data, target.column)})
        further["structure_format"] = "formula"
    else:
        rows = to_rows(data, "structure", target.column, ids)
    write_task(out, rows, None, target, fold, **further)
    return f"{out}: {len(rows)} crystals in {fold.max() + 1} official folds"


def main() -> None:
    parser = command(__doc__)
    parser.add_argument("name", help="name of the data set and of the new folder in input/")
    parser.add_argument("--target", help="column to predict (default: that of matbench, with its official folds)")
    parser.add_argument("--structure", default="structure", help="column with the structures")
    parser.add_argument("--id", dest="id_column", help="column with the ids (default: row-0, row-1, ...)")
    parser.add_argument("--file", type=Path, help="a local file instead of matminer's download")
    parser.add_argument("--folds", type=Path, help=f"a local {WHEEL}, or the file of folds in it")
    parser.add_argument("--test-size", type=float, default=0.2, help="fraction of rows in the test set")
    parser.add_argument("--seed", type=int, default=0, help="seed of the split")
    parser.add_argument("--unit", default="eV/atom", help="unit of the target")
    parser.add_argument("--out", type=Path, help="folder (default: input/NAME)")
    args = parser.parse_args()
    out = args.out or Path(__file__).parent / args.name
    if args.target is None:
        print(prepare_matbench(args.name, args.file, args.folds, out))
        return
    if args.folds:
        parser.error("--folds: official folds are those of matbench's own target; leave out --target")
    data = read_dataset(args.name, args.file)
    ids = [*map(str, column_of(data, args.id_column))] if args.id_column else [f"row-{i}" for i in range(len(data))]
    rows = to_rows(data, args.structure, args.target, ids)
    print(write_split(out, rows, round(args.test_size * len(rows)), args.seed, Target(args.target, args.unit)))


if __name__ == "__main__":
    with one_message("prepare_matminer.py"):
        main()
