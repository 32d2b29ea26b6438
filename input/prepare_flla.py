"""Write input/flla/ from the FLLA data set in the source archive of matminer 0.3.9.

    pip download --no-deps --no-binary :all: matminer==0.3.9     # only the download is needed; the build may fail
    python input/prepare_flla.py matminer-0.3.9.tar.gz

Source: Faber, Lindmaa, von Lilienfeld, Armiento, Int. J. Quantum Chem. 115, 1094 (2015), doi:10.1002/qua.24917.
"""

import ast
import hashlib
import io
import sys
import tarfile
from pathlib import Path

import pandas as pd
from pymatgen.core import Lattice, Structure
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from src.command import command, one_message
from src.data.export import competition_row, write_split

ARCHIVE_SHA256 = "3faf9e83464f3d48f68a759bf476ad24da4c8c3e950c8f340cb917d3bb906400"
MEMBER = "matminer-0.3.9/matminer/datasets/flla_2015.csv"
N_TEST = 938  # 3,000 / 938 as in the literature
SPLIT_SEED = 2015


def read_archive(path: Path) -> pd.DataFrame:
    """Return the table in the archive; raise ValueError if it is not the published file."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != ARCHIVE_SHA256:
        raise ValueError(f"{path}: sha256 is {digest}, expected {ARCHIVE_SHA256}; download matminer==0.3.9 again")
    with tarfile.open(path) as archive:
        member = archive.extractfile(MEMBER)
        if member is None:
            raise ValueError(f"{path}: no member {MEMBER}")
        return pd.read_csv(io.BytesIO(member.read()), comment="#")


def parse_structure(literal: str) -> Structure:
    """Return the pymatgen Structure written as a Python literal, without executing it."""
    fields = ast.literal_eval(literal)
    sites = fields["sites"]
    species = [{part["element"]: part["occu"] for part in site["species"]} for site in sites]
    return Structure(Lattice(fields["lattice"]["matrix"]), species, [site["abc"] for site in sites])


def main() -> None:
    parser = command(__doc__)
    parser.add_argument("archive", type=Path, help="matminer-0.3.9.tar.gz")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "flla")
    args = parser.parse_args()
    raw = read_archive(args.archive)
    rows = pd.DataFrame(
        competition_row(row.material_id, parse_structure(row.structure), row.formation_energy_per_atom)
        for row in tqdm(raw.itertuples(), total=len(raw), desc="structures to CIF")
    )
    print(write_split(args.out, rows, N_TEST, SPLIT_SEED))


if __name__ == "__main__":
    with one_message("prepare_flla.py"):
        main()
