"""Laws of predict.py: it says what the experiment said, whatever the file, the cell, the order and the company."""

import json
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import CRYSTALS, FOLDS, GBDT, NETWORK, load, random_rotation, run, small_task
from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifWriter
from pymatgen.io.vasp.inputs import Poscar

from src.config import BlendConfig, TargetConfig
from src.data import formats
from src.data.cif import WHOLE
from src.data.crystal import Crystal
from src.data.table import Crystals, read_table
from src.data.task import read_task
from src.features.elements import word2vec_key
from src.features.similarity import TrainingSet, likeness
from src.paths import BEST, DEFAULT_TASK, EXPERIMENTS, ROOT
from src.predict import Predictor, fold_models
from src.predict import predictor as module
from src.predict.read import Found, read_structures
from src.results import predictions as results
from src.results.blend import fixed_blend, stack_oof
from src.results.folder import RunDir
from src.results.intervals import calibrate
from src.results.predictions import find_predictions
from src.results.publish import MAX_BYTES, publish, publish_models
from src.results.surroundings import Surroundings, points_of
from src.results.trees import Trees
from src.storage.files import packed

sys.path.insert(0, str(ROOT))
import predict as command

MODELS = EXPERIMENTS / f"exp{BEST}" / "results" / "models"
PURE = replace(GBDT, target=TargetConfig(pure_elements="median"))
GATHERED = replace(NETWORK, network=replace(NETWORK.network, gather_layers=True))
MOST_MODULES = 58  # of src
RUNS = {"001": PURE, "010": replace(PURE, learner=GATHERED), "040": replace(GBDT, learner=BlendConfig(("001", "010")))}
TOLERANCE = {"001": 0.0, "010": 1e-6, "040": 1e-6}  # eV/atom


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small task with a finished run of trees, of a network and of a blend of both; its outputs lie next to it."""
    folder = small_task(tmp_path_factory.mktemp("predict"), n_pure=6)
    for number, config in RUNS.items():
        run(folder, config, f"exp{number}")
    return folder


@pytest.fixture(scope="module")
def test_structures(task: Path) -> list[Structure]:
    crystals = read_table(read_task(task).path("test"), read_task(task), has_target=False).crystals
    return [crystals[i].to_structure() for i in range(len(crystals))]


def predictor(task: Path, *numbers: str, **options: object) -> Predictor:
    return Predictor.load(*numbers, task=task, outputs=task.parent / "outputs", **options)


def run_command(task: Path, *arguments: object) -> pd.DataFrame:
    """Run predict.py and return the table that it writes."""
    out = task.parent / "predictions.csv"
    where = ["--data", task, "--outputs", task.parent / "outputs", "--out", out]
    try:
        command.main([str(argument) for argument in [*arguments, *where]])
    finally:
        table = pd.read_csv(out, keep_default_na=False, na_values={"prediction": [""]}, float_precision="round_trip")
    return table


@pytest.mark.parametrize("number", RUNS)
def test_predictions_for_the_test_table_are_those_of_the_experiment(task: Path, number: str) -> None:
    table = run_command(task, task / "test.csv.gz", "--exps", number)
    expected = pd.read_csv(task.parent / f"outputs/small/exp{number}/test.csv", float_precision="round_trip")
    assert list(table["name"]) == list(expected["id"])
    assert np.abs(table["prediction"] - expected["e_form_pred"]).max() <= TOLERANCE[number]


def test_a_blend_of_named_experiments_is_the_weighted_mean(task: Path, test_structures: list[Structure]) -> None:
    blend = predictor(task, "001", "010", weights=[3, 1]).predict(test_structures)["prediction"]
    trees, network = (predictor(task, number).predict(test_structures)["prediction"] for number in ("001", "010"))
    np.testing.assert_allclose(blend, 0.75 * trees + 0.25 * network, atol=1e-9)
    equal = predictor(task, "001", "010").predict(test_structures)["prediction"]
    np.testing.assert_allclose(equal, (trees + network) / 2, atol=1e-9)


def test_order_and_company_do_not_matter(task: Path, test_structures: list[Structure]) -> None:
    ready = predictor(task, "010")
    together, reversed_ = ready.predict(test_structures), ready.predict(test_structures[::-1])
    alone = pd.concat([ready.predict([structure]) for structure in test_structures], ignore_index=True)
    for other in (reversed_[::-1].reset_index(drop=True), alone):
        pd.testing.assert_frame_equal(together.drop(columns="name"), other.drop(columns="name"), atol=2e-6, rtol=0)


@pytest.mark.parametrize("number", RUNS)
def test_a_supercell_scores_as_its_primitive_cell(task: Path, number: str) -> None:
    cell = CRYSTALS["rutile"].to_structure()
    one, two = predictor(task, number).predict([cell, cell.make_supercell([2, 1, 1], in_place=False)])["prediction"]
    assert two == pytest.approx(one, abs=1e-5)


def write_formats(folder: Path, structure: Structure) -> dict[str, Path]:
    """Write a structure in every format that is read; return the files by kind."""
    files = {
        kind: folder / name for kind, name in {"cif": "a.cif", "poscar": "POSCAR", "json": "a.json", "table": "a.csv"}.items()
    }
    cif = str(CifWriter(structure))
    files["cif"].write_text(cif)
    Poscar(structure).write_file(files["poscar"], significant_figures=12)
    files["json"].write_text(json.dumps(structure.as_dict()))
    pd.DataFrame({"id": ["a"], "cif": [cif]}).to_csv(files["table"], index=False)
    return files


@pytest.mark.parametrize("number", ["001", "010"])
def test_the_file_format_does_not_matter(task: Path, number: str, tmp_path: Path) -> None:
    structure = CRYSTALS["triclinic"].to_structure()
    table = run_command(task, *write_formats(tmp_path, structure).values(), "--exps", number)
    expected = predictor(task, number).predict([structure])["prediction"][0]
    np.testing.assert_allclose(table["prediction"], expected, atol=1e-5)
    for names, given in ((["id", "of"], ["--structure", "of"]), (["mine", "cif"], ["--id", "mine"])):
        pd.DataFrame([["b", json.dumps(structure.as_dict())]], columns=names).to_csv(tmp_path / "b.csv", index=False)
        table = run_command(task, tmp_path / "b.csv", "--exps", number, *given)
        assert [*table["name"]] == ["b"] and table["prediction"][0] == pytest.approx(expected, abs=1e-5)


def test_extended_xyz_and_atoms_of_ase_are_read(task: Path, tmp_path: Path) -> None:
    structures = [CRYSTALS[name].to_structure() for name in ("triclinic", "wurtzite")]
    ase = pytest.importorskip("ase")
    from ase.io import write

    atoms = [ase.Atoms(s.atomic_numbers, scaled_positions=s.frac_coords, cell=s.lattice.matrix, pbc=True) for s in structures]
    write(tmp_path / "all.extxyz", atoms)
    from_file = run_command(task, tmp_path / "all.extxyz", "--exps", "010")
    assert list(from_file["name"]) == [f"{tmp_path / 'all.extxyz'}#{i}" for i in range(len(atoms))]
    expected = predictor(task, "010").predict(structures)["prediction"]
    for found in (from_file, predictor(task, "010").predict(atoms)):
        np.testing.assert_allclose(found["prediction"], expected, atol=1e-5)
    slab = predictor(task, "010").predict([ase.Atoms("Na", cell=[3, 3, 20], pbc=[True, True, False])])
    assert slab["remark"][0] == "the atoms are not periodic in all three directions"


VASP4 = "old\n1.0\n3 0 0\n0 3 0\n0 0 3\n1 1\nDirect\n0 0 0\n.5 .5 .5\n"


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("bad.cif", "data_x\n", "0 structures, expected one"),
        ("POSCAR_4", VASP4, "the POSCAR names no elements; write their symbols into line 6"),
        ("list.json", "[]", "holds no structure"),
        ("other.json", '{"a": 1}', "not the JSON of a pymatgen Structure"),
        ("broken.json", "{", "JSONDecodeError|Expecting"),
        ("table.csv", "a,b\n1,2\n", "no column 'id', 'cif'"),
        ("plain.cif.gz", "data_x\n", "the file cannot be read .*gzip"),
        ("words.txt", "?", "not a kind of file that is read"),
        ("absent.cif", None, "no such file"),
    ],
)
def test_a_file_that_cannot_be_read_has_its_reason(tmp_path: Path, name: str, text: str | None, reason: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    (found,) = read_structures([tmp_path / name], read_task(DEFAULT_TASK))
    assert found.crystal is None and found.name == str(tmp_path / name)
    assert re.search(reason, found.reason)
    (tmp_path / "empty").mkdir()
    none = "no structure files in this folder"
    assert read_structures([tmp_path / "empty"], read_task(DEFAULT_TASK)) == [Found(str(tmp_path / "empty"), None, none)]


def test_a_compressed_file_that_grows_beyond_the_limit_is_not_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bomb.cif.gz").write_bytes(packed(tmp_path / "bomb.cif.gz", b" " * 100_000))
    monkeypatch.setattr(formats, "MAX_FILE", 50_000)
    (found,) = read_structures([tmp_path], read_task(DEFAULT_TASK))
    assert found.reason == "the file has more than 50000 characters, which is the limit"


def of_wurtzite(found: list[Found]) -> list[str]:
    """Return the names of the structures, all of which must be wurtzite."""
    known = CRYSTALS["wurtzite"]
    for one in found:
        assert one.crystal is not None, one.reason
        assert one.crystal.reduced_formula == known.reduced_formula and one.crystal.n_atoms == known.n_atoms
        assert one.crystal.volume == pytest.approx(known.volume, rel=1e-6)
    return [one.name for one in found]


def test_compressed_files_tables_with_tabs_and_documents_of_the_materials_project_are_read(tmp_path: Path) -> None:
    structure = CRYSTALS["wurtzite"].to_structure()
    cif, data = str(CifWriter(structure)), structure.as_dict()
    documents, unnamed, long = (
        [{"material_id": name, "nsites": len(structure), "structure": data} for name in names]
        for names in (["mp-7", "mp-8"], ["mp-7", ""], ["mp-7", "m" * 201])
    )
    table = pd.DataFrame({"id": ["a"], "cif": [cif]})
    texts = {"a.cif.gz": cif, "b.json.gz": json.dumps(data), "c.json": json.dumps(documents)}
    texts |= {"d.json": json.dumps({"data": documents}), "e.tsv": table.to_csv(sep="\t", index=False)}
    texts |= {"f.json": json.dumps(unnamed), "g.json": json.dumps(long)}
    for name, text in texts.items():
        (tmp_path / name).write_bytes(packed(tmp_path / name, text.encode()))
    names = of_wurtzite(read_structures([tmp_path], read_task(DEFAULT_TASK)))
    ends = ["a.cif.gz", "b.json.gz", "c.json#mp-7", "c.json#mp-8", "d.json#mp-7", "d.json#mp-8"]
    more = ["f.json#0", "f.json#1", "g.json#mp-7", f"g.json#{'m' * 200}"]
    assert names == [*(str(tmp_path / end) for end in ends), "a", *(str(tmp_path / end) for end in more)]


def test_each_block_of_a_cif_is_a_row_and_a_bad_one_loses_no_other(tmp_path: Path) -> None:
    good = str(CifWriter(CRYSTALS["wurtzite"].to_structure())).partition("\n")[2].split("\n", 1)[1]
    (tmp_path / "a.cif").write_text(
        "".join(f"data_{name}\n{text}" for name, text in (("x", good), ("y", good), ("z", "_atom_site_label Q\n")))
    )
    (tmp_path / "b.cif").write_text(f"data_x\n{good}data_x\n{good}")
    *found, bad = read_structures([tmp_path / "a.cif"], read_task(DEFAULT_TASK))
    assert of_wurtzite(found) == [f"{tmp_path / 'a.cif'}#x", f"{tmp_path / 'a.cif'}#y"]
    assert bad.name.endswith("#z") and bad.crystal is None and bad.reason
    assert of_wurtzite(read_structures([tmp_path / "b.cif"], read_task(DEFAULT_TASK))) == [
        f"{tmp_path / 'b.cif'}#{i}" for i in (0, 1)
    ]


@pytest.mark.parametrize("kind", ["cif", "json", "file"])
def test_a_foreign_table_needs_the_names_of_two_columns(tmp_path: Path, kind: str) -> None:
    structure = CRYSTALS["wurtzite"].to_structure()
    (tmp_path / "POSCAR_1").write_text(Poscar(structure).get_str(significant_figures=12))
    text = {"cif": str(CifWriter(structure)), "json": json.dumps(structure.as_dict()), "file": "POSCAR_1"}[kind]
    rows = {"mp": ["first", "second"], "V": [47.6, 0], "of": ["unreadable", text]}  # V: a volume, and no vanadium
    pd.DataFrame(rows).to_csv(tmp_path / "table.csv", index=False)
    task = replace(read_task(DEFAULT_TASK), id_column="mp", structure_column="of")
    bad, good = read_structures([tmp_path / "table.csv"], task, is_foreign=True)
    assert bad.name == "first" and bad.reason and of_wurtzite([good]) == ["second"]
    assert all(one.reason for one in read_structures([tmp_path / "table.csv"], task))  # a table of its own has no such text


@pytest.mark.parametrize(("n_bad", "is_read"), [(9, True), (10, False)])
def test_the_format_of_a_foreign_table_is_told_by_its_first_ten_rows(tmp_path: Path, n_bad: int, is_read: bool) -> None:
    text = json.dumps(CRYSTALS["wurtzite"].to_structure().as_dict())
    pd.DataFrame({"id": range(n_bad + 1), "cif": [*["?"] * n_bad, text]}).to_csv(tmp_path / "a.csv", index=False)
    *_, last = read_structures([tmp_path / "a.csv"], read_task(DEFAULT_TASK), is_foreign=True)
    assert (last.crystal is not None) == is_read


@pytest.mark.parametrize(("occupancy", "is_whole"), [(0.999, True), (WHOLE, True), (1.1, False)])
def test_an_occupancy_that_is_rounded_counts_as_a_whole_atom(tmp_path: Path, occupancy: float, is_whole: bool) -> None:
    structure = CRYSTALS["wurtzite"].to_structure()
    (tmp_path / "a.cif").write_text(re.sub(r"  1(\.0)?\n", f"  {occupancy}\n", str(CifWriter(structure))))
    data = structure.as_dict()
    for site in data["sites"]:
        site["species"][0]["occu"] = occupancy
    (tmp_path / "b.json").write_text(json.dumps(data))
    found = read_structures([tmp_path], read_task(DEFAULT_TASK))
    assert [one.crystal is not None for one in found] == [is_whole] * 2
    assert not is_whole or of_wurtzite(found)


def test_failures_are_printed_first_and_whole_and_the_file_lies_in_this_folder(
    task: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "a.cif").write_text(str(CifWriter(CRYSTALS["wurtzite"].to_structure())))
    (tmp_path / "b.cif").write_text("data_x\n")
    monkeypatch.chdir(tmp_path)
    Path("predictions.csv").touch()
    arguments = [".", "--exps", "001", "--data", str(task), "--outputs", str(task.parent / "outputs")]
    for _ in range(2):  # the second time, the folder has the predictions of the first, which are no structures
        with pytest.raises(SystemExit, match="no prediction for 1 of the structures"):
            command.main(arguments)
        lines = capsys.readouterr().out.splitlines()
        assert (
            lines[0]
            == "no prediction for b.cif: the CIF contains 0 structures, expected one (a data_ block with _atom_site_label)"
        )
        assert lines[-1].startswith("predictions.csv: 1 predictions") and len(pd.read_csv("predictions.csv")) == 2
    Path("predictions.csv").write_text("another,table\n")
    with pytest.raises(SystemExit, match=r"predictions.csv exists and is no table of predictions; .*--out"):
        command.main(arguments)
    assert Path("predictions.csv").read_text() == "another,table\n"


@pytest.mark.parametrize(("n_good", "n_bad"), [(10, 50), (12, 53), (0, 1), (1, 0)])
def test_fifty_failures_and_ten_predictions_are_shown_and_the_others_counted(n_good: int, n_bad: int) -> None:
    names = [f"{'good' if i < n_good else 'bad'}-{i}" for i in range(n_good + n_bad)]
    values = np.where(np.arange(len(names)) < n_good, 1.23456, np.nan)
    table = pd.DataFrame({"name": names, "formula": "X", **dict.fromkeys(module.BOUNDS, values), "remark": "odd"})
    failed = [f"no prediction for {name}: odd" for name in names[n_good:]]
    more = [f"no prediction for {n_bad - 50} more"] * (n_bad > 50)
    *lines, last = module._lines(table)
    expected = [*failed[:50], *more]
    shown = [*lines, last] if n_good <= 10 else lines
    assert shown[: len(expected)] == expected and (n_good <= 10 or last == f"... and {n_good - 10} more")
    rows = [line.split() for line in shown[len(expected) :]]
    assert rows == [[*module.PREDICTED]] * (n_good > 0) + [[f"good-{i}", "X", *["1.2346"] * 4, "odd"] for i in range(n_good)][:10]


def test_models_that_are_not_published_are_refused_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "read_structures", lambda *args, **options: pytest.fail("read"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=rf"exp012: its models are not published \(those of exp{BEST} are\); train them: python"):
        command.main(["some.cif", "--exps", BEST, "012", "--outputs", str(tmp_path / "outputs")])
    assert list(tmp_path.iterdir()) == []


def test_one_structure_needs_no_list(task: Path) -> None:
    structure = CRYSTALS["wurtzite"].to_structure()
    ready = predictor(task, "010")
    pd.testing.assert_frame_equal(ready.predict(structure), ready.predict([structure]))
    np.testing.assert_array_equal(ready.features(structure), ready.features([structure]))


def test_what_cannot_be_read_loses_nothing_else(task: Path, tmp_path: Path, test_structures: list[Structure]) -> None:
    files = write_formats(tmp_path, test_structures[0])
    (tmp_path / "sub.cif").mkdir()
    for name in ("bad.cif", "notes.txt", ".hidden.cif"):  # the last two are not listed
        (tmp_path / "sub.cif" / name).write_text("data_x\n")
    pd.DataFrame({"id": ["good", "bad"], "cif": [str(CifWriter(test_structures[1])), "nothing"]}).to_csv(tmp_path / "z.csv")
    with pytest.raises(SystemExit, match="no prediction for 2 of the structures"):
        run_command(task, tmp_path, "--exps", "001")
    table = pd.read_csv(task.parent / "predictions.csv")
    expected = [*map(str, sorted([*files.values(), tmp_path / "sub.cif" / "bad.cif"])), "good", "bad"]
    expected[expected.index(str(files["table"]))] = "a"
    assert list(table["name"]) == expected
    failed = table["prediction"].isna()
    assert list(table["name"][failed]) == [str(tmp_path / "sub.cif" / "bad.cif"), "bad"] and table["remark"][failed].notna().all()


@pytest.mark.parametrize("what", ["prepare_inputs", "base_of"])
def test_a_crystal_that_a_part_of_a_blend_cannot_take_loses_nothing_else(
    task: Path, test_structures: list[Structure], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    ready = predictor(task, "040")
    expected = ready.predict(test_structures)["prediction"]
    place = type(ready.models.parts[0].learners[0]) if what == "prepare_inputs" else fold_models
    original = getattr(place, what)

    def refusing(self: object, crystals: Crystals, *rest: object) -> object:
        if (crystals.element_counts[:, bad] == counts[bad]).all(axis=1).any():
            raise ValueError("cannot take this one")
        return original(self, crystals, *rest)

    counts = Crystal.from_structure(test_structures[2]).element_counts
    bad = np.flatnonzero(counts)
    monkeypatch.setattr(place, what, refusing)
    table = ready.predict(test_structures)
    refused = table["remark"] == "cannot take this one"
    assert refused[2] and not refused.all()
    np.testing.assert_allclose(table["prediction"][~refused], expected[~refused], atol=2e-6)
    assert table["prediction"][refused].isna().all()


def test_a_prediction_of_one_file_imports_no_trainer_and_few_modules(task: Path, tmp_path: Path) -> None:
    """Each of these libraries takes up to a second; LightGBM is there unless a run was published with its models."""
    (tmp_path / "some.cif").write_text(str(CifWriter(CRYSTALS["rock salt"].to_structure())))
    where = ["some.cif", "--exps", "010", "--data", task, "--outputs", task.parent / "outputs", "--out", "found.csv"]
    code = (
        f"import runpy, sys; sys.argv = {['predict.py', *map(str, where)]}\n"
        f"runpy.run_path(r'{ROOT / 'predict.py'}', run_name='__main__')\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    listed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    names = set(listed.stderr.splitlines()[-1].split())
    assert len(pd.read_csv(tmp_path / "found.csv")) == 1
    trainers = {f"src.learners.{name}" for name in ("training", "pretraining", "captured", "flat")}
    slow = {"lion_pytorch", "torch._dynamo", "e3nn", "torch_geometric", "numba"}
    assert names & (trainers | slow) == set()
    ours = sorted(name for name in names if name.split(".")[0] == "src")
    assert len(ours) <= MOST_MODULES, ours


def test_a_table_predicted_in_blocks_is_the_same_and_no_file_is_written(
    task: Path, test_structures: list[Structure], monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = predictor(task, "040")
    for name in ("TemporaryFile", "NamedTemporaryFile", "mkstemp", "mkdtemp"):
        monkeypatch.setattr(tempfile, name, lambda *args, **kwargs: pytest.fail("a file is written"))
    at_once = ready.predict(test_structures)
    monkeypatch.setattr(module, "AT_ONCE", 5)
    pd.testing.assert_frame_equal(ready.predict(test_structures), at_once, atol=1e-6, rtol=0)


def test_features_have_a_vector_per_fold_model_and_know_no_cell(task: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crystal, told = CRYSTALS["wurtzite"].to_structure(), list[int]()
    rotated = Structure(
        Lattice(crystal.lattice.matrix @ random_rotation().T), crystal.atomic_numbers[::-1], crystal.frac_coords[::-1]
    )
    cells = [crystal, rotated, crystal.make_supercell([2, 1, 1], in_place=False), CRYSTALS["rutile"].to_structure()]
    monkeypatch.setattr(torch, "set_num_threads", told.append)
    ready = predictor(task, "010")
    assert told == [1]  # as in training
    vectors = ready.features(cells)
    assert vectors.shape == (4, 4 * 4 * 3)  # folds, channels, and the embedding with two layers
    np.testing.assert_allclose(vectors[1:3], vectors[[0, 0]], atol=1e-5)
    assert np.abs(vectors[3] - vectors[0]).max() > 1e-3
    blend = fold_models.FoldModels(TargetConfig(), parts=[ready.models] * 2)
    np.testing.assert_allclose(replace(ready, models=blend).features(cells), np.tile(vectors, 2), atol=1e-5)


def test_features_give_the_prediction_when_the_head_is_linear(task: Path, test_structures: list[Structure]) -> None:
    """Averaged over atoms with the weights of orbits: the mean of a linear map is the map of the mean."""
    ready = predictor(task, "010")
    for learner in ready.models.learners:
        torch.manual_seed(0)
        learner.model.head = torch.nn.Linear(12, 1)
    cells = [*test_structures, CRYSTALS["perovskite"].to_structure(), CRYSTALS["quartz"].to_structure()]
    vectors = ready.features(cells)[:, :12]
    pred = ready.predict(cells)
    crystals = Crystals.from_list([Crystal.from_structure(cell) for cell in cells])
    normalizers, head = ready.models.normalizers, ready.models.learners[0].model.head
    for k in range(1, 4):
        np.testing.assert_array_equal(ready.models.learners[k].model.head.weight.detach(), head.weight.detach())
    residual = np.stack(
        [head(torch.from_numpy(ready.features(cells)[:, 12 * k : 12 * k + 12])).detach().numpy()[:, 0] for k in range(4)]
    )
    expected = [n.denormalize(crystals.element_counts, r) for n, r in zip(normalizers, residual, strict=True)]
    np.testing.assert_allclose(pred["prediction"], np.mean(expected, axis=0), atol=1e-5)
    assert vectors.shape == (len(cells), 12)


def test_a_device_that_torch_cannot_use_is_refused_before_anything_is_read(task: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"^predict: --device nowhere: torch cannot use it here \([^\n]*\)$"):
        command.main([str(tmp_path / "absent.cif"), "--exps", "007", "--device", "nowhere", "--data", str(task)])
    with pytest.raises(ValueError, match="--device nowhere"):
        predictor(task, "007", device="nowhere")


def test_trees_have_no_features(task: Path) -> None:
    with pytest.raises(ValueError, match="only networks"):
        predictor(task, "001").features([CRYSTALS["rutile"].to_structure()])
    with pytest.raises(ValueError, match="structure 1: str is neither a pymatgen Structure nor ASE's Atoms"):
        predictor(task, "010").features([CRYSTALS["rutile"].to_structure(), "rutile"])


def test_remarks_name_what_is_unusual(task: Path) -> None:
    train = read_table(read_task(task).path("train"), read_task(task), has_target=True)
    known = train.crystals[3].to_structure()
    squeezed = known.copy()
    squeezed.scale_lattice(known.volume / 8)
    strange = Structure(Lattice.cubic(4.0), ["U", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    sparse = known.copy()
    sparse.scale_lattice(known.volume * 100)
    perturbed = known.copy()
    perturbed.scale_lattice(known.volume * 1.03)
    rounded = known.copy()
    rounded.scale_lattice(known.volume * 1.001)
    crystals = [known * (2, 1, 1), squeezed, strange, sparse, perturbed, rounded]
    remarks = predictor(task, "001").predict(crystals)["remark"]
    assert remarks[0] == remarks[5] == f"duplicate of the training crystal {train.ids[3]}"
    assert "unrelaxed? its shortest bond is 0.69 of the atomic radii" in remarks[1]
    assert remarks[2] == "never seen in training: U"
    assert remarks[3] == "far from all training crystals"
    assert remarks[4] == ""


def test_a_crystal_of_one_element_is_remarked_if_all_of_them_get_one_value() -> None:
    median, none = (
        fold_models.FoldModels(TargetConfig(), normalizers=[SimpleNamespace(pure_energy=energy) for energy in (0.1, other)])
        for other in (0.2, None)
    )
    blends = [fold_models.FoldModels(TargetConfig(), parts=parts) for parts in ([median, median], [median, none])]
    assert [models.elements_are_alike for models in (median, none, *blends)] == [True, False, True, False]
    crystals = Crystals.from_list([CRYSTALS["diamond"], CRYSTALS["rock salt"]])
    training = TrainingSet.of(np.array(["a", "b"]), crystals)
    diamond, salt = training.remarks(likeness(crystals), elements_are_alike=True)
    assert diamond.startswith("one element: its value is a constant") and "element" not in salt
    assert not any("element" in remark for remark in training.remarks(likeness(crystals)))


def test_the_description_of_training_crystals_survives_its_file_and_a_damaged_one_is_refused(task: Path, tmp_path: Path) -> None:
    path = task.parent / "outputs/small/exp001/training.npz"
    stored, data = TrainingSet.load(path, "train again"), load(task)
    made = TrainingSet.of(data.train.ids, data.train.crystals)
    for name in ("fractions", "shape", "bond"):
        np.testing.assert_array_equal(getattr(stored.known, name), getattr(made.known, name))
    assert stored.far == made.far and list(stored.ids) == list(made.ids)
    (tmp_path / "cut.npz").write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"cut\.npz is damaged .*; train again"):
        TrainingSet.load(tmp_path / "cut.npz", "train again")


def test_a_description_of_other_training_crystals_is_refused_and_that_of_the_same_gives_their_order(
    task: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = task.parent / "outputs/small/exp001/training.npz"
    content, stored = path.read_bytes(), TrainingSet.load(path, "train again")
    replace(stored, ids=np.array(["another", *stored.ids[1:]])).save(path)
    try:
        with pytest.raises(ValueError, match=r"training\.npz describes other crystals than exp001 was trained on"):
            predictor(task, "001")
    finally:
        path.write_bytes(content)
    seen, find = predictor(task, "001").seen.target, fold_models.find_models
    monkeypatch.setattr(module, "find_models", lambda *known: [replace(one, oof=one.oof[::-1]) for one in find(*known)])
    np.testing.assert_array_equal(predictor(task, "001").seen.target, seen)


def test_the_training_crystals_of_a_task_are_described_once_for_all_its_runs(task: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = load(task)
    (file,) = data.cache.glob("training-*.npz")
    assert all((data.folder / f"exp{number}/training.npz").read_bytes() == file.read_bytes() for number in RUNS)
    monkeypatch.setattr(TrainingSet, "of", lambda *args: pytest.fail("described again"))
    again = TrainingSet.cached(data.train, data.train_key, data.cache)
    assert list(again.ids) == list(data.train.ids)


def test_intervals_are_those_of_a_submission_and_depend_on_no_other_row(
    task: Path, test_structures: list[Structure], monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = task.parent / "outputs"
    parts = [find_predictions(number, read_task(task), outputs) for number in ("001", "010")]
    points = points_of(read_task(task), outputs, parts[0])
    blend = fixed_blend(np.array([0.2, 0.8]), stack_oof(parts)[1])
    expected = calibrate(parts, blend, list(parts[0].test["id"]), points)
    ready = predictor(task, "001", "010", weights=[1, 4])
    table = ready.predict(test_structures)
    np.testing.assert_allclose(table[["lower", "upper"]].T, (expected.lower, expected.upper), atol=1e-5)
    monkeypatch.setattr(Surroundings, "of", lambda *args: pytest.fail("the training crystals are compared again"))
    alone = ready.predict(test_structures[2:3])
    np.testing.assert_allclose(alone[["lower", "upper"]], table[["lower", "upper"]][2:3], rtol=0, atol=1e-6)


def test_what_was_learned_from_errors_is_published_and_not_learned_again(
    task: Path, test_structures: list[Structure], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready, path = predictor(task, "010"), tmp_path / "difficulty.npz"
    expected = ready.predict(test_structures)
    ready.write_difficulty(path)
    monkeypatch.setattr(Trees, "grow", lambda *args: pytest.fail("trees are grown again"))
    pd.testing.assert_frame_equal(replace(predictor(task, "010"), kept=path).predict(test_structures), expected)


def test_the_published_difficulty_is_what_the_published_errors_teach(monkeypatch: pytest.MonkeyPatch) -> None:
    structure = CRYSTALS["rock salt"].to_structure()
    learned = replace(Predictor.load(), kept=None).predict(structure)
    monkeypatch.setattr(Trees, "grow", lambda *args: pytest.fail("the file is of other errors: publish the models again"))
    pd.testing.assert_frame_equal(Predictor.load().predict(structure), learned, rtol=1e-3)


def test_intervals_hold_the_prediction_and_spread_is_that_of_the_fold_models(
    task: Path, test_structures: list[Structure]
) -> None:
    table = predictor(task, "010").predict(test_structures)
    folds = pd.read_csv(task.parent / "outputs/small/exp010/test.csv").filter(like="fold_")
    np.testing.assert_allclose(table["spread"], folds.std(axis=1, ddof=0), atol=1e-6)
    assert (table["lower"] < table["prediction"]).all() and (table["prediction"] < table["upper"]).all()
    blend = predictor(task, "040").predict(test_structures)
    expected = pd.read_csv(task.parent / "outputs/small/exp040/test.csv")
    within = expected.filter(like="spread_").pow(2).mean(axis=1)
    np.testing.assert_allclose(blend["spread"] ** 2, within + expected.filter(like="fold_").var(axis=1, ddof=0), atol=1e-6)


def test_another_word2vec_file_than_the_runs_is_refused(task: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "outputs"
    shutil.copytree(task.parent / "outputs", copy)
    path = copy / "small" / "exp001" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"word2vec": "0" * 64}))
    monkeypatch.setattr(fold_models, "MAT2VEC", tmp_path / "mine")
    for text in (None, "another"):
        if text:
            (tmp_path / "mine").write_text(text)
        with pytest.raises(ValueError, match="exp001 was trained with another word2vec file"):
            Predictor.load("001", task=task, outputs=copy)
    assert fold_models._word2vec("exp001", word2vec_key(tmp_path / "mine")) == tmp_path / "mine"
    path.unlink()
    with pytest.raises(FileNotFoundError, match="exp001: its models are not published"):
        Predictor.load("040", task=task, outputs=copy)


@pytest.fixture
def published(task: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of models of the small network, published in an exp/ of its own."""
    monkeypatch.setattr(results, "EXPERIMENTS", tmp_path / "exp")
    monkeypatch.setattr(results, "DEFAULT_TASK", task)
    return publish("010", read_task(task), task.parent / "outputs", models=True) / "models"


def test_published_models_predict_as_the_run_does(
    task: Path, tmp_path: Path, published: Path, test_structures: list[Structure]
) -> None:
    fresh = Predictor.load("010", task=task, outputs=tmp_path / "nowhere").predict(test_structures)
    pd.testing.assert_frame_equal(fresh, predictor(task, "010").predict(test_structures))
    assert not (tmp_path / "nowhere").exists()
    names = {path.name for path in published.rglob("*") if path.is_file()}
    assert names == {
        *("config.json", "learner.json", "normalizer.json", "model.safetensors", "shared.safetensors", "training.npz"),
        *("oof.csv.gz", "test.csv.gz"),
    }


@pytest.mark.parametrize("file", ["shared.safetensors", "fold_2/model.safetensors", "fold_1/learner.json", "training.npz"])
def test_damaged_published_models_are_refused_with_the_remedy(task: Path, tmp_path: Path, published: Path, file: str) -> None:
    content = (published / file).read_bytes()
    (published / file).write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=rf"{Path(file).name} is damaged .*git checkout"):
        Predictor.load("010", task=task, outputs=tmp_path / "nowhere")


def test_weights_that_were_changed_after_the_training_are_not_published(task: Path, tmp_path: Path) -> None:
    run = shutil.copytree(task.parent / "outputs" / "small" / "exp010", tmp_path / "exp010")
    path = run / "fold_3" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    with pytest.raises(ValueError, match=r"fold_3/model.safetensors was changed: its SHA-256"):
        publish_models(RunDir(run), RunDir(tmp_path / "published"), FOLDS.n_folds)
    assert not (tmp_path / "published").exists()


def test_models_that_are_too_large_are_not_published(task: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.results.publish.MAX_BYTES", 1000)
    with pytest.raises(ValueError, match=r"exp010: its models have \d{4,} bytes; at most 1000 are published"):
        publish_models(RunDir(task.parent / "outputs" / "small" / "exp010"), RunDir(tmp_path / "published"), FOLDS.n_folds)
    assert not (tmp_path / "published").exists()


def test_models_from_another_machine_are_published_beside_the_rows_that_stay(task: Path, tmp_path: Path, published: Path) -> None:
    outputs = Path(shutil.copytree(task.parent / "outputs", tmp_path / "outputs"))
    path, rows = outputs / "small" / "exp010" / "oof.csv", published.parent / "oof.csv.gz"
    before = rows.read_bytes()
    table = pd.read_csv(path)
    moved = table.assign(e_form_pred=table["e_form_pred"] + 1e-9)
    moved.to_csv(path, index=False)
    publish("010", read_task(task), outputs, models=True)
    assert rows.read_bytes() == before
    pd.testing.assert_frame_equal(pd.read_csv(published / "oof.csv.gz"), moved)
    residual = Predictor.load("010", task=task, outputs=tmp_path / "nowhere").seen.error
    np.testing.assert_allclose(residual, (moved["e_form_pred"] - moved["e_form"]).abs(), rtol=0, atol=1e-11)
    metrics = outputs / "small" / "exp010" / "metrics.json"
    metrics.write_text(json.dumps(json.loads(metrics.read_text()) | {"data": "other"}))
    with pytest.raises(ValueError, match="trained on other data"):
        publish("010", read_task(task), outputs, models=True)


def test_models_that_are_not_there_are_asked_for(task: Path, tmp_path: Path, published: Path) -> None:
    shutil.rmtree(published)
    with pytest.raises(FileNotFoundError, match=r"its models are not published; train them: python exp/exp010/train.py"):
        Predictor.load("010", task=task, outputs=tmp_path / "nowhere")
    with pytest.raises(ValueError, match="only models of networks"):
        publish("001", read_task(task), task.parent / "outputs", models=True)


def test_the_published_models_give_the_predictions_published_with_them(tmp_path: Path) -> None:
    structures = read_structures([DEFAULT_TASK / "test.csv.gz"], read_task(DEFAULT_TASK))[:60]
    table = Predictor.load(outputs=tmp_path).predict_found(structures)
    expected = pd.read_csv(MODELS / "test.csv.gz")[:60]
    np.testing.assert_allclose(table["prediction"], expected["e_form_pred"], atol=1e-5)
    assert sum(path.stat().st_size for path in MODELS.rglob("*") if path.is_file()) <= MAX_BYTES


@pytest.mark.parametrize("page", ["README.md", "docs/own-data.md"])
def test_the_python_example_runs_as_written_from_a_folder_that_has_a_src_of_its_own(page: str, tmp_path: Path) -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    write_formats(tmp_path, CRYSTALS["rock salt"].to_structure())
    (tmp_path / "a.cif").rename(tmp_path / "some.cif")
    (tmp_path / "src").mkdir()
    code = f"import sys; sys.path.append({str(ROOT)!r})\n{example}\nassert len(table) == 1"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


def test_another_package_named_src_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    other = ModuleType("src")
    other.__path__ = ["elsewhere/src"]
    monkeypatch.setitem(sys.modules, "src", other)
    with pytest.raises(ImportError, match=r"another package named src is imported already .*elsewhere/src"):
        runpy.run_path(str(ROOT / "crystal_formation_energy.py"))


def test_it_can_be_installed_where_it_lies_and_no_wheel_is_made(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", minversion="77")
    project, wheel, elsewhere = (tmp_path / name for name in ("project", "wheel", "elsewhere"))
    for folder in (project, elsewhere / "src"):
        folder.mkdir(parents=True)
    for name in ("src", "crystal_formation_energy.py", "requirements", "README.md", "LICENSE", "pyproject.toml"):
        (project / name).symlink_to(ROOT / name)
    build = f"from editable import *; from editable import build_wheel; build_editable({str(wheel)!r})"
    made = [sys.executable, "-c", f"import sys; sys.path.insert(0, 'requirements')\n{build}; build_wheel()"]
    said = subprocess.run(made, cwd=project, capture_output=True, text=True, check=False)
    assert said.returncode == 1 and "is not made into a wheel" in said.stderr and "pip install -e ." in said.stderr
    (file,) = wheel.glob("*.whl")
    zipfile.ZipFile(file).extractall(wheel)
    code = f"import site; site.addsitedir({str(wheel)!r})\nimport crystal_formation_energy, src.predict.read"
    subprocess.run([sys.executable, "-c", code], cwd=elsewhere, check=True)
