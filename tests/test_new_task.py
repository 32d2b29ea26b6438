"""input/new_task.py: tables of a contest in, the description of a task out."""

import re
import shutil
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import CRYSTALS
from pymatgen.io.cif import CifWriter
from test_formats import as_json, poscar

import submit
from input import new_task as command
from src.config import ExperimentConfig, FoldConfig, GbdtConfig, TargetConfig
from src.data import new_task
from src.data.crystal import Crystal
from src.data.load import load_task_data
from src.data.rows import read_rows
from src.data.task import read_task, read_tasks
from src.paths import DEFAULT_TASK
from src.runs.experiment import run_experiment
from src.runs.launch import Launcher

N_TRAIN, N_TEST = 60, 12
TARGETS = ["e_form_ev_natom", "gap_ev"]


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """The first rows of FLLA: id, cif, target."""
    found = list(islice(read_rows(DEFAULT_TASK / "train.csv.gz"), N_TRAIN + N_TEST))
    return pd.DataFrame(found)[["id", "cif", "formula_pretty", "formation_energy_per_atom"]]


class Contest:
    """Tables of a contest with other names of columns, two targets, and more columns than crystals and targets."""

    def __init__(self, folder: Path, rows: pd.DataFrame) -> None:
        rng = np.random.default_rng(0)
        self.folder, n = folder, len(rows)
        (folder / "cifs").mkdir(parents=True)
        for row in rows.itertuples():
            (folder / "cifs" / f"{row.id}.cif").write_text(row.cif)
        energy = rows["formation_energy_per_atom"].astype(float)
        self.table = pd.DataFrame(
            {
                "": np.arange(n),
                "place": np.arange(n)[::-1],
                "material": rows["id"],
                "structure_file": rows["id"] + ".cif",
                "spacegroup": rng.choice([12, 33, 167, 194], n),
                "angle": np.where(np.arange(n) % 7, rng.random(n).round(3), np.nan),
                "method": rng.choice(["sol-gel", "flux"], n),
                "comment": [f"measured on day {i}" for i in range(n)],
                "V": rng.random(n).round(3) + 9,
                "pressure": 0.0,
                "formula": rows["formula_pretty"],
                "yield": [str(i) if i % 3 else "n/a" for i in range(n)],
                TARGETS[0]: energy + 5,
                TARGETS[1]: energy.abs(),
            }
        )

    def write(self, targets: list[str] = TARGETS) -> list[str]:
        """Write the tables and return the arguments that name them."""
        train, test = self.table[:N_TRAIN], self.table[N_TRAIN:]
        train.to_csv(self.folder / "train.csv", index=False)
        test.drop(columns=TARGETS).to_csv(self.folder / "test.csv", index=False)
        test[["material"]].assign(**dict.fromkeys(targets, 0)).to_csv(self.folder / "sample.csv", index=False)
        named = ["--train", "train.csv", "--test", "test.csv", "--sample", "sample.csv", "--structures", "cifs"]
        return [text if text.startswith("--") else str(self.folder / text) for text in named]


@pytest.fixture
def contest(tmp_path: Path, rows: pd.DataFrame) -> Contest:
    return Contest(tmp_path / "contest", rows)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    return tmp_path / "mine"


def describe(mine: Path, *arguments: str) -> None:
    command.main([mine.name, *arguments, "--out", str(mine), *([] if "--metric" in arguments else ["--metric", "rmsle"])])


def refused(mine: Path, *arguments: str) -> str:
    """Return the message with which the command ends; the folder is not written."""
    with pytest.raises(SystemExit) as stopped:
        describe(mine, *arguments)
    assert not mine.exists()
    return str(stopped.value.code)


def test_the_columns_of_a_contest_are_understood(contest: Contest, mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    describe(mine, *contest.write(), "--unit", "eV/atom", "eV")
    energy, gap = read_tasks(mine)
    assert (energy.id_column, energy.structure_column, energy.structure_format) == ("material", "structure_file", "file")
    assert [(target.column, target.unit) for target in energy.targets] == [(TARGETS[0], "eV/atom"), (TARGETS[1], "eV")]
    assert energy.columns.numeric == ("angle", "V") and energy.columns.categorical == ("spacegroup", "method")
    assert gap.metric == "rmsle" and set(gap.files) == {"train", "test", "sample_submission", "structures"}
    said = capsys.readouterr().out
    texts = ("text with 60 different values", "text with 41 different values")
    for reason in ("its name is empty", "numbers the rows", "constant", "follows from the structure", *texts):
        assert f"left out: {reason}" in said
    assert "60 train rows and 12 test rows" in said and "0 of 72 rows are bad" in said and "disordered" not in said
    assert re.search(r"\n +unit +count +min +median +max\n", said)
    assert f"python exp/auto.py --data {mine}" in said


def test_a_task_with_two_targets_further_columns_and_structure_files_runs_from_its_tables_to_a_submission(
    contest: Contest, mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    describe(mine, *contest.write())
    learner = GbdtConfig(features=("fractions", "geometry", "columns"), n_trees=20, min_child_samples=2)
    config = ExperimentConfig(learner=learner, folds=FoldConfig(n_folds=3), target=TargetConfig("raw", transform="log1p"))
    found = []
    for target in TARGETS:
        data = load_task_data(mine, tmp_path / "outputs", skip_bad_rows=False, n_jobs=1, target=target)
        metrics = run_experiment(config, "exp001", data, None, Launcher(n_jobs=1), "cpu")
        assert metrics is not None
        found.append(metrics["oof_rmsle"])
    submit.main(["--exps", "001", "--data", str(mine), "--outputs", str(tmp_path / "outputs")])
    assert f"RMSLE {np.mean(found):.4f}" in capsys.readouterr().out
    submission = pd.read_csv(tmp_path / "outputs" / "mine" / "submission.csv")
    assert list(submission.columns) == ["material", *TARGETS]
    assert list(submission["material"]) == list(contest.table["material"][N_TRAIN:])
    assert (submission[TARGETS].nunique() > 5).all()  # constant predictions would say that nothing was learned


FORMATS = {
    "cif": lambda cif, formula: cif,
    "poscar": lambda cif, formula: poscar(Crystal.from_cif(cif).to_structure()),
    "json": lambda cif, formula: as_json(Crystal.from_cif(cif).to_structure()),
    "formula": lambda cif, formula: formula,
}


@pytest.mark.parametrize("form", FORMATS)
def test_the_format_of_structures_is_recognised_by_their_text(
    contest: Contest, rows: pd.DataFrame, mine: Path, form: str
) -> None:
    contest.table["structure_file"] = list(map(FORMATS[form], rows["cif"], rows["formula_pretty"]))
    if form == "formula":
        contest.table = contest.table.drop(columns="formula")
    describe(mine, *contest.write()[:-2])
    task = read_task(mine, TARGETS[0])
    assert (task.structure_column, task.structure_format) == ("structure_file", form)


def test_fractions_under_the_symbols_of_elements_are_features(contest: Contest, mine: Path) -> None:
    arguments = contest.write()
    for columns, numeric in ((["H", "nsites"], ("angle", "V", "H")), ([], ("angle", "V"))):
        table = contest.table.assign(**dict.fromkeys(columns, np.arange(N_TRAIN + N_TEST) / 3))
        table[:N_TRAIN].to_csv(contest.folder / "train.csv", index=False)
        table[N_TRAIN:].drop(columns=TARGETS).to_csv(contest.folder / "test.csv", index=False)
        describe(mine, *arguments, "--force")
        found = read_task(mine, TARGETS[0]).columns.numeric
        assert sorted(found) == sorted((*numeric, *columns[1:]))


def test_flla_is_described_as_it_is(rows: pd.DataFrame, tmp_path: Path, mine: Path) -> None:
    for which, n, skip in (("train", N_TRAIN, 0), ("test", N_TEST, 0)):
        table = pd.DataFrame(islice(read_rows(DEFAULT_TASK / f"{which}.csv.gz"), skip, n))
        table.to_csv(tmp_path / f"{which}.csv.gz", index=False)
    table[["id"]].assign(formation_energy_per_atom=0).to_csv(tmp_path / "sample.csv", index=False)
    arguments = [f"--{option}={tmp_path / name}" for option, name in (("train", "train.csv.gz"), ("test", "test.csv.gz"))]
    describe(mine, *arguments, f"--sample={tmp_path / 'sample.csv'}", "--metric", "mae", "--unit", "eV/atom")
    found, expected = read_task(mine), read_task(DEFAULT_TASK)
    for name in ("id_column", "structure_column", "structure_format", "targets", "metric", "columns"):
        assert getattr(found, name) == getattr(expected, name)


def test_bad_rows_are_counted_and_named(contest: Contest, mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (contest.folder / "cifs" / contest.table["structure_file"][3]).write_text("data_x")
    with_vacancy = Crystal.from_cif((contest.folder / "cifs" / contest.table["structure_file"][5]).read_text()).to_structure()
    with_vacancy.replace(0, {with_vacancy[0].specie: 0.5})
    with_vacancy.to(contest.folder / "cifs" / contest.table["structure_file"][5], fmt="cif")
    contest.table.loc[4, TARGETS[1]] = np.nan
    contest.table.loc[N_TRAIN + 1, "structure_file"] = "../secret.cif"
    describe(mine, *contest.write())
    said = capsys.readouterr().out
    assert "3 of 72 rows are bad" in said and "--skip-bad-rows" in said and "\n1 structures are disordered" in said
    assert "train.csv: record 5, " in said and "0 structures, expected one" in said
    assert f"train.csv: record 6, {contest.table['material'][4]!r}: 'gap_ev' is '', not a finite number" in said
    assert "test.csv: record 3" in said and "'../secret.cif' is not the name of a file inside" in said


def test_files_are_found_in_a_folder_beside_the_table_and_a_formula_is_not_taken_instead(contest: Contest, mine: Path) -> None:
    contest.table = contest.table.assign(empty="", structure_file=contest.table["material"] + ".cif")
    arguments = contest.write()[:-2]
    (contest.folder / "a").mkdir()
    shutil.copy(contest.folder / "cifs" / contest.table["structure_file"][0], contest.folder / "a")
    assert new_task._folder_of_files(contest.table.astype(str), contest.folder) == contest.folder / "cifs"
    (contest.folder / "cifs").rename(contest.folder / "none")
    for path in (contest.folder / "none").iterdir():
        path.unlink()
    assert "'structure_file' names files" in refused(mine, *arguments)
    describe(mine, *arguments, "--structure", "formula")
    assert read_task(mine, TARGETS[0]).structure_format == "formula"


CYCLE = ["1", "2", "3", "1"]


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("x" * 200, CYCLE, "numeric"),
        ("x" * 201, CYCLE, "left out: its name is empty or too long"),
        ("Fe", CYCLE, "checked against the structures"),
        ("Fe", ["0.5", "2", "3", "1"], "numeric"),
        ("N_Atoms", CYCLE, "left out: follows from the structure"),
        ("a", ["7", "7", "7", "7"], "left out: constant"),
        ("a", ["1", "2", "3", "4"], "left out: numbers the rows"),
        ("a", ["1", "2", "3", "4.5"], "numeric"),
        ("a", CYCLE, "numeric"),
        ("Space_Group", CYCLE, "categorical"),
        ("Space_Group", ["1.5", "2", "3", "1"], "numeric"),
        ("a", ["x", "y"] * 4, "categorical"),
        ("a", ["x", "y"] * 3 + ["x"], "left out: text with 2 different values"),  # fewer than four rows for each
        ("a", [f"w{i % 50}" for i in range(204)], "categorical"),
        ("a", [f"w{i % 51}" for i in range(204)], "left out: text with 51 different values"),
        ("a", ["x" * 200, "y"] * 4, "categorical"),
        ("a", ["x" * 201, "y"] * 4, "left out: text with 2 different values"),
    ],
)
def test_the_kind_of_a_column_follows_from_its_name_and_its_fields(name: str, values: list[str], kind: str) -> None:
    texts = pd.Series(values, name=name, dtype=object)
    assert new_task._kind(texts, texts) == kind
    assert new_task._kind(texts, None) == "left out: not in the test table"
    if kind == "numeric":
        assert new_task._kind(texts, pd.Series([""] * len(texts))).startswith("left out: text")
        assert new_task._kind(texts, texts.replace("1", "one").replace("2", "two")).startswith("left out: text")


def test_the_likeliest_column_of_ids_is_taken() -> None:
    columns = {"part": ["0.5", "1.5", "2"], "long": ["x" * 201, "b", "c"], "number": ["1", "2", "3"], "word": ["a", "b", "c"]}
    table = pd.DataFrame(columns | {"material_no": ["7", "8", "9"], "ID": ["4", "5", "6"]}, dtype=object)
    for likeliest in ("ID", "material_no", "word", "number"):
        assert new_task._id_column({"train": table}, None) == likeliest
        table = table.drop(columns=likeliest)
    with pytest.raises(ValueError, match="as ids need; the tables share the columns part, long"):
        new_task._id_column({"train": table}, None)


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        (["1", "0", "1"], ("0", "1")),
        (["10", " 9", "10"], ("9", "10")),
        (["b", "A", "b"], ("A", "b")),
        (["True", "False"], ("False", "True")),
        (["1", "0.5"], ()),
        (["1", "x"], ()),
        (["x", ""], ()),
        (["x", "y", "z"], ()),
        (["x", "x"], ()),
    ],
)
def test_two_whole_numbers_or_two_texts_are_classes(values: list[str], classes: tuple[str, ...]) -> None:
    assert new_task._classes_in(pd.Series(values, dtype=object)) == classes


def test_all_but_one_of_ten_formulas_must_be_one_and_further_fields_are_not_read(tmp_path: Path) -> None:
    good, bad = ["Fe2O3"] * 10, "no formula"
    for fields, form in (([*good[1:], *[bad] * 9], "formula"), (good[2:] + [bad] * 2, None), ([bad], None)):
        assert new_task._format(pd.Series(fields, dtype=object), tmp_path) == form


def test_of_columns_of_formulas_the_first_that_says_so_is_taken_and_of_structures_the_one_that_is_named(tmp_path: Path) -> None:
    cif, oxide = str(CifWriter(CRYSTALS["rock salt"].to_structure())), ["Fe2O3", "FeO"]
    columns = {"id": ["1", "2"], "word": ["NO", "HO"], "Formula": oxide, "composition": oxide}
    found = lambda wish, **more: new_task._structure_column({"train": pd.DataFrame(columns | more)}, "id", tmp_path, wish)
    assert found(None) == ("Formula", "formula") and found("word") == ("word", "formula")
    assert found("two", one=[cif] * 2, two=[cif] * 2) == ("two", "cif")
    assert new_task._are_file_names(pd.Series(["a.cif"])) and not new_task._are_file_names(pd.Series([], dtype=object))


def test_a_long_list_of_names_is_cut_off() -> None:
    assert new_task._listed(["x" * 249, "y" * 249]) == "x" * 249 + ", " + "y" * 249
    assert new_task._listed(["x" * 250, "y" * 249]) == "x" * 250 + ", " + "y" * 248 + " ..."


def test_the_metric_has_to_fit_the_targets(contest: Contest, mine: Path) -> None:
    contest.table[TARGETS[0]] -= 20
    assert "'rmsle' requires targets" in refused(mine, *contest.write())


@pytest.mark.parametrize(("top", "is_wide"), [(50.0, False), (50.1, True)])
def test_it_ends_with_what_to_do_next(
    contest: Contest, mine: Path, capsys: pytest.CaptureFixture[str], top: float, is_wide: bool
) -> None:
    contest.table[TARGETS[1]] = np.linspace(0.5, top, len(contest.table))[np.r_[0, 71, 1:71]]
    describe(mine, *contest.write()[:-2])  # the files lie in a folder beside the table
    said = capsys.readouterr().out
    assert read_task(mine, TARGETS[0]).structure_format == "file"
    assert "python exp/auto.py --data" in said and "that read angle" in said
    assert ("the values of gap_ev span decades" in said) == is_wide


def test_an_existing_task_is_left_alone(contest: Contest, mine: Path) -> None:
    describe(mine, *contest.write())
    before = {path: path.read_bytes() for path in mine.rglob("*") if path.is_file()}
    contest.table["angle"] = 1.5
    with pytest.raises(SystemExit, match=r"task\.toml exists: choose another name, or replace it with --force"):
        describe(mine, *contest.write())
    (mine / "task.toml").unlink()
    with pytest.raises(SystemExit, match=r"train\.csv exists and differs"):
        describe(mine, *contest.write())
    assert {path: path.read_bytes() for path in before if path.name != "task.toml"} == {
        path: content for path, content in before.items() if path.name != "task.toml"
    }
    describe(mine, *contest.write(), "--force")
    assert read_task(mine, TARGETS[0]).columns.numeric == ("V",)


def test_only_named_structure_files_are_copied(contest: Contest, mine: Path) -> None:
    (contest.folder / "cifs" / "other.cif").write_text("no row names it")
    elsewhere = (contest.folder / "cifs").rename(mine.parent / "elsewhere")
    describe(mine, *contest.write()[:-1], str(elsewhere))
    assert {path.name for path in (mine / "structures").iterdir()} == set(contest.table["structure_file"])


def test_what_is_in_the_folder_already_stays_where_it_is(contest: Contest) -> None:
    before = sorted(path.name for path in contest.folder.rglob("*"))
    arguments = contest.write()
    command.main(["contest", *arguments, "--metric", "mae", "--out", str(contest.folder)])
    assert read_task(contest.folder, TARGETS[0]).files == {
        "train": "train.csv",
        "test": "test.csv",
        "sample_submission": "sample.csv",
        "structures": "cifs",
    }
    new = {path.name for path in contest.folder.rglob("*")} - set(before)
    assert new == {"train.csv", "test.csv", "sample.csv", "task.toml"}


def test_without_a_test_table_the_target_is_named_and_folds_are_kept(contest: Contest, mine: Path) -> None:
    arguments = contest.write()
    pd.DataFrame({"material": contest.table["material"][:N_TRAIN], "fold": np.arange(N_TRAIN) % 3}).to_csv(
        contest.folder / "folds.csv", index=False
    )
    arguments = [*arguments[:2], *arguments[-2:], "--folds", str(contest.folder / "folds.csv")]
    assert "which column is to be predicted? Say --target" in refused(mine, *arguments)
    describe(mine, *arguments, "--target", TARGETS[1], "--unit", "meV")
    task = read_task(mine)
    assert task.target == (TARGETS[1], "meV") and not task.has_test and "folds" in task.files


def edited(contest: Contest, **change: object) -> Contest:
    contest.table = contest.table.assign(**change)
    return contest


def test_what_cannot_be_told_is_asked_for(contest: Contest, mine: Path, rows: pd.DataFrame) -> None:
    twice = ["a"] * (N_TRAIN + N_TEST)
    assert "--target gup: the table has the columns" in refused(mine, *contest.write(), "--target", "gup")
    assert "--unit: 3 units for 2 targets" in refused(mine, *contest.write(), "--unit", "a", "b", "c")
    assert "the sample submission has the column 'energy'" in refused(mine, *contest.write(["energy"]))
    assert "no column of the training table names files" in refused(mine, *edited(contest, structure_file=rows["cif"]).write())
    assert "several columns hold structures" in refused(mine, *edited(contest, other=rows["cif"]).write()[:-2])
    assert "the column 'method' is not in all tables" in refused(mine, *contest.write(), "--id", "method")
    contest.table = contest.table.drop(columns=["other", "structure_file", "formula"])
    assert "no column holds CIF, POSCAR or JSON" in refused(mine, *contest.write()[:-2])
    assert "as ids need" in refused(mine, *edited(contest, material=twice).write()[:-2])
    assert "is missing" in refused(mine, "--train", str(contest.folder / "nothing.csv"))
