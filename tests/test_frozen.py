"""Living experiments predict what they predicted when they were published: three of them, trained on a few rows."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import load
from frozen import shortened

from src.config import ExperimentConfig
from src.config.catalogue import load_config
from src.data.task import read_task
from src.paths import DEFAULT_TASK, EXPERIMENTS
from src.runs.experiment import run_experiment
from src.runs.launch import Launcher

# what `predictions` returned at commit 330aafe: a tree with features of structures, a network, a network on formulas
STORED = json.loads(Path(__file__).with_name("frozen.json").read_text())
EVERY = 35  # of the rows one is kept: about a hundred for training
TOLERANCE = 1e-3  # of the standard deviation of the target; machines round differently, which training amplifies


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a task with every 35th row of FLLA and five training crystals of one element."""
    folder = tmp_path_factory.mktemp("frozen") / "few"
    folder.mkdir()
    (folder / "task.toml").write_text((DEFAULT_TASK / "task.toml").read_text())
    for name in read_task(DEFAULT_TASK).files.values():
        rows = pd.read_csv(DEFAULT_TASK / name, dtype=str, keep_default_na=False)
        kept = rows.index % EVERY == 0
        if name == "train.csv.gz":
            kept |= (rows["nelements"] == "1") & (rows.groupby("nelements").cumcount() < 5)
        rows[kept].to_csv(folder / name, index=False)
    return folder


def brief(number: str) -> ExperimentConfig:
    """Return the config of a living experiment with three epochs or 30 trees."""
    config = shortened(load_config(EXPERIMENTS / f"exp{number}"), 3)
    if hasattr(config.learner, "n_trees"):
        return replace(config, learner=replace(config.learner, n_trees=30))
    return config


def predictions(number: str, task: Path) -> list[float]:
    """Return what fold 0 of an experiment, trained briefly, predicts for its own crystals and the test crystals."""
    data = load(task)
    run_experiment(brief(number), f"exp{number}", data, [0], Launcher("local", 1), "cpu")
    tables = [pd.read_csv(data.folder / f"exp{number}" / "fold_0" / name) for name in ("valid.csv", "test.csv")]
    return [value for table in tables for value in table["e_form_pred"]]


@pytest.mark.parametrize("number", STORED)
def test_a_living_experiment_predicts_what_it_did_when_it_was_published(number: str, few: Path) -> None:
    spread = float(np.std(load(few).train.targets))
    np.testing.assert_allclose(predictions(number, few), STORED[number], rtol=0, atol=TOLERANCE * spread)
