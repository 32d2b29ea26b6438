"""The same crystals in every format, and formulas, which have no structure."""

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import CRYSTALS, load, run
from pymatgen.core import Composition, Element, Structure
from pymatgen.io.cif import CifWriter
from pymatgen.io.vasp.inputs import Poscar

from exp import check_data, report
from src.config import ExperimentConfig, FoldConfig, GbdtConfig, GnnConfig, GraphConfig, RoostConfig, TrainingConfig
from src.data.crystal import Crystal, parse_formula
from src.data.load import TaskData
from src.data.table import Crystals, CrystalTable, read_table
from src.data.task import read_task
from src.graphs.graph import formula_graph
from src.learners.learner import make_learner
from src.paths import EXPERIMENTS, ROOT
from src.predict.read import read_structures
from src.runs.train import main as train

sys.path.insert(0, str(ROOT))
import predict

CIFS = [str(CifWriter(crystal.to_structure())) for crystal in CRYSTALS.values()]
STRUCTURES = [Crystal.from_cif(cif).to_structure() for cif in CIFS]
TASK = """\
id_column = "id"
structure_column = "of"
structure_format = "{form}"
target_column = "y"
metric = "mae"
unit = "eV"

[files]
train = "train.csv"
"""


def poscar(structure: Structure) -> str:
    return Poscar(structure).get_str(significant_figures=12)


def as_json(structure: Structure) -> str:
    return json.dumps(structure.as_dict())


def xyz(structure: Structure) -> str:
    cell = " ".join(map(repr, structure.lattice.matrix.ravel().tolist()))
    atoms = (f"{site.specie} {' '.join(map(repr, site.coords.tolist()))}\n" for site in structure)
    return f'{len(structure)}\nLattice="{cell}" Properties=species:S:1:pos:R:3 pbc="T T T"\n' + "".join(atoms)


def formula(structure: Structure) -> str:
    return structure.formula


TEXTS: dict[str, Callable[[Structure], str]] = {
    "cif": lambda structure: CIFS[STRUCTURES.index(structure)],
    "poscar": poscar,
    "json": as_json,
    "formula": formula,
}
FILES = {".cif": TEXTS["cif"], ".vasp": poscar, ".json": as_json, ".xyz": xyz}


def write_task(folder: Path, form: str, column: list[str], target: np.ndarray | None = None) -> Path:
    """Write a task without a test table."""
    folder.mkdir(parents=True, exist_ok=True)
    target = np.arange(len(column)) / 7 if target is None else target
    pd.DataFrame({"id": [f"c{i}" for i in range(len(column))], "of": column, "y": target}).to_csv(
        folder / "train.csv", index=False
    )
    (folder / "task.toml").write_text(TASK.format(form=form) + ('structures = "files"\n' if form == "file" else ""))
    return folder


def task_of_files(folder: Path, suffix: str = ".vasp") -> Path:
    (folder / "files").mkdir(parents=True)
    names = [f"{i}{suffix}" for i in range(len(STRUCTURES))]
    for name, structure in zip(names, STRUCTURES, strict=True):
        (folder / "files" / name).write_text(FILES[suffix](structure))
    return write_task(folder, "file", names)


def read(folder: Path) -> CrystalTable:
    task = read_task(folder)
    return read_table(task.path("train"), task, has_target=True)


@pytest.mark.parametrize("form", ["cif", "poscar", "json", *FILES])
def test_the_same_crystals_are_read_from_every_format(tmp_path: Path, form: str) -> None:
    if form == ".xyz":
        pytest.importorskip("ase")
    folder = tmp_path / "task"
    folder = task_of_files(folder, form) if form in FILES else write_task(folder, form, [TEXTS[form](s) for s in STRUCTURES])
    found = read(folder).crystals
    assert len(found) == len(STRUCTURES) and found.has_structure
    for i, structure in enumerate(STRUCTURES):
        assert found[i].atomic_numbers.tolist() == list(structure.atomic_numbers)
        np.testing.assert_allclose(found[i].lattice, structure.lattice.matrix, atol=1e-6)
        apart = found[i].frac_coords - structure.frac_coords
        np.testing.assert_allclose(apart - np.round(apart), 0, atol=1e-6)


def test_a_changed_structure_file_is_a_changed_table(tmp_path: Path) -> None:
    folder = task_of_files(tmp_path / "task")
    before = load(folder)
    (folder / "files" / "beside.vasp").write_text("named in no table")
    assert (load(folder).key, load(folder).train_key) == (before.key, before.train_key)
    (folder / "files" / "1.vasp").write_text(poscar(STRUCTURES[1] * (2, 1, 1)))
    after = load(folder)
    assert after.key != before.key and after.train_key != before.train_key
    assert after.train.crystals[1].n_atoms == 2 * before.train.crystals[1].n_atoms


def test_a_table_of_cifs_keeps_the_key_that_finished_runs_have(task_folder: Path) -> None:
    columns = (("id", "cif", "formation_energy_per_atom"), [])
    parts = [*((task_folder / f"{which}.csv.gz").read_bytes() for which in ("train", "test")), repr(columns).encode()]
    assert load(task_folder).key == hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def test_new_tables_name_files_beside_themselves(tmp_path: Path) -> None:
    task = read_task(task_of_files(tmp_path / "task"))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.cif").write_text(CIFS[3])
    for folder, name in ((tmp_path / "elsewhere", "a.cif"), (task.folder, "3.vasp")):
        pd.DataFrame({"id": ["new"], "of": [name]}).to_csv(folder / "new.csv", index=False)
        (found,) = read_structures([folder / "new.csv"], task)
        assert found.crystal is not None and found.crystal.reduced_formula == "TiO2"


def test_a_column_named_as_a_feature_counts_no_atoms(tmp_path: Path) -> None:
    folder = write_task(tmp_path / "task", "cif", CIFS)
    table = pd.read_csv(folder / "train.csv").assign(V=12.5)
    table.to_csv(folder / "train.csv", index=False)
    with pytest.raises(ValueError, match=r"V='12\.5' but 0 in the structure"):
        read(folder)
    text = (folder / "task.toml").read_text()
    (folder / "task.toml").write_text(text.replace("[files]", 'numeric_columns = ["V"]\n[files]'))
    assert len(read(folder).ids) == len(CIFS)


# formulas


@pytest.mark.parametrize(
    ("text", "atoms"),
    [
        ("Fe2O3", {"Fe": 2, "O": 3}),
        ("Fe4 O6", {"Fe": 4, "O": 6}),
        ("Ca(OH)2", {"Ca": 1, "O": 2, "H": 2}),
        ("CuSO4(H2O)5", {"Cu": 1, "S": 1, "O": 9, "H": 10}),
        ("Li0.5CoO2", {"Li": 1, "Co": 2, "O": 4}),
        ("La0.85Sr0.15MnO3", {"La": 17, "Sr": 3, "Mn": 20, "O": 60}),
        ("Li.333CoO2", {"Li": 1, "Co": 3, "O": 6}),
        ("Fe.0833Co", {"Fe": 1, "Co": 12}),  # the largest denominator of a rounded fraction
        ("Fe0.99Cr0.01", {"Fe": 99, "Cr": 1}),
        ("C9999H", {"C": 9999, "H": 1}),
        ("H" * 300, {"H": 300}),
        ("(Fe0.5Co0.5)2O₃", {"Fe": 1, "Co": 1, "O": 3}),
    ],
)
def test_a_formula_is_whole_numbers_of_atoms_in_its_proportion(text: str, atoms: dict[str, int]) -> None:
    found = parse_formula(text)
    assert found == {Element(symbol).Z: n for symbol, n in atoms.items()} and {type(n) for n in found.values()} == {int}


@pytest.mark.parametrize(
    ("text", "atoms"),
    [
        ("Fe0.620C0.000953Mn0.000091", {"Fe": 0.62, "C": 0.000953, "Mn": 0.000091}),
        ("Fe0.9735Cr0.0265", {"Fe": 0.9735, "Cr": 0.0265}),
        ("Li0.334Co", {"Li": 0.334, "Co": 1}),
        ("Fe.0769Co", {"Fe": 0.0769, "Co": 1}),  # a thirteenth
        ("CoMn.0004", {"Co": 1, "Mn": 0.0004}),
        ("C99.99H99.99", {"C": 99.99, "H": 99.99}),
        ("Fe.0588235Co", {"Fe": 0.0588235, "Co": 1}),  # not exactly a seventeenth
        ("Fe.990099009901C.009900990099", {"Fe": 0.990099009901, "C": 0.009900990099}),  # hundred and first parts
    ],
)
def test_amounts_that_are_no_whole_numbers_count_as_they_are_written(text: str, atoms: dict[str, float]) -> None:
    crystal = Crystal.from_formula(text)
    counts, stored = crystal.element_counts, Crystals.from_list([Crystal.from_formula("FeC"), crystal])
    assert {z: counts[z] for z in np.flatnonzero(counts)} == {Element(symbol).Z: n for symbol, n in atoms.items()}
    np.testing.assert_array_equal(stored.element_counts[1], counts)
    np.testing.assert_array_equal(stored[1].element_counts, counts)
    assert Composition(crystal.reduced_formula).as_dict() == {s: round(n / sum(counts), 6) for s, n in atoms.items()}
    assert stored[0].reduced_formula == "FeC"
    assert formula_graph(crystal).orbit_weight.tolist() == [n / sum(counts) for n in counts[counts > 0]]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Fe1e3", "not a formula"),
        ("Fe0", "no atoms"),
        ("H" * 301, "301 characters; the limit is 300"),
        ("C9999H2", "10001 atoms; the limit is 10000"),
        ("q" * 61, f"^'{'q' * 60}' is not a formula"),
    ],
)
def test_a_text_that_is_no_formula_has_its_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Crystal.from_formula(text)


FOLDS = FoldConfig(scheme="grouped", n_folds=3)
TREES = ExperimentConfig(
    learner=GbdtConfig(features=("fractions", "magpie", "mat2vec"), n_trees=30, min_child_samples=2), folds=FOLDS
)
NETWORK = ExperimentConfig(
    learner=GnnConfig(
        training=TrainingConfig(n_epochs=2, batch_size=8),
        graph=GraphConfig(),
        network=RoostConfig(n_channels=8, n_layers=1, n_hidden=8),
    ),
    folds=FOLDS,
)


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> tuple[TaskData, TaskData]:
    """The same compositions as structures and as formulas, with finished runs of trees and a network."""
    root = tmp_path_factory.mktemp("formulas")
    rng = np.random.default_rng(0)
    structures = []
    for _ in range(4):
        for structure in STRUCTURES:
            symbols = {s: rng.choice(["Li", "Mg", "Fe", "O", "Cl", "Si", "Ti"]) for s in structure.composition.as_dict()}
            structures.append(structure.copy().replace_species(symbols))
    target = np.array([sum(s.atomic_numbers) / len(s) for s in structures])
    cifs = write_task(root / "cifs", "cif", [str(CifWriter(s)) for s in structures], target)
    formulas = write_task(root / "formulas", "formula", [s.formula for s in structures], target)
    loaded = load(cifs), load(formulas)
    for data in loaded:
        for name, config in (("exp001", TREES), ("exp081", NETWORK)):
            run(data, config, name)
    return loaded


@pytest.mark.parametrize("name", ["exp001", "exp081"])
def test_a_formula_scores_as_a_structure_of_the_same_composition(tasks: tuple[TaskData, TaskData], name: str) -> None:
    cifs, formulas = (pd.read_csv(data.folder / name / "oof.csv", float_precision="round_trip") for data in tasks)
    pd.testing.assert_frame_equal(cifs, formulas, check_exact=True)
    assert not tasks[1].train.crystals.has_structure


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("exp010", "its learner is a network, Nequip"),
        ("exp002", "learner.features: geometry, symmetry, charges, voronoi"),
        ("exp018", "learner.features: geometry, symmetry, charges, voronoi"),
        ("exp046", "its part exp"),
    ],
)
def test_what_needs_structures_refuses_formulas_before_it_writes(tmp_path: Path, name: str, reason: str) -> None:
    folder = write_task(tmp_path / "task", "formula", ["Fe2O3"])
    with pytest.raises(SystemExit) as stopped:
        train(EXPERIMENTS / name, ["--data", str(folder), "--outputs", str(tmp_path / "outputs")])
    message = str(stopped.value.code)
    assert (
        message.startswith(f"{name}: it needs structures ({reason}")
        and "Formulas suffice for exp001" in message
        and "exp081" in message
    )
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize("features", [("geometry",), ("fractions", "voronoi")])
def test_structure_features_of_a_formula_name_it(tasks: tuple[TaskData, TaskData], features: tuple[str, ...]) -> None:
    data = tasks[1]
    with pytest.raises(ValueError, match="crystal 'c0' is a formula alone"):
        make_learner(GbdtConfig(features=features)).prepare_inputs(data.train.crystals, data.train_key, data.cache, 1)


def where(data: TaskData) -> list[str]:
    return ["--data", str(data.task.folder), "--outputs", str(data.folder.parent)]


@pytest.mark.usefixtures("undrawn")
def test_formulas_are_audited_and_reported_without_their_structures(
    tasks: tuple[TaskData, TaskData], capsys: pytest.CaptureFixture[str]
) -> None:
    check_data.main(where(tasks[1]))
    text = capsys.readouterr().out
    assert "groups of equal formulas" in text and "space group" not in text
    report.main(["001", *where(tasks[1])])
    html = (tasks[1].folder / "report.html").read_text()
    assert "atoms per formula" in html and "<svg" not in html and "crystal system" not in html


@pytest.mark.parametrize("number", ["001", "081"])
def test_new_formulas_are_predicted_and_remarked_upon(tasks: tuple[TaskData, TaskData], number: str, tmp_path: Path) -> None:
    known = tasks[1].train.crystals[0]
    table = pd.DataFrame({"id": ["old", "new", "bad"], "of": [f"{known.reduced_formula}", "UO2", "Xx"]})
    table.to_csv(tmp_path / "new.csv", index=False)
    (tmp_path / "a.cif").write_text(CIFS[3])
    with pytest.raises(SystemExit, match="no prediction for 1"):
        files = [str(tmp_path / name) for name in ("new.csv", "a.cif", "p.csv")]
        predict.main([*files[:2], "--exps", number, "--out", files[2], *where(tasks[1])])
    old, new, bad, cif = pd.read_csv(tmp_path / "p.csv", keep_default_na=False).itertuples()
    assert old.remark.startswith("same composition as the training row ") and old.formula == known.reduced_formula
    assert new.remark == "never seen in training: U" and "Xx is not an element" in bad.remark
    assert cif.formula == "TiO2" and float(cif.prediction)
