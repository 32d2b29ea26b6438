"""The scripts in input/; prepare_nomad.py on a few made-up files of Kaggle's layout."""

import gzip
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ase.io.aims import parse_geometry_lines
from conftest import CRYSTALS, small_table
from pymatgen.core import Structure

from input import prepare_matminer
from input.prepare_nomad import NUMERIC, TARGET_COLUMNS, prepare, read_geometry
from src.data.export import competition_row, write_split
from src.data.rows import read_rows
from src.data.table import read_table
from src.data.task import read_task, read_tasks
from src.paths import DEFAULT_TASK, ROOT
from src.storage.files import write_csv


def test_a_local_matminer_file_becomes_a_task_that_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matminer.utils.io import store_dataframe_as_json

    structures = [crystal.to_structure() for crystal in CRYSTALS.values()]
    structures[1].replace(0, {"Na": 0.625, "K": 0.25})  # an eighth of this site is vacant
    frame = pd.DataFrame({"structure": structures, "e_form": np.linspace(-2, 0, len(structures))})
    store_dataframe_as_json(frame, str(tmp_path / "mine.json.gz"), compression="gz")
    options = {"--target": "e_form", "--file": tmp_path / "mine.json.gz", "--out": tmp_path / "mine", "--test-size": 0.25}
    arguments = [str(part) for option in options.items() for part in option]
    monkeypatch.setattr(sys, "argv", ["prepare_matminer.py", "mine", *arguments])
    prepare_matminer.main()
    task = read_task(tmp_path / "mine")
    assert (task.target_column, task.unit) == ("e_form", "eV/atom")
    train = read_table(task.path("train"), task, has_target=True)
    test = read_table(task.path("test"), task, has_target=False)
    assert (len(train.ids), len(test.ids)) == (6, 2)
    assert sum(table.crystals.is_disordered.sum() for table in (train, test)) == 1
    target = dict(zip((f"row-{i}" for i in range(8)), frame["e_form"], strict=True))
    np.testing.assert_allclose(train.target, [target[row_id] for row_id in train.ids])


def test_a_target_with_the_name_of_another_column_is_refused() -> None:
    with pytest.raises(ValueError, match="the target 'nsites' has the name of another column"):
        competition_row("x", CRYSTALS["diamond"].to_structure(), 1.0, "nsites")


def test_a_split_is_drawn_by_its_seed_and_keeps_the_order_of_rows(tmp_path: Path) -> None:
    rows, drawn = small_table(20), []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert write_split(tmp_path / name, rows, 5, seed) == f"{tmp_path / name}: 15 training and 5 test crystals"
        train, test = ([row["id"] for row in read_rows(read_task(tmp_path / name).path(part))] for part in ("train", "test"))
        assert sorted(train + test) == sorted(rows["id"]) and len(test) == 5
        sample = read_rows(read_task(tmp_path / name).path("sample_submission"))
        assert [(row["id"], float(row["formation_energy_per_atom"])) for row in sample] == [(own, 0.0) for own in test]
        assert [train, test] == [[own for own in rows["id"] if own in part] for part in (train, test)]
        drawn.append(test)
    assert drawn[0] == drawn[1] != drawn[2]


def test_bytes_of_a_table_depend_on_its_rows_alone(tmp_path: Path) -> None:
    for name in ("a.csv.gz", "b.csv.gz"):
        write_csv(tmp_path / name, pd.DataFrame({"id": ["x"], "y": [0.1]}))
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()


def test_the_embedded_task_is_3000_and_938_crystals_in_the_competitions_columns() -> None:
    train, test = (pd.read_csv(DEFAULT_TASK / f"{name}.csv.gz") for name in ("train", "test"))
    assert (len(train), len(test)) == (3000, 938)
    row = competition_row("x", CRYSTALS["rutile"].to_structure(), 1.0)
    assert list(train) == list(row) and list(train.columns[:-1]) == list(test.columns)
    assert [row[name] for name in ("O", "Ti", "Zr", "nelements", "nsites", "formula_pretty")] == [4, 2, 0, 2, 6, "TiO2"]
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


GEOMETRY = """\
#=======================================================
# Created using the Atomic Simulation Environment (ASE)
#=======================================================
lattice_vector 4.1 0.0 0.0
lattice_vector 0.3 5.2 0.0   # a comment
lattice_vector 0.0 -0.4 6.3

atom 0.0 0.0 0.0 Al
atom 2.05 2.6 0.5e1 Ga
atom 1.0 1.3 4.7 O
atom 4.5 3.1 0.2 O
atom 2.0 4.1 1.9 O
"""


@pytest.fixture
def kaggle(tmp_path: Path) -> Path:
    """Four training and two test crystals as Kaggle's archives unpack."""
    folder = tmp_path / "kaggle"
    ids = {"train": [1, 2, 3, 4], "test": [1, 2]}
    for which, own in ids.items():
        table = pd.DataFrame({"id": own, "spacegroup": 33, **dict.fromkeys(NUMERIC, 0.5)}).assign(number_of_total_atoms=5.0)
        if which == "train":
            table = table.assign(
                formation_energy_ev_natom=[0.068, 0.249, 0.1821, 0.2172], bandgap_energy_ev=[3.44, 2.9, 2.74, 3.35]
            )
        for row_id in own:
            (folder / which / str(row_id)).mkdir(parents=True)
            (folder / which / str(row_id) / "geometry.xyz").write_text(GEOMETRY.replace("4.1 0.0", f"4.{row_id} 0.0"))
        table.to_csv(folder / f"{which}.csv", index=False)
    sample = pd.DataFrame({"id": ids["test"], **dict.fromkeys(TARGET_COLUMNS, 0.1779)})
    sample.to_csv(folder / "sample_submission.csv", index=False)
    return folder


def test_a_geometry_is_read_as_ase_reads_it(tmp_path: Path) -> None:
    (tmp_path / "geometry.xyz").write_text(GEOMETRY)
    own, reference = read_geometry(tmp_path / "geometry.xyz"), parse_geometry_lines(GEOMETRY.splitlines())
    np.testing.assert_allclose(own.lattice.matrix, reference.cell.array)
    np.testing.assert_allclose(own.cart_coords, reference.positions)
    assert [site.specie.symbol for site in own] == reference.get_chemical_symbols()


def test_kaggles_files_become_a_task_with_two_targets_that_loads(kaggle: Path, tmp_path: Path) -> None:
    assert prepare(kaggle, None, tmp_path / "nomad2018").endswith("nomad2018: 4 training and 2 test crystals")
    energy, gap = read_tasks(tmp_path / "nomad2018")
    assert (energy.metric, energy.unit, gap.unit, energy.columns.categorical) == ("rmsle", "eV/cation", "eV", ("spacegroup",))
    assert energy.columns.numeric == tuple(NUMERIC) and "test_labels" not in energy.files
    train = read_table(gap.path("train"), gap, has_target=True)
    assert train.targets.tolist() == [3.44, 2.9, 2.74, 3.35]
    expected = Structure.from_str(next(read_rows(gap.path("train")))["cif"], fmt="cif")
    assert train.crystals[0].to_structure().matches(expected) and expected.lattice.a == pytest.approx(4.1)
    assert len(read_table(gap.path("test"), gap, has_target=False).ids) == 2


def test_labels_are_written_in_the_order_of_the_test_table(kaggle: Path, tmp_path: Path) -> None:
    pd.DataFrame({"id": [2, 1], "bandgap_energy_ev": [2.0, 1.0], "formation_energy_ev_natom": [0.2, 0.1]}).to_csv(
        tmp_path / "solution.csv", index=False
    )
    prepare(kaggle, tmp_path / "solution.csv", tmp_path / "nomad2018")
    rows = list(read_rows(read_tasks(tmp_path / "nomad2018")[0].path("test_labels")))
    assert rows == [
        {"id": "1", "formation_energy_ev_natom": "0.1", "bandgap_energy_ev": "1.0"},
        {"id": "2", "formation_energy_ev_natom": "0.2", "bandgap_energy_ev": "2.0"},
    ]


def test_tables_that_have_structures_are_copied_byte_for_byte(kaggle: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    prepare(kaggle, None, first)
    (first / "test_labels.csv.gz").write_bytes(b"as they are")
    prepare(first, None, second)
    names = ["sample_submission.csv", "task.toml", "test.csv.gz", "test_labels.csv.gz", "train.csv.gz"]
    assert sorted(path.name for path in second.iterdir()) == names
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in names if name != "task.toml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("atom 1.0 1.3 4.7 O", "atom 1.0 1.3 O", r"line 10, 'atom 1.0 1.3 O': expected `lattice_vector x y z` or"),
        ("atom 1.0 1.3 4.7 O", "atom 1.0 1.3 4.7", "line 10, 'atom 1.0 1.3 4.7': expected"),
        ("atom 1.0 1.3 4.7 O", "atom 1.0 1.3 nan O", "line 10, 'atom 1.0 1.3 nan O': expected"),
        ("atom 1.0 1.3 4.7 O", "atom 1.0 1.3 4.7 Xx", "line 10, 'atom 1.0 1.3 4.7 Xx': expected"),
        ("atom 1.0 1.3 4.7 O", "initial_moment 3", "line 10, 'initial_moment 3': expected"),
        ("lattice_vector 4.1 0.0 0.0\n", "", "geometry.xyz: 2 lattice vectors and 5 atoms; expected 3"),
        ("atom 1.0 1.3 4.7 O\n", "", "id '3': number_of_total_atoms is 5.0, but .*geometry.xyz has 4"),
    ],
)
def test_a_bad_geometry_is_refused_by_file_and_line(kaggle: Path, tmp_path: Path, old: str, new: str, message: str) -> None:
    path = kaggle / "train" / "3" / "geometry.xyz"
    path.write_text(GEOMETRY.replace(old, new))
    with pytest.raises(ValueError, match=message) as raised:
        prepare(kaggle, None, tmp_path / "nomad2018")
    assert str(path) in str(raised.value)


def test_a_missing_geometry_folder_table_or_column_is_named(kaggle: Path, tmp_path: Path) -> None:
    out, geometry = tmp_path / "nomad2018", kaggle / "test" / "2" / "geometry.xyz"
    geometry.unlink()
    with pytest.raises(FileNotFoundError, match=rf"test.csv: id '2' has no geometry: {re.escape(str(geometry))} is missing"):
        prepare(kaggle, None, out)
    geometry.parent.rmdir()
    with pytest.raises(FileNotFoundError, match=r"test.csv: id '2' has no folder: .* unpack test.zip again"):
        prepare(kaggle, None, out)
    for old, new in {"id,": "ID,", "bandgap_energy_ev": "gap"}.items():
        text = (kaggle / "train.csv").read_text()
        (kaggle / "train.csv").write_text(text.replace(old, new, 1))
        with pytest.raises(ValueError, match=rf"train.csv: no column '{old.strip(',')}'"):
            prepare(kaggle, None, out)
        (kaggle / "train.csv").write_text(text)
    (kaggle / "train.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"train.csv is missing; give the folder"):
        prepare(kaggle, None, out)


@pytest.mark.parametrize(("ids", "named"), [([1, 3], "'2'"), ([1, 2, 2], "'2'"), ([1], "'2'")])
def test_labels_of_other_rows_are_refused(kaggle: Path, tmp_path: Path, ids: list[int], named: str) -> None:
    pd.DataFrame({"id": ids, **dict.fromkeys(TARGET_COLUMNS, 0.1)}).to_csv(tmp_path / "solution.csv", index=False)
    with pytest.raises(ValueError, match=f"solution.csv: expected each id of the test table once, see {named}"):
        prepare(kaggle, tmp_path / "solution.csv", tmp_path / "nomad2018")


def test_the_command_ends_with_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["prepare_nomad.py", str(tmp_path)])
    message = f"prepare_nomad.py: {tmp_path / 'train'}.csv is missing; give the folder with the contest's files from Kaggle"
    with pytest.raises(SystemExit, match=f"^{re.escape(message)}$"):
        runpy.run_path(str(ROOT / "input/prepare_nomad.py"), run_name="__main__")
