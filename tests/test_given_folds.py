"""Laws of folds that a task gives, and of tasks without a test table."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import FOLDS, GBDT, load, run

import submit
from exp import check_data, compare, report
from src.config import BlendConfig, ExperimentConfig, FoldConfig
from src.data.load import load_folds, load_task_data, read_folds
from src.data.task import read_task
from src.results.predictions import find_predictions


def name_files(task: Path, change: Callable[[str], str]) -> None:
    path = task / "task.toml"
    path.write_text(change(path.read_text()))


def give_folds(task: Path, ids: np.ndarray, fold: np.ndarray) -> None:
    pd.DataFrame({"id": ids, "fold": fold}).to_csv(task / "folds.csv", index=False)
    name_files(task, lambda text: text if "folds" in text else text + 'folds = "folds.csv"\n')


def without_test(task: Path) -> None:
    name_files(task, lambda text: "\n".join(line for line in text.splitlines() if "test" not in line and "sample" not in line))


def files(task: Path, *names: str) -> list[bytes]:
    return [(task.parent / "outputs" / "small" / "exp001" / name).read_bytes() for name in names]


def test_given_folds_that_equal_ours_give_the_same_numbers_to_the_bit(task_folder: Path) -> None:
    run(task_folder)
    before = files(task_folder, "oof.csv", "test.csv")
    data = load(task_folder)
    rows = np.random.default_rng(0).permutation(len(data.train.ids))  # the file's order is free
    give_folds(task_folder, data.train.ids[rows], load_folds(data, FOLDS)[rows])
    with pytest.raises(ValueError, match="another data"):
        run(task_folder)
    (task_folder.parent / "outputs").rename(task_folder.parent / "before")
    run(task_folder, replace(GBDT, folds=FoldConfig(scheme="shuffled", n_folds=7)))  # which are ignored
    assert files(task_folder, "oof.csv", "test.csv") == before


def test_their_number_counts_and_one_line_of_the_log_says_so(task_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    ids = load(task_folder).train.ids
    give_folds(task_folder, ids, np.arange(len(ids)) % 3)
    with caplog.at_level("INFO"):
        metrics = run(task_folder)
    assert len(metrics["fold_maes"]) == 3
    assert sum("folds.csv: its 3 folds are used instead of those of the config" in line for line in caplog.messages) == 1
    oof = find_predictions("001", read_task(task_folder), task_folder.parent / "outputs").oof
    np.testing.assert_array_equal(oof["fold"], np.arange(len(ids)) % 3)
    with pytest.raises(ValueError, match="there is no fold 3; exp001 has 3"):
        run(task_folder, folds=[3])
    run(task_folder, replace(GBDT, seed=5), "exp003")
    run(task_folder, ExperimentConfig(BlendConfig(("001", "003"))), "exp040")


def test_rows_that_are_left_out_may_have_a_fold(task_folder: Path) -> None:
    ids = load(task_folder).train.ids
    give_folds(task_folder, ids, np.arange(len(ids)) % 2)
    table = pd.read_csv(task_folder / "train.csv.gz")
    table.loc[5, "cif"] = "broken"
    table.to_csv(task_folder / "train.csv.gz", index=False)
    data = load_task_data(task_folder, task_folder.parent / "outputs", skip_bad_rows=True, n_jobs=1)
    assert data.left_out == ["x-5"]
    np.testing.assert_array_equal(load_folds(data, FOLDS), np.delete(np.arange(len(ids)) % 2, 5))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["a,0", "b,1", "c,-1"], "record 4, 'c': fold is '-1'; number the folds"),
        (["a,0", "b,1", "c,1.0"], "record 4, 'c': fold is '1.0'; number the folds"),
        (["a,0", "b,1", "c,0000000009999999999"], "record 4, 'c': fold is '0000000009999999999'; number the folds"),
        (["a,0", "b,1", "c,"], "record 4, 'c': fold is ''; number the folds"),
        (["a,0", "b,1", "c,\u00b2"], "record 4, 'c': fold is '\u00b2'; number the folds"),
        (["a,0", "b,1", "c,8"], "record 4, 'c': fold is '8'; number the folds"),
        (["a,0", "b,1"], r"6 training rows have no fold: \['c', 'd', 'e', 'f', 'g'\]; give each"),
    ],
)
def test_a_fold_that_is_no_whole_number_from_0_is_refused_by_row(tmp_path: Path, rows: list[str], message: str) -> None:
    path = tmp_path / "folds.csv"
    path.write_text("\n".join(["id,fold", *rows]) + "\n")
    with pytest.raises(ValueError, match=rf"folds\.csv: {message}"):
        read_folds(path, "id", list("abcdefgh"), [])


@pytest.mark.usefixtures("undrawn")
def test_without_a_test_table_the_out_of_fold_predictions_are_the_same(
    task_folder: Path, where: list[str], capsys: pytest.CaptureFixture
) -> None:
    run(task_folder)
    with_test = files(task_folder, "oof.csv")
    (task_folder.parent / "outputs").rename(task_folder.parent / "before")
    without_test(task_folder)
    run(task_folder)
    assert files(task_folder, "oof.csv") == with_test
    runs = task_folder.parent / "outputs" / "small"
    assert not list(runs.rglob("test.csv"))
    run(task_folder, replace(GBDT, seed=5), "exp003")
    run(task_folder, ExperimentConfig(BlendConfig(("001", "003")), FOLDS), "exp040")
    assert not list(runs.rglob("test.csv"))
    compare.main(["001", "003", "040", *where])
    assert f"{json.loads((runs / 'exp040' / 'metrics.json').read_text())['oof_mae']:.4f}" in capsys.readouterr().out
    report.main(["001", "003", "040", *where])
    html = (runs / "report.html").read_text(encoding="utf-8")
    assert "Intervals of the blend" in html and "On the test set" not in html
    check_data.main(where)
    shown = capsys.readouterr().out
    assert "target by fold" in shown and "adversarial" not in shown and "test crystals have" not in shown


def test_without_a_test_table_there_is_nothing_to_submit_or_to_score(task_folder: Path, where: list[str]) -> None:
    without_test(task_folder)
    run(task_folder)
    with pytest.raises(SystemExit, match=r"task\.toml: \[files\] names no test table, so there is nothing to submit; the result"):
        submit.main(["--exps", "001", *where])
    with pytest.raises(SystemExit, match=r"task\.toml: \[files\] names no 'test_labels'"):
        compare.main(["001", "--score", *where])


def test_a_finished_run_with_a_test_table_that_lost_its_predictions_is_still_refused(task_folder: Path, where: list[str]) -> None:
    run(task_folder)
    (task_folder.parent / "outputs" / "small" / "exp001" / "test.csv").unlink()
    with pytest.raises(SystemExit, match=r"test\.csv is damaged"):
        compare.main(["001", *where])
