"""The description of a task: its targets, columns, and what contradicts."""

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
    one = read_task(write(tmp_path / "one", '["energy", "gap"]\nunit = ["eV/atom", "eV"]', '["gap"]\nunit = "eV"'))
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
        ('structure_format = "file"', 'structure_format = "cif"', "only for it"),
        ('"gap"]', '"energy"]', "'energy' is named as two columns"),
    ],
)
def test_a_contradiction_is_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_tasks(write(tmp_path, old, new))
