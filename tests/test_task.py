"""The description of a task: its targets, columns, and what contradicts."""

import math
from pathlib import Path

import pytest

from src.data.task import read_task, read_tasks

TEXT = """\
id_column = "id"
structure_column = "file"
structure_format = "file"
targets = ["energy", "gap"]
unit = ["eV/atom", "eV"]
metric = "rmsle"
numeric_columns = ["angle"]
categorical_columns = ["spacegroup"]

[files]
train = "train.csv"
structures = "structures"
"""


def write(folder: Path, old: str = "", new: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    assert old in TEXT
    (folder / "task.toml").write_text(TEXT.replace(old, new))
    return folder


def test_a_task_with_two_targets_is_read_once_for_each(tmp_path: Path) -> None:
    energy, gap = read_tasks(write(tmp_path / "mine"))
    assert (energy.target_column, energy.unit, gap.target_column, gap.unit) == ("energy", "eV/atom", "gap", "eV")
    assert energy.targets == gap.targets == (energy.target, gap.target)
    assert (energy.columns.numeric, energy.columns.categorical) == (("angle",), ("spacegroup",))


def test_the_runs_of_each_target_have_a_folder_of_their_own(tmp_path: Path) -> None:
    energy, gap = read_tasks(write(tmp_path / "mine"))
    assert energy.runs(tmp_path) == tmp_path / "mine" / "energy" and gap.runs(tmp_path) == tmp_path / "mine" / "gap"
    one = read_task(write(tmp_path / "one", '["energy", "gap"]\nunit = ["eV/atom", "eV"]', '["gap/eV"]\nunit = "eV"'))
    assert one.runs(tmp_path) == tmp_path / "one"


def test_one_of_several_targets_is_chosen_by_name(tmp_path: Path) -> None:
    folder = write(tmp_path / "mine")
    assert read_task(folder, "gap").target_column == "gap"
    assert [task.target_column for task in read_tasks(folder, ["gap"])] == ["gap"]
    with pytest.raises(ValueError, match="several targets; choose one with --target: energy, gap"):
        read_task(folder)
    with pytest.raises(ValueError, match=r"--target gup: .*task\.toml has the targets energy, gap"):
        read_tasks(folder, ["gup"])


def test_one_unit_stands_for_all_targets(tmp_path: Path) -> None:
    assert [task.unit for task in read_tasks(write(tmp_path, '["eV/atom", "eV"]', '"eV"'))] == ["eV", "eV"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('["angle"]', '["gap"]', "'gap' is named as two columns"),
        ('["spacegroup"]', '["angle"]', "'angle' is named as two columns"),
        ('"gap"]', '"a/b"]', "'a/b' has a slash"),
        ('"gap"]', '"."]', "'.' has a slash or is a dot"),
        ('"gap"]', '".."]', "'..' has a slash or is a dot"),
        ('structure_format = "file"', 'structure_format = "cif"', "only for it"),
        ('"gap"]', '"energy"]', "'energy' is named as two columns"),
        ('["eV/atom", "eV"]', '["eV", "eV", "eV"]', "expected one text, or a list with one for each target"),
        ('metric = "rmsle"', 'metric = "rmsle"\nclasses = ["a", "b"]', "classes need a metric of classes, .*; metric is 'rmsle'"),
        ('metric = "rmsle"', 'metric = "f1"\nclasses = ["a", "a "]', "expected two different texts"),
        ('"id"', '""', "id_column is ''"),
        ('"id"', f'"{"x" * 201}"', "id_column is 'xxx.*at most 200"),
        ('train = "train.csv"', "", r"\[files\] must name train"),
        ('train = "train.csv"', 'train = "train.csv"\nfold = "a"', r"\[files\] must name train \(and may name test"),
        ('train = "train.csv"', 'train = "train.csv"\ntest = "a"', "must name both test and sample_submission"),
        ('train = "train.csv"', 'train = "train.csv"\ntest_labels = "a"', "must name both test and sample_submission"),
        ('"train.csv"', '"a/../b.csv"', r"\[files\] train = 'a/../b.csv' is not a file inside"),
        ('"train.csv"', f'"{"x" * 201}"', "is not a file inside"),
        ('structures = "structures"\n', "", "must name the folder `structures` for 'file'"),
    ],
)
def test_a_contradiction_is_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_tasks(write(tmp_path, old, new))


def test_a_description_has_limits(tmp_path: Path) -> None:
    names = [f"c{i}" for i in range(1001)]
    within = TEXT.replace('["angle"]', str(names[1:])), TEXT + "#" * (100_000 - len(TEXT))
    beyond = TEXT.replace('["angle"]', str(names)), within[1] + "#"
    for text, longer, words in zip(within, beyond, ("numeric_columns is ", "100001 bytes, at most 100000"), strict=True):
        (tmp_path / "task.toml").write_text(text)
        assert len(read_tasks(tmp_path)) == 2
        (tmp_path / "task.toml").write_text(longer)
        with pytest.raises(ValueError, match=words):
            read_tasks(tmp_path)


def test_texts_of_a_class_are_its_own_or_the_usual_ones(tmp_path: Path) -> None:
    usual = read_task(write(tmp_path / "usual", 'metric = "rmsle"', 'metric = "f1"'), "gap")
    own = read_task(write(tmp_path / "own", 'metric = "rmsle"', 'metric = "f1"\nclasses = ["no", "yes"]'), "gap")
    assert [usual.class_number(text) for text in (" TRUE ", "1.0", "1", "0.0", "False", "0")] == [1, 1, 1, 0, 0, 0]
    assert [own.class_number(text) for text in (" yes ", "no")] == [1, 0]
    assert all(math.isnan(number) for number in (usual.class_number("2"), own.class_number("Yes"), own.class_number("1")))
    assert (usual.texts, own.texts) == (("0", "1"), ("no", "yes"))
    number = read_task(write(tmp_path / "number"), "gap")
    assert [task.wanted_of_targets for task in (number, usual, own)] == [
        "a finite number",
        "0, 1, True or False",
        "one of the classes 'no', 'yes'",
    ]


def test_a_file_that_is_not_named_or_not_there_is_refused(tmp_path: Path) -> None:
    task = read_task(write(tmp_path / "mine", '"train.csv"', f'"{"x" * 200}"'), "gap")
    assert not (task.has_test or task.has_labels)
    with pytest.raises(ValueError, match=r"task\.toml: \[files\] names no 'test'"):
        task.path("test")
    for which, kind in (("train", Path.touch), ("structures", Path.mkdir)):
        with pytest.raises(FileNotFoundError, match=f"is missing; .* names it as the task's {which}"):
            task.path(which)
        kind(tmp_path / "mine" / task.files[which])
        assert task.path(which) == tmp_path / "mine" / task.files[which]
