"""Write input/NAME/ from any matminer data set that has a structure column.

    python input/prepare_matminer.py matbench_mp_e_form --target e_form
    python input/prepare_matminer.py matbench_perovskites --target e_form --test-size 0.2
    python input/prepare_matminer.py mine --target e_form --file mine.json.gz     # a local file in the same format

The data sets are listed at https://hackingmaterials.lbl.gov/matminer/dataset_summary.html; each is downloaded on first use.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from pymatgen.core import Structure
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from src.data.export import competition_row, write_task


def read_dataset(name: str, file: Path | None) -> pd.DataFrame:
    """Return the data set as a table, from matminer's download (or its cache) or from a local file in matminer's format."""
    if file is None:
        from matminer.datasets import load_dataset

        return load_dataset(name)
    from matminer.utils.io import load_dataframe_from_json

    return load_dataframe_from_json(str(file))


def to_rows(data: pd.DataFrame, structure: str, target: str, id_column: str | None) -> pd.DataFrame:
    """Return the data set in the competition's columns; disordered structures are left out and counted."""
    for column in (structure, target, *([id_column] if id_column else [])):
        if column not in data:
            raise ValueError(f"no column {column!r}; the data set has {sorted(data.columns)}")
    ids = data[id_column].astype(str) if id_column else [f"row-{i}" for i in range(len(data))]
    rows, n_disordered = [], 0
    for row_id, crystal, value in tqdm(
        zip(ids, data[structure], data[target], strict=True), total=len(data), desc="structures to CIF"
    ):
        crystal = Structure.from_dict(crystal) if isinstance(crystal, dict) else crystal
        if not crystal.is_ordered:
            n_disordered += 1
            continue
        rows.append(competition_row(row_id, crystal, float(value)))
    if n_disordered:
        print(f"left out {n_disordered} disordered structures")
    return pd.DataFrame(rows)


def main() -> None:
    """Parse the command line and write the task."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="name of the data set and of the new folder in input/")
    parser.add_argument("--target", required=True, help="column to predict")
    parser.add_argument("--structure", default="structure", help="column with the structures")
    parser.add_argument("--id", dest="id_column", help="column with the ids (default: row-0, row-1, ...)")
    parser.add_argument("--file", type=Path, help="a local file instead of matminer's download")
    parser.add_argument("--test-size", type=float, default=0.2, help="fraction of rows in the test set")
    parser.add_argument("--seed", type=int, default=0, help="seed of the split")
    parser.add_argument("--unit", default="eV/atom", help="unit of the target")
    parser.add_argument("--out", type=Path, help="folder (default: input/NAME)")
    args = parser.parse_args()
    rows = to_rows(read_dataset(args.name, args.file), args.structure, args.target, args.id_column)
    is_test = np.zeros(len(rows), dtype=bool)
    is_test[np.random.default_rng(args.seed).permutation(len(rows))[: round(args.test_size * len(rows))]] = True
    out = args.out or Path(__file__).parent / args.name
    write_task(out, rows[~is_test], rows[is_test], unit=args.unit)
    print(f"{out}: {(~is_test).sum()} training and {is_test.sum()} test crystals")


if __name__ == "__main__":
    try:
        main()
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"{Path(__file__).name}: {error}")
