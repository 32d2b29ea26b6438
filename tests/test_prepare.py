"""The scripts in input/."""

import gzip
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import CRYSTALS

from src.data.export import COUNT_COLUMNS, competition_row
from src.data.table import read_table
from src.data.task import read_task
from src.paths import DEFAULT_TASK, ROOT
from src.storage.files import write_csv


def test_a_local_matminer_file_becomes_a_task_that_loads(tmp_path: Path) -> None:
    from matminer.utils.io import store_dataframe_as_json

    structures = [crystal.to_structure() for crystal in CRYSTALS.values()]
    frame = pd.DataFrame({"structure": structures, "e_form": np.linspace(-2, 0, len(structures))})
    store_dataframe_as_json(frame, str(tmp_path / "mine.json.gz"), compression="gz")
    command = [
        sys.executable, ROOT / "input/prepare_matminer.py", "mine", "--target", "e_form",
        "--file", tmp_path / "mine.json.gz", "--out", tmp_path / "mine", "--test-size", "0.25",
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    task = read_task(tmp_path / "mine")
    assert (task.target_column, task.unit) == ("e_form", "eV/atom")
    train = read_table(task.path("train"), task, has_target=True)
    test = read_table(task.path("test"), task, has_target=False)
    assert (len(train.ids), len(test.ids)) == (6, 2)
    target = dict(zip((f"row-{i}" for i in range(8)), frame["e_form"], strict=True))
    np.testing.assert_allclose(train.target, [target[row_id] for row_id in train.ids])


def test_a_target_with_the_name_of_another_column_is_refused() -> None:
    with pytest.raises(ValueError, match="the target 'nsites' has the name of another column"):
        competition_row("x", CRYSTALS["diamond"].to_structure(), 1.0, "nsites")


def test_bytes_of_a_table_depend_on_its_rows_alone(tmp_path: Path) -> None:
    for name in ("a.csv.gz", "b.csv.gz"):
        write_csv(tmp_path / name, pd.DataFrame({"id": ["x"], "y": [0.1]}))
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()


def test_the_embedded_task_is_3000_and_938_crystals_in_the_competitions_columns() -> None:
    train, test = (pd.read_csv(DEFAULT_TASK / f"{name}.csv.gz") for name in ("train", "test"))
    assert (len(train), len(test)) == (3000, 938)
    assert list(train.columns[1:90]) == COUNT_COLUMNS and list(train.columns[:-1]) == list(test.columns)
    assert not set(train["id"]) & set(test["id"])
    assert list(test["id"]) == list(pd.read_csv(DEFAULT_TASK / "sample_submission.csv")["id"])
    assert train["formation_energy_per_atom"].std() == pytest.approx(1.07, abs=0.02)


@pytest.mark.slow
def test_prepare_flla_writes_the_committed_bytes(tmp_path: Path) -> None:
    """Needs the package index, for the source archive of matminer 0.3.9."""
    download = ["-m", "pip", "download", "--no-deps", "--no-binary", ":all:", "matminer==0.3.9", "-d", str(tmp_path)]
    subprocess.run([sys.executable, *download], check=False, capture_output=True)  # its build may fail after the download
    archive = tmp_path / "matminer-0.3.9.tar.gz"
    if not archive.is_file():
        pytest.skip("the archive cannot be downloaded here")
    subprocess.run(
        [sys.executable, ROOT / "input/prepare_flla.py", archive, "--out", tmp_path / "flla"], check=True, capture_output=True
    )
    for path in sorted(DEFAULT_TASK.iterdir()):
        new, old = (folder / path.name for folder in (tmp_path / "flla", DEFAULT_TASK))
        read = gzip.decompress if path.suffix == ".gz" else bytes
        assert read(new.read_bytes()) == read(old.read_bytes()), path.name
