"""Write input/nomad2018/ from the files of Kaggle's contest "Nomad2018 Predicting Transparent Conductors".

    python input/prepare_nomad.py FOLDER                            # train.csv, test.csv, train/1/geometry.xyz, ...
    python input/prepare_nomad.py FOLDER --labels labels.csv        # with targets of the test rows: id and both targets

https://www.kaggle.com/competitions/nomad2018-predict-transparent-conductors; Sutton et al., npj Comput. Mater. 5, 111 (2019),
doi:10.1038/s41524-019-0239-3. A folder whose tables have a column `cif` already is copied byte for byte.
"""

import math
import shutil
import sys
from pathlib import Path

import pandas as pd
from pymatgen.core import Element, Lattice, Structure
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from src.command import command, one_message
from src.data.export import CIF, ID, TABLES, write_description
from src.data.rows import number, read_rows
from src.data.task import Target
from src.storage.files import write_csv

TARGETS = [Target("formation_energy_ev_natom", "eV/cation"), Target("bandgap_energy_ev", "eV")]
TARGET_COLUMNS = [target.column for target in TARGETS]
CATEGORICAL = ["spacegroup"]
N_ATOMS = "number_of_total_atoms"
NUMERIC = [
    N_ATOMS,
    *(f"percent_atom_{element}" for element in ("al", "ga", "in")),
    *(f"lattice_vector_{i}_ang" for i in (1, 2, 3)),
    *(f"lattice_angle_{angle}_degree" for angle in ("alpha", "beta", "gamma")),
]
WRITTEN = ["train", "test", "sample_submission", "test_labels"]
GEOMETRY = "geometry.xyz"
SIZES = {"lattice_vector": 4, "atom": 5}  # words of a line that starts so


def read_geometry(path: Path) -> Structure:
    """Return the structure in a file of FHI-aims' format: lines `lattice_vector x y z` and `atom x y z El`, Angstrom.

    Raises ValueError, which names the line, for anything else; ASE's reader, which is deprecated, skips what it does not know.
    """
    vectors, symbols, positions = [], [], []
    for i, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        words = line.split("#")[0].split()
        if not words:
            continue
        coordinates = [number(word) for word in words[1:4]]
        is_known = SIZES.get(words[0]) == len(words) and all(map(Element.is_valid_symbol, words[4:]))
        if not (is_known and all(map(math.isfinite, coordinates))):
            raise ValueError(f"{path}: line {i}, {line[:80]!r}: expected `lattice_vector x y z` or `atom x y z El`")
        (positions if words[4:] else vectors).append(coordinates)
        symbols += words[4:]
    if len(vectors) != 3 or not positions:
        raise ValueError(f"{path}: {len(vectors)} lattice vectors and {len(positions)} atoms; expected 3 and at least 1")
    return Structure(Lattice(vectors), symbols, positions, coords_are_cartesian=True)


def with_structures(folder: Path, which: str) -> pd.DataFrame:
    """Return a table of Kaggle's with the column `cif` before its targets; all other texts stay as they are."""
    path = find(folder, which)
    table = pd.DataFrame(read_rows(path))
    targets = TARGET_COLUMNS if which == "train" else []
    check_columns(path, table, [ID, *CATEGORICAL, *NUMERIC, *targets])
    cifs = []
    for row_id, n_atoms in tqdm(zip(table[ID], table[N_ATOMS], strict=True), total=len(table), desc=f"geometries of {which}"):
        geometry = folder / which / row_id / GEOMETRY
        if not geometry.is_file():
            missing = "geometry" if geometry.parent.is_dir() else "folder"
            raise FileNotFoundError(f"{path}: id {row_id!r} has no {missing}: {geometry} is missing; unpack {which}.zip again")
        structure = read_geometry(geometry)
        if len(structure) != number(n_atoms):
            found = f"{N_ATOMS} is {n_atoms}, but {geometry} has {len(structure)}"
            raise ValueError(f"{path}: id {row_id!r}: {found}; unpack it again")
        cifs.append(structure.to(fmt="cif"))
    return table.drop(columns=targets).assign(**{CIF: cifs}, **table[targets])


def find(folder: Path, which: str) -> Path:
    """Return the path of a table, .csv or .csv.gz."""
    for path in (folder / f"{which}.csv", folder / f"{which}.csv.gz"):
        if path.is_file():
            return path
    raise FileNotFoundError(f"{folder / which}.csv is missing; give the folder with the contest's files from Kaggle")


def check_columns(path: Path, table: pd.DataFrame, columns: list[str]) -> None:
    """Raise ValueError if a table lacks one of Kaggle's columns."""
    if missing := [column for column in columns if column not in table]:
        raise ValueError(f"{path}: no column {missing[0]!r}; take Kaggle's file as it is")


def read_targets(path: Path, ids: pd.Series) -> pd.DataFrame:
    """Return the targets of the test rows in their order; raise ValueError if the file has other rows."""
    table = pd.DataFrame(read_rows(path))
    check_columns(path, table, [ID, *TARGET_COLUMNS])
    if sorted(table[ID]) != sorted(ids):
        odd = sorted(set(table[ID]) ^ set(ids)) or [*table[ID][table[ID].duplicated()]]
        raise ValueError(f"{path}: expected each id of the test table once, see {odd[0]!r}; correct the file")
    return table.set_index(ID).loc[ids].reset_index()[[ID, *TARGET_COLUMNS]]


def prepare(folder: Path, labels: Path | None, out: Path) -> str:
    """Write the task; return a summary."""
    train = folder / TABLES["train"]
    if train.is_file() and CIF in next(read_rows(train)):  # the bytes stay the same, so that runs on them stay valid
        out.mkdir(parents=True, exist_ok=True)
        for name in (TABLES[which] for which in WRITTEN):
            if (folder / name).is_file():
                shutil.copyfile(folder / name, out / name)
    else:
        for which in ("train", "test"):
            write_csv(out / TABLES[which], with_structures(folder, which))
        write_csv(out / TABLES["sample_submission"], pd.DataFrame(read_rows(find(folder, "sample_submission"))))
    ids = pd.Series([row[ID] for row in read_rows(out / TABLES["test"])])
    if labels:
        write_csv(out / TABLES["test_labels"], read_targets(labels, ids))
    files = [which for which in WRITTEN if (out / TABLES[which]).is_file()]
    write_description(out, TARGETS, files, metric="rmsle", numeric_columns=NUMERIC, categorical_columns=CATEGORICAL)
    return f"{out}: {sum(1 for _ in read_rows(out / TABLES['train']))} training and {len(ids)} test crystals"


def main() -> None:
    parser = command(__doc__)
    parser.add_argument("folder", type=Path, help="folder with Kaggle's files, unpacked")
    parser.add_argument("--labels", type=Path, help="table with the targets of the test rows, if you have them")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "nomad2018")
    args = parser.parse_args()
    print(prepare(args.folder, args.labels, args.out))


if __name__ == "__main__":
    with one_message("prepare_nomad.py"):
        main()
