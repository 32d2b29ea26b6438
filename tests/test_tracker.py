"""Trackers receive what the run's own files say."""

import logging
import re
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import MagicMock, Mock, call

import numpy as np
import pandas as pd
import pytest
from conftest import GBDT, run

from src.data.load import TaskData
from src.paths import EXPERIMENTS
from src.results.folder import RunDir
from src.runs import train as tracker
from src.runs.train import main as train_main


@pytest.fixture
def finished(data: TaskData) -> tuple[RunDir, dict]:
    metrics = run(data)
    assert metrics is not None
    return RunDir(data.folder / "exp001"), metrics


def test_settings_are_named_by_their_path_in_the_config() -> None:
    settings = tracker.flat_settings(GBDT)
    assert settings["learner.type"] == "GbdtConfig"
    assert settings["learner.n_trees"] == "20" and settings["folds.n_folds"] == "4" and settings["seed"] == "0"
    assert tracker.flat_settings(replace(GBDT, seed=3))["seed"] == "3"


def test_a_tracker_gets_settings_figures_and_scores(
    finished: tuple[RunDir, dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What TensorBoard and MLflow are asked, of a run with all its folds and of one that lacks some."""
    (run, metrics), folder, board, mlflow = finished, tmp_path / "own" / "store", MagicMock(), MagicMock()
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", board)
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    mlflow.get_experiment_by_name.side_effect = [None, "known"]
    rows = [(k, pd.read_csv(run.fold(k) / "history.csv").iloc[0].drop("tree").to_dict()) for k in range(4)]  # after 20 trees
    scores = {name: value for name, value in metrics.items() if type(value) in (int, float)}
    assert {"oof_mae", "n_parameters"} <= set(scores) and all("valid_mae" in figures for _, figures in rows)
    for found in (metrics, None):
        for kind in ("tensorboard", "mlflow"):
            tracker.track_run(kind, GBDT, run, found, folder)
        writer = board.SummaryWriter.return_value.__enter__.return_value
        own = [call(*score) for score in scores.items()] * (found is not None)
        assert writer.add_scalar.mock_calls == [call(*one, 20) for _, figures in rows for one in figures.items()] + own
        own = [call({f"fold_{k}/{name}": value for name, value in figures.items()}, step=20) for k, figures in rows]
        assert mlflow.log_metrics.mock_calls == [*own, call(scores if found else {})]
        mlflow.create_experiment.assert_called_once_with("exp001", artifact_location=f"file://{folder}/artifacts")
        writer.add_scalar.reset_mock(), mlflow.log_metrics.reset_mock()
    places = [folder / "exp001" / f"fold_{k}" for k in range(4)] + [folder / "exp001"]
    assert board.SummaryWriter.call_args_list == [call(str(place)) for place in places] * 2
    settings = tracker.flat_settings(GBDT)
    writer.add_text.assert_called_with("config", "\n".join(f"    {knob} = {value}" for knob, value in settings.items()))
    mlflow.set_tracking_uri.assert_called_with(f"sqlite:///{folder}/mlflow.db")
    mlflow.set_experiment.assert_called_with("exp001")
    mlflow.start_run.assert_called_with(run_name="exp001")
    mlflow.log_params.assert_called_with(settings)
    files = [call(str(run.path / name)) for name in ("metrics.json", "oof.csv", "test.csv", "config.json")]
    assert mlflow.log_artifact.mock_calls == files * 2 and folder.is_dir()


def test_tensorboard_shows_the_history_of_every_fold(finished: tuple[RunDir, dict], tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run, metrics = finished
    tracker.track_run("tensorboard", GBDT, run, metrics, tmp_path / "tracker")
    for k in range(4):
        events = EventAccumulator(str(tmp_path / "tracker" / "exp001" / f"fold_{k}")).Reload().Scalars("valid_mae")
        history = pd.read_csv(run.fold(k) / "history.csv")
        assert [event.step for event in events] == list(history["tree"])
        np.testing.assert_allclose([event.value for event in events], history["valid_mae"], rtol=1e-6)
    (score,) = EventAccumulator(str(tmp_path / "tracker" / "exp001")).Reload().Scalars("oof_mae")
    assert score.value == pytest.approx(metrics["oof_mae"])


def test_mlflow_shows_settings_figures_and_files(finished: tuple[RunDir, dict], tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    run, metrics = finished
    tracker.track_run("mlflow", GBDT, run, metrics, tmp_path / "tracker")
    (stored,) = mlflow.search_runs(experiment_names=["exp001"], output_format="list")
    assert stored.data.params["learner.n_trees"] == "20"
    assert stored.data.metrics["oof_mae"] == pytest.approx(metrics["oof_mae"])
    history = mlflow.MlflowClient().get_metric_history(stored.info.run_id, "fold_2/valid_mae")
    assert [point.step for point in history] == [20]
    assert len(list((tmp_path / "tracker" / "artifacts").rglob("oof.csv"))) == 1


def test_the_log_says_more_in_its_file_than_on_the_screen_and_nothing_of_a_full_disk(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker.start_log(tmp_path / "task" / "run")
    for level in ("debug", "info"):
        getattr(logging.getLogger("src.x"), level)("said")
    log = (tmp_path / "task" / "run" / "log.txt").read_text()
    assert re.fullmatch(r"[\d: ,-]+ DEBUG src\.x: said\n[\d: ,-]+ INFO src\.x: said\n", log)
    monkeypatch.setattr(logging.FileHandler, "flush", Mock(side_effect=OSError(28, "No space left on device")))
    logging.getLogger("src.x").info("more")
    assert capsys.readouterr().err == "said\nmore\n"


def test_a_tracker_that_is_not_installed_is_named_before_anything_is_trained(
    where: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracker, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=r"mlflow is not installed; pip install -e .*\[extra\]"):
        train_main(EXPERIMENTS / "exp001", [*where, "--tracker", "mlflow"])
    assert not (tmp_path / "outputs").exists()
