"""Runs whose folds are not all finished are shown for what they are, and drafts may change or be broken."""

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import GBDT, run

from exp import compare, report
from src.config.catalogue import find_experiment
from src.data.load import TaskData
from src.paths import EXPERIMENTS
from src.results.comparison import chosen
from src.runs import experiment

OTHER = replace(GBDT, seed=1)


def test_a_partial_run_is_compared_on_the_rows_of_its_folds(
    data: TaskData, where: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run(data, GBDT, "exp001")
    run(data, GBDT, "exp022", [0, 2])
    oof = pd.read_csv(data.folder / "exp001" / "oof.csv")
    rows = oof[oof["fold"].isin([0, 2])]
    mae = f"{np.abs(rows['e_form'] - rows['e_form_pred']).mean():.4f}"
    for numbers in ([], ["001", "022"]):
        compare.main([*where, *numbers])
        line = next(line for line in capsys.readouterr().out.splitlines() if line.split()[:1] == ["exp022"])
        assert line.split() == ["exp022", "0,", "2", str(len(rows)), mae, mae]
    report.main([*where])
    assert (
        f'<td>exp022</td><td class="number">0, 2</td><td class="number">{len(rows)}</td>'
        in (data.folder / "report.html").read_text()
    )
    with pytest.raises(SystemExit, match=rf"exp022: MAE {mae} on the {len(rows)} rows of folds 0, 2 \(partial\)"):
        compare.main([*where, "022"])


def test_training_a_fold_says_its_score(data: TaskData, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        run(data, GBDT, "exp001", [1])
    valid = pd.read_csv(data.folder / "exp001" / "fold_1" / "valid.csv")
    assert f"MAE {np.abs(valid['e_form'] - valid['e_form_pred']).mean():.4f} on the {len(valid)} rows of folds 1" in caplog.text


def test_a_draft_may_change_until_a_fold_is_finished_or_it_is_published(
    data: TaskData, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def diverge(*_: object) -> None:
        raise FloatingPointError("the loss is not finite")

    with monkeypatch.context() as broken:
        broken.setattr(experiment, "run_fold", diverge)
        with pytest.raises(FloatingPointError):
            run(data, GBDT, "exp001")
    monkeypatch.setattr("src.results.folder.EXPERIMENTS", tmp_path)
    published = tmp_path / "exp001" / "results"
    published.mkdir(parents=True)
    with pytest.raises(ValueError, match="another config"):
        run(data, OTHER, "exp001")
    published.rmdir()
    run(data, OTHER, "exp001", [0])
    with pytest.raises(ValueError, match="another config"):
        run(data, GBDT, "exp001")


def test_a_broken_draft_is_named_and_stops_no_other(
    data: TaskData, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(data, GBDT, "exp001")
    shutil.copytree(EXPERIMENTS / "exp001", tmp_path / "exp001", ignore=shutil.ignore_patterns("results"))
    (tmp_path / "exp050").mkdir()
    (tmp_path / "exp050" / "config.py").write_text("CONFIG = ExperimentConfig(")
    for module in ("src.paths", "src.config.catalogue"):
        monkeypatch.setattr(f"{module}.EXPERIMENTS", tmp_path)
    assert [one.name for one in chosen([], "closed", data.task, data.outputs)[0]] == ["exp001"]
    assert "exp050 is left out" in caplog.text and "SyntaxError" in caplog.text
    assert find_experiment("Is it there?", GBDT) is None
