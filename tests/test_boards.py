"""The autopilot on official folds: each flight sees the training part alone, and its submission becomes the record."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from input.prepare_matminer import prepare_matbench
from src.auto import official
from src.auto.official import fly_official
from src.auto.pilot import Flown
from src.data.export import ID, MATBENCH, write_task
from src.data.rows import read_rows
from src.data.task import Task, read_task
from src.results.matbench import BOARDS, own_row, read_record
from src.runs.launch import Launcher
from src.storage.files import write_csv, write_json

NAME = "matbench_steels"
FORMULAS = [f"Fe0.{70 + i}C0.00{i + 1}Cr0.{29 - i}" for i in range(9)]
FOLD, TARGET = np.arange(9) % 3, 1000.0 + 10 * np.arange(9)
IDS = [f"mb-steels-{i}" for i in range(1, 10)]


@pytest.fixture
def task(tmp_path: Path) -> Task:
    rows = pd.DataFrame({ID: IDS, "formula": FORMULAS, MATBENCH[NAME].column: TARGET})
    write_task(tmp_path / NAME, rows, None, MATBENCH[NAME], FOLD, structure_format="formula")
    return read_task(tmp_path / NAME)


@pytest.fixture
def flown(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The training ids of each flight; a flight submits the number of the row, in another order."""
    seen: list[list[str]] = []

    def fly(tasks: Sequence[Task], outputs: Path, *others: Any) -> Flown:
        own = tasks[0]
        assert others == (1.0, False, Launcher(n_jobs=2), "cpu", False)
        seen.append([row[ID] for row in read_rows(own.path("train"))])
        test = pd.DataFrame(read_rows(own.path("test")))
        assert own.target_column not in test and own.structure_format == "formula"
        numbers = test[ID].str.split("-").str[-1].astype(float) / (10 if own.of_classes else 1)
        write_csv(own.runs(outputs) / "submission.csv", pd.DataFrame({ID: test[ID], own.target_column: numbers})[::-1])
        for name, pred in (("901", [0.1, 0.2, 0.3]), ("902", [0.4, 0.6, 0.8])):  # the second is submitted
            oof = pd.DataFrame({"e_form": [0.0, 0.0, 1.0], "e_form_pred": pred})
            write_csv(own.runs(outputs) / f"exp{name}" / "oof.csv", oof)
        return Flown("flown", {own.target_column: ["902"]}, 30.0)

    monkeypatch.setattr(official, "fly", fly)
    return seen


def fly_all(task: Task, folds: list[int] | None = None, publish: bool = False) -> str:
    return fly_official(task.folder, task.folder.parent / "outputs", 1.0, folds, Launcher(n_jobs=2), "cpu", publish)


def test_every_fold_is_flown_once_on_its_training_part_and_the_submissions_are_the_record(
    task: Task, flown: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fly_all(task, [1]) == "MAE in MPa: fold 1 1035.0000; folds [0, 2] are still to do"
    table = fly_all(task)
    assert flown == [[own for own, k in zip(IDS, FOLD, strict=True) if k != fold] for fold in (1, 0, 2)]
    content = read_record(task.folder.parent / "outputs" / NAME / "matbench" / "auto-1.json")
    found = {k: v for result in content["tasks"][NAME]["results"].values() for k, v in result["data"].items()}
    assert found == {own: float(i) for i, own in enumerate(IDS, start=1)}
    error = np.abs(TARGET - np.arange(1, 10))
    assert own_row(content)["score"] == pytest.approx(np.mean([error[k == FOLD].mean() for k in range(3)]))
    assert content["user_metadata"]["cpu_seconds"] == 3 * 30 * 2 and "auto.py, 1 minutes" in table
    monkeypatch.setattr(official, "finished", lambda data, folds, metadata, stem, publish: f"{stem} {publish}")
    mean = "MAE in MPa: fold 0 1026.0000, fold 1 1035.0000, fold 2 1044.0000; mean 1035.0000"
    assert [fly_all(task, publish=publish) for publish in (False, True)] == [f"auto-1 {to}\n{mean}" for to in (None, BOARDS)]


def test_classes_are_decided_by_the_threshold_of_what_was_submitted(tmp_path: Path, flown: list[list[str]]) -> None:
    name, ids = "matbench_glass", [f"mb-glass-{i}" for i in range(1, 10)]
    rows = pd.DataFrame({ID: ids, "formula": FORMULAS, MATBENCH[name].column: TARGET > 1040})
    write_task(tmp_path / name, rows, None, MATBENCH[name], FOLD, structure_format="formula", metric="roc_auc")
    fly_all(read_task(tmp_path / name))
    content = read_record(tmp_path / "outputs" / name / "matbench" / "auto-1.json")
    found = {k: v for result in content["tasks"][name]["results"].values() for k, v in result["data"].items()}
    assert found == {own: i / 10 > 0.7 for i, own in enumerate(ids, start=1)}


def test_a_task_without_official_folds_is_refused(tmp_path: Path, flown: list[list[str]]) -> None:
    rows = pd.DataFrame({ID: IDS, "formula": FORMULAS, MATBENCH[NAME].column: TARGET})
    write_task(tmp_path / NAME, rows, None, MATBENCH[NAME], structure_format="formula")
    with pytest.raises(ValueError, match="names no folds"):
        fly_all(read_task(tmp_path / NAME))
    assert flown == []


def test_a_file_of_formulas_becomes_a_task_with_amounts_as_they_are_written(tmp_path: Path) -> None:
    from matminer.utils.io import store_dataframe_as_json

    store_dataframe_as_json(pd.DataFrame({"composition": FORMULAS, "yield strength": TARGET}), str(tmp_path / "steels.json"))
    folds = tmp_path / "folds.json"
    parts = {
        f"fold_{k}": {p: [o for o, f in zip(IDS, FOLD, strict=True) if (f == k) == (p == "test")] for p in ("train", "test")}
        for k in range(3)
    }
    write_json(folds, {"splits": parts})
    prepare_matbench(NAME, tmp_path / "steels.json", folds, tmp_path / NAME)
    own = read_task(tmp_path / NAME)
    assert [row["formula"] for row in read_rows(own.path("train"))] == FORMULAS
    assert (own.structure_format, own.unit, own.metric) == ("formula", "MPa", "mae")
