"""Laws of the learning rate, and of what predicts at the end of a training: one average, several snapshots, or SWA's mean."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import CRYSTALS
from numpy.typing import NDArray

from src.config import GnnConfig, GraphConfig, MegnetConfig, NequipConfig, PretrainingConfig, TrainingConfig
from src.data.table import Crystals
from src.learners.gnn import GnnLearner
from src.learners.graph_inputs import GraphInputs
from src.learners.learner import Watched
from src.learners.schedule import make_schedule
from src.learners.training import Training, make_optimizer

TARGET = np.random.default_rng(0).normal(size=len(CRYSTALS))
EPOCHS, SNAPSHOTS = 6, 3


def config(**training: object) -> GnnConfig:
    return GnnConfig(
        training=TrainingConfig(**{"n_epochs": EPOCHS, "batch_size": 3, "lr": 5e-3, "ema_decay": 0.8, **training}),
        graph=GraphConfig(r_max=3.5),
        network=NequipConfig(n_channels=8, n_layers=2, radial_hidden=(16,), head_hidden=(8,)),
    )


@pytest.fixture
def inputs(tmp_path: Path) -> GraphInputs:
    return GnnLearner(config()).prepare_inputs(Crystals.from_list(list(CRYSTALS.values())), "test", tmp_path / "cache", 1)


def fitted(inputs: GraphInputs, folder: Path, c: GnnConfig) -> GnnLearner:
    folder.mkdir(exist_ok=True)
    learner = GnnLearner(c, seed=3)
    learner.fit(inputs, TARGET, folder, Watched(inputs, TARGET))
    return learner


def rates(n_steps: int, **training: object) -> NDArray[np.float64]:
    c = TrainingConfig(**{"n_epochs": 4, "lr": 1e-2, "warmup_fraction": 0.1, **training})
    optimizer = make_optimizer(torch.nn.Linear(1, 1), c)
    schedule, found = make_schedule(optimizer, c, n_steps), []
    for _ in range(n_steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return np.array(found)


def test_the_schedule_warms_up_to_the_peak_and_anneals_to_zero() -> None:
    found = rates(100)
    assert np.argmax(found) in (9, 10, 11) and max(found) == pytest.approx(1e-2, rel=1e-6)
    assert found[0] < 2e-3 and found[-1] < 1e-5 and (np.diff(found[12:]) < 0).all()


def test_every_snapshot_is_at_the_end_of_a_cosine_from_the_peak_to_zero() -> None:
    found = rates(400, n_snapshots=4)
    assert np.flatnonzero(np.diff(found[10:]) > 0).tolist() == [89, 189, 289]  # it rises at the steps 100, 200 and 300 alone
    np.testing.assert_allclose(found[[10, 100, 200, 300]], 1e-2)
    assert (found[[99, 199, 299, 399]] < 1e-5).all()


def test_the_last_steps_of_swa_have_half_the_peak_rate_to_which_the_cosine_descends() -> None:
    found = rates(200, swa_fraction=0.25)
    np.testing.assert_allclose(found[150:], 5e-3)
    assert (np.diff(found[21:150]) < 0).all() and abs(np.diff(found[140:155])).max() < 2e-5


def test_swa_predicts_by_the_mean_of_the_weights_after_each_of_the_last_steps(
    inputs: GraphInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []
    update = Training._update_average

    def recorded(self: Training) -> None:
        seen.append(self.parameters.values.detach().clone())
        update(self)

    monkeypatch.setattr(Training, "_update_average", recorded)
    learner = fitted(inputs, tmp_path / "swa", config(swa_fraction=0.5))
    found = torch.nn.utils.parameters_to_vector(learner.model.parameters())
    torch.testing.assert_close(found, torch.stack(seen[len(seen) // 2 :]).mean(dim=0), rtol=1e-4, atol=1e-6)


def test_the_networks_of_all_snapshots_predict(inputs: GraphInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is the averaged network after its epochs, with one member and with two."""
    for members in (1, 2):
        after: list[NDArray[np.float64]] = []
        write_history = Training.write_history

        def recorded(self: Training, folder: Path, after: list = after, write: object = write_history) -> None:
            one = GnnLearner(config())
            one.model = self.averaged
            after.append(one.predict_members(inputs))
            write(self, folder)

        with monkeypatch.context() as patch:
            patch.setattr(Training, "write_history", recorded)
            learner = fitted(inputs, tmp_path / f"{members}", replace(config(n_snapshots=SNAPSHOTS), members=members))
        found = learner.predict_members(inputs)
        np.testing.assert_allclose(found, np.concatenate(after[1::2]), atol=1e-6)
        assert len(found) == members * SNAPSHOTS and np.ptp(found, axis=0).min() > 1e-4
        np.testing.assert_allclose(learner.predict(inputs), found.mean(axis=0))


@pytest.mark.parametrize("training", [{"n_snapshots": SNAPSHOTS}, {"swa_fraction": 0.5}])
def test_an_interrupted_training_resumes_as_if_it_had_gone_on(
    inputs: GraphInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, training: dict
) -> None:
    c, train_epoch = config(**training), Training.train_epoch
    whole = fitted(inputs, tmp_path / "whole", c)

    def interrupted(self: Training, epoch: int, *args: object) -> float:
        if epoch == 4:
            raise KeyboardInterrupt
        return train_epoch(self, epoch, *args)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Training, "train_epoch", interrupted)
        fitted(inputs, tmp_path / "parts", c)
    parts = fitted(inputs, tmp_path / "parts", c)
    np.testing.assert_array_equal(parts.predict_members(inputs), whole.predict_members(inputs))


def test_pretraining_hands_over_one_network(inputs: GraphInputs, tmp_path: Path) -> None:
    """Its own epochs need not be a multiple of the snapshots."""
    stage = PretrainingConfig(n_epochs=1, force_weight=0.1)
    learner = fitted(inputs, tmp_path / "two", replace(config(n_snapshots=SNAPSHOTS), pretraining=stage))
    assert len(learner.predict_members(inputs)) == SNAPSHOTS


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"n_snapshots": 4}, "n_snapshots=4: must divide n_epochs=6"),
        ({"n_snapshots": 2, "swa_fraction": 0.2}, "n_snapshots=2: must be 1 with swa_fraction=0.2"),
        ({"warmup_fraction": 0.6, "swa_fraction": 0.5}, "swa_fraction=0.5: must be below 1 less warmup_fraction=0.6"),
    ],
)
def test_what_does_not_go_together_is_refused(training: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config(**training)


def test_megnet_has_no_snapshots() -> None:
    with pytest.raises(ValueError, match=r"training\.n_snapshots=3: must be 1 for MEGNet"):
        replace(config(n_snapshots=3), network=MegnetConfig())
