"""The recipe that README recommends runs on any table of structures."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import load, small_task

from src.config.catalogue import load_config
from src.paths import EXPERIMENTS
from src.results.folder import RunDir
from src.runs.experiment import run_experiment
from src.runs.launch import Launcher
from src.storage.files import read_id_table


@pytest.mark.parametrize("n_pure", [0, 2])
def test_the_recommended_network_trains_on_forty_crystals_with_and_without_pure_elements(tmp_path: Path, n_pure: int) -> None:
    """For one epoch; few pure elements are as well as none."""
    config = load_config(EXPERIMENTS / "exp094")
    config = replace(config, learner=replace(config.learner, training=replace(config.learner.training, n_epochs=1)))
    data = load(small_task(tmp_path, n_pure))
    run_experiment(config, "exp094", data, [0], Launcher(n_jobs=1), "cpu")
    run = RunDir(data.folder / "exp094")
    tested = read_id_table(run.fold(0) / "test.csv", ["id", "e_form_pred"])
    assert np.isfinite(run.valid(0)["e_form_pred"]).all()
    assert len(tested) == 6 + n_pure and np.isfinite(tested["e_form_pred"]).all()
