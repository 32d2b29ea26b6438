"""Laws of src/learners."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import CRYSTALS
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from src.config import (
    AlignnConfig,
    CgcnnConfig,
    EgnnConfig,
    ForestConfig,
    GaussianProcessConfig,
    GbdtConfig,
    GbdtEnsembleConfig,
    GnnConfig,
    GraphConfig,
    HurdleConfig,
    LearnerConfig,
    MegnetConfig,
    NequipConfig,
    NetworkConfig,
    PretrainingConfig,
    SchnetConfig,
    TrainingConfig,
)
from src.data.table import Crystals
from src.graphs.batch import pad, padded_sizes
from src.learners.gnn import GnnLearner, GraphInputs
from src.learners.learner import DivergedError, Watched, load_learner, make_learner
from src.learners.pretraining import energy_and_forces, pretrain
from src.learners.training import Training, energy_loss, make_optimizer, make_schedule, read_losses
from src.models.members import make_network
from src.storage.names import HISTORY

EPOCHS = 4
EVERY_CRYSTAL = Crystals.from_list(list(CRYSTALS.values()))


def config(**training: object) -> GnnConfig:
    return GnnConfig(
        training=TrainingConfig(**{"n_epochs": EPOCHS, "batch_size": 3, "lr": 5e-3, **training}),
        graph=GraphConfig(r_max=3.5),
        network=NequipConfig(n_channels=8, n_layers=2, radial_hidden=(16,), head_hidden=(8,)),
    )


@pytest.fixture
def inputs(tmp_path: Path) -> GraphInputs:
    return make_learner(config()).prepare_inputs(EVERY_CRYSTAL, "test", tmp_path / "cache", 1)


TARGET = np.random.default_rng(0).normal(size=len(CRYSTALS))


def trained(inputs: GraphInputs, folder: Path, members: int = 1, **training: object) -> GnnLearner:
    folder.mkdir(exist_ok=True)
    learner = GnnLearner(replace(config(**training), members=members), seed=3)
    learner.fit(inputs, TARGET, folder, Watched(inputs, TARGET))
    return learner


@pytest.mark.parametrize("members", [1, 3])
def test_an_interrupted_training_resumes_as_if_it_had_gone_on(
    members: int, inputs: GraphInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained(inputs, tmp_path / "whole", members)
    train_epoch = Training.train_epoch

    def interrupted(self: Training, epoch: int, *args: object) -> float:
        if epoch == 2:
            raise KeyboardInterrupt
        return train_epoch(self, epoch, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "train_epoch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            trained(inputs, tmp_path / "parts", members)
    assert (tmp_path / "parts" / "checkpoint.pt").is_file()
    parts = trained(inputs, tmp_path / "parts", members)
    np.testing.assert_array_equal(parts.predict_members(inputs), whole.predict_members(inputs))
    assert (tmp_path / "parts" / "history.csv").read_text() == (tmp_path / "whole" / "history.csv").read_text()


def test_watched_errors_are_reported_after_every_epoch_and_decide_nothing(inputs: GraphInputs, tmp_path: Path) -> None:
    reported, learner = list[float](), GnnLearner(config(), seed=3)
    learner.fit(inputs, TARGET, tmp_path, Watched(inputs, TARGET + 100, reported.append))
    written = np.genfromtxt(tmp_path / "history.csv", delimiter=",", names=True)["valid_mae"]
    np.testing.assert_allclose(reported, written)
    np.testing.assert_array_equal(trained(inputs, tmp_path / "other").predict(inputs), learner.predict(inputs))


TREES = GbdtConfig(features=("fractions", "geometry"), n_trees=5, min_child_samples=1)
LEARNERS = [
    config(),
    replace(config(), members=3),
    TREES,
    GbdtEnsembleConfig(parts=(TREES, TREES), outlier_fraction=0.2),
    ForestConfig(features=("fractions",)),
    GaussianProcessConfig(features=("fractions", "geometry")),
    HurdleConfig(replace(TREES, objective="binary"), others=TREES),
]


@pytest.mark.parametrize("learner_config", LEARNERS, ids=lambda c: type(c).__name__)
def test_a_saved_learner_predicts_the_same_and_its_histories_have_the_lines_that_it_names(
    learner_config: LearnerConfig, tmp_path: Path
) -> None:
    learner = make_learner(learner_config)
    inputs = learner.prepare_inputs(EVERY_CRYSTAL, "test", tmp_path / "cache", 1)
    rows = np.arange(len(EVERY_CRYSTAL))
    learner.fit(inputs[rows], TARGET, tmp_path)
    learner.save(tmp_path)
    again = load_learner(tmp_path)
    np.testing.assert_array_equal(again.predict(inputs[rows]), learner.predict(inputs[rows]))
    assert again.n_parameters == learner.n_parameters > 0
    assert {file: len((tmp_path / file).read_text().splitlines()) - 1 for file in learner.histories()} == learner.histories()


@pytest.mark.parametrize(("optimizer", "lr", "error"), [("adamw", 1e-2, 0.02), ("lion", 2e-3, 0.15)])
def test_eight_crystals_are_learned(inputs: GraphInputs, tmp_path: Path, optimizer: str, lr: float, error: float) -> None:
    learner = trained(inputs, tmp_path / "a", optimizer=optimizer, n_epochs=100, batch_size=8, lr=lr, ema_decay=0.8)
    assert np.abs(learner.predict(inputs) - TARGET).mean() < error


NETWORKS = {
    "gathered layers": replace(config().network, gather_layers=True),
    "conditioned self-connection": replace(config().network, n_element_attributes=3),
    "egnn": EgnnConfig(n_channels=16),
    "cgcnn": CgcnnConfig(n_channels=16),
    "schnet": SchnetConfig(n_channels=16, n_layers=2),
    "megnet": MegnetConfig(n_channels=8, n_layers=1),
    "alignn": AlignnConfig(n_channels=16, n_alignn_layers=1, n_gcn_layers=1),
}
N_EPOCHS = {MegnetConfig: 100, AlignnConfig: 100}  # until eight crystals are learned; others take 60
EVERY_NETWORK = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)


@EVERY_NETWORK
def test_other_networks_learn_eight_crystals_too_and_are_saved_and_loaded(network: NetworkConfig, tmp_path: Path) -> None:
    c = config(n_epochs=N_EPOCHS.get(type(network), 60), batch_size=8, lr=1e-2, ema_decay=0.8)
    c = replace(c, network=network, graph=GraphConfig(r_max=3.5, r_angle=3.0))
    inputs = make_learner(c).prepare_inputs(EVERY_CRYSTAL, "test", tmp_path / "cache", 1)
    learner = GnnLearner(c, seed=3)
    learner.fit(inputs, TARGET, tmp_path)
    assert np.abs(learner.predict(inputs) - TARGET).mean() < np.abs(TARGET - np.median(TARGET)).mean() / 2
    learner.save(tmp_path)
    np.testing.assert_array_equal(load_learner(tmp_path).predict(inputs), learner.predict(inputs))


def test_it_does_not_matter_how_many_losses_are_read_at_once(
    inputs: GraphInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained(inputs, tmp_path / "all", batch_size=2)
    monkeypatch.setattr("src.learners.training.N_UNREAD", 3)
    trained(inputs, tmp_path / "three", batch_size=2)
    assert (tmp_path / "all" / HISTORY).read_text() == (tmp_path / "three" / HISTORY).read_text()


def test_a_padded_batch_trains_as_the_plain_one(inputs: GraphInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU, steps are captured as CUDA graphs of padded batches; here they are padded alone."""
    plain, make = trained(inputs, tmp_path / "plain").predict(inputs), Training.__init__

    def padding(self: Training, *args: Any, **kwargs: Any) -> None:
        make(self, *args, **kwargs)
        self.captured = lambda batch, target: self._gradient_of_padded(pad(batch, padded_sizes(batch, {})), target)

    monkeypatch.setattr(Training, "__init__", padding)
    np.testing.assert_allclose(trained(inputs, tmp_path / "padded").predict(inputs), plain, atol=1e-5)


@pytest.mark.parametrize("optimizer", ["lion", "adamw"])
def test_one_buffer_for_all_parameters_trains_as_parameters_one_by_one(
    inputs: GraphInputs, tmp_path: Path, optimizer: str
) -> None:
    c = config(optimizer=optimizer, weight_decay=0.1, ema_decay=0.8)
    torch.manual_seed(3)
    model = make_network(c.network, c.graph, torch.randn(119, 4), 20.0)
    alone, average = copy.deepcopy(model), AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(c.training.ema_decay))
    target, training = torch.from_numpy(TARGET).float(), Training(model, c.training, 3, len(inputs))
    training.run(lambda rows: inputs.batch(rows, "cpu"), target, tmp_path, lambda network: 0.0)
    one_by_one = make_optimizer(alone, c.training)
    schedule = make_schedule(one_by_one, EPOCHS * training.n_batches)
    for rows in [rows for epoch in range(EPOCHS) for rows in training.epoch_order(epoch)]:
        one_by_one.zero_grad()
        torch.nn.functional.l1_loss(alone(inputs.batch(rows, "cpu")), target[rows]).backward()
        torch.nn.utils.clip_grad_norm_(alone.parameters(), 10.0)
        one_by_one.step()
        schedule.step()
        average.update_parameters(alone)
    for network, wanted in ((training.model, alone), (training.averaged, average.module)):
        for (name, found), p in zip(network.named_parameters(), wanted.parameters(), strict=True):
            torch.testing.assert_close(found, p, rtol=1e-6, atol=1e-7, msg=name)


def test_the_averaged_network_has_a_buffer_of_its_own() -> None:
    training = Training(torch.nn.Linear(3, 2), config().training, 0, 9)
    before = training.averaged.weight.clone()
    training.parameters.values.data.fill_(7)
    assert (training.model.weight == 7).all() and torch.equal(training.averaged.weight, before)


def test_a_loss_that_is_no_number_stops_with_the_rows_and_a_hint(inputs: GraphInputs, tmp_path: Path) -> None:
    target = TARGET.copy()
    target[2] = np.nan
    with pytest.raises(
        FloatingPointError, match=r"loss is nan in epoch 1, in the batch of .*row 2.*smaller lr in a new experiment"
    ):
        GnnLearner(config(), 0).fit(inputs, target, tmp_path)


@pytest.mark.parametrize("optimizer", ["lion", "adamw"])
def test_a_step_without_a_gradient_only_decays_the_weights(optimizer: str) -> None:
    layer = torch.nn.Linear(3, 2, bias=False)
    before = layer.weight.detach().clone()
    layer.weight.grad = torch.zeros_like(layer.weight)
    make_optimizer(layer, config(optimizer=optimizer, lr=0.1, weight_decay=0.2).training).step()
    torch.testing.assert_close(layer.weight.detach(), before * (1 - 0.1 * 0.2))


def test_no_step_is_made_with_a_larger_gradient_than_the_settings_allow(tmp_path: Path) -> None:
    steep = lambda network, batch, target: 1000 * (network(batch).squeeze(1) - target).abs().mean()
    training = Training(torch.nn.Linear(1, 1), config(n_epochs=1).training, 0, 8, steep)
    norms: list[float] = []
    training.optimizer.register_step_pre_hook(lambda *_: norms.append(training.parameters.values.grad.norm().item()))
    training.run(lambda rows: torch.ones(len(rows), 1), torch.full((8,), 2.0), tmp_path, lambda model: 0.0)
    assert norms == pytest.approx([10.0] * 3, rel=1e-4)


def test_the_history_has_the_mean_loss_over_the_rows_of_an_epoch_and_the_rate_that_it_begins_with(tmp_path: Path) -> None:
    network = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Flatten(0))
    for p in network.parameters():
        torch.nn.init.zeros_(p)
    training, target = Training(network, config(lr=1e-9).training, 0, 8), torch.tensor(TARGET).float()
    training.run(lambda rows: torch.ones(len(rows), 1), target, tmp_path, lambda averaged: 7.0)  # in batches of 3, 3 and 2
    found = np.genfromtxt(tmp_path / HISTORY, delimiter=",", names=True)
    assert found["train_loss"].tolist() == pytest.approx([np.abs(TARGET).mean()] * EPOCHS, rel=1e-5)
    assert found["epoch"].tolist() == [1, 2, 3, 4] and found["valid_mae"].tolist() == [7.0] * EPOCHS
    assert found["lr"][0] == pytest.approx(1e-9 / 2)


def test_a_loss_has_exploded_from_ten_thousand_on_and_every_gradient_is_finite() -> None:
    def read(losses: list[float], norm: float = 1.0) -> list[float]:
        return list(read_losses([(np.array([4, 7, 9]), torch.tensor(losses), torch.tensor(norm))], epoch=2))

    assert read([0.5, 9999.0]) == [3 * 4999.75]  # of two members
    for losses, norm, words in (([1.0, 1e4], 1.0, "loss is 10000"), ([1.0], np.inf, "norm of the gradient is inf")):
        with pytest.raises(DivergedError, match=f"the {words} in epoch 3, in the batch of row 4, row 7, row 9"):
            read(losses, norm)


@pytest.mark.parametrize(
    ("loss", "of_errors"),
    [
        ("l1", (0.05, 2.0)),
        ("huber", (0.05**2 / 2, 0.1 * (2.0 - 0.05))),
        ("bce", (np.log(1 + 3 * np.exp(-0.8)), np.log(1 + np.exp(-2.25) / 3))),  # a quarter is of the second class
    ],
)
def test_the_loss_is_the_one_that_the_settings_name(loss: str, of_errors: tuple[float, float]) -> None:
    """The knee of Huber's loss is at a tenth of the target's scale."""
    target = torch.tensor([0.75, -0.25])
    energy = target + torch.tensor([0.05, -2.0])
    measure = energy_loss(config(loss=loss).training)
    assert measure(energy, target).item() == pytest.approx(np.mean(of_errors))
    members = torch.stack([energy, torch.zeros(2)])
    torch.testing.assert_close(measure(members, target), torch.stack([measure(one, target) for one in members]))


def test_every_seed_and_every_epoch_has_an_order_of_its_own() -> None:
    orders = {}
    for seed, epoch in [(0, 0), (0, 1), (1, 0)]:
        training = Training(torch.nn.Linear(1, 1), config().training, seed, 20)
        orders[seed, epoch] = tuple(np.concatenate(list(training.epoch_order(epoch))).tolist())
    assert len(set(orders.values())) == 3
    assert all(sorted(order) == list(range(20)) for order in orders.values())


def test_random_numbers_go_on_where_the_checkpoint_left_them(tmp_path: Path) -> None:
    training = Training(torch.nn.Linear(3, 2), config().training, 0, 9)
    torch.save(training.state(), tmp_path / "checkpoint.pt")
    expected = torch.rand(5)
    torch.manual_seed(123)
    training.resume(tmp_path / "checkpoint.pt")
    assert torch.equal(torch.rand(5), expected)


@pytest.mark.parametrize(
    ("learner_config", "changes", "message"),
    [
        (TREES, {"model.txt": (b"tree", b"tree\n")}, r"model\.txt is damaged or was changed: its SHA-256"),
        (TREES, {"model.txt": (b"tree", b"eert"), "learner.json": (b"sha256", b"old")}, r"model\.txt is damaged \(Lig"),
        (LEARNERS[-2], {"process.npz": (b"P", b"Q")}, r"process\.npz is damaged"),
        (LEARNERS[-1], {"learner.json": (b'"odds"', b'"old"')}, r"learner\.json is damaged \(odds missing"),
        (config(n_epochs=1), {"learner.json": (b"avg_n", b"old")}, r"learner\.json is damaged \(KeyError: 'avg_n"),
    ],
)
def test_what_was_changed_after_it_was_saved_is_refused(
    learner_config: LearnerConfig, changes: dict[str, tuple[bytes, bytes]], message: str, tmp_path: Path
) -> None:
    learner = make_learner(learner_config)
    inputs = learner.prepare_inputs(EVERY_CRYSTAL, "test", tmp_path / "cache", 1)
    learner.fit(inputs[np.arange(len(TARGET))], TARGET, tmp_path)
    learner.save(tmp_path)
    for file, change in changes.items():
        (tmp_path / file).write_bytes((tmp_path / file).read_bytes().replace(*change))
    with pytest.raises(ValueError, match=message):
        load_learner(tmp_path)


PRETRAINING = PretrainingConfig(n_epochs=3, force_weight=1.0)


def pretrained(inputs: GraphInputs, folder: Path, **pretraining: float) -> GnnLearner:
    folder.mkdir(exist_ok=True)
    c = replace(config(), pretraining=replace(PRETRAINING, **pretraining))
    learner = GnnLearner(c, seed=3)
    learner.fit(inputs, TARGET, folder, Watched(inputs, TARGET))
    return learner


def test_pretraining_makes_forces_small(inputs: GraphInputs, tmp_path: Path) -> None:
    left = []
    for weight in (0.0, 10.0):
        torch.manual_seed(0)
        model = make_network(config().network, config().graph, torch.randn(119, 5), 20.0)
        stage, target = PretrainingConfig(n_epochs=20, force_weight=weight), torch.tensor(TARGET).float()
        make_batch = lambda rows: inputs.batch(rows, "cpu")
        pretrain(model, stage, config().training, 0, make_batch, target, tmp_path / f"{weight}", lambda _: 0.0)
        found = energy_and_forces(model, inputs.batch(np.arange(len(inputs)), "cpu"))
        left.append(found[1].detach().square().mean().item())
    assert left[1] < left[0] / 4


def test_the_loss_of_pretraining_is_that_of_energies_and_the_weighted_mean_square_of_forces(
    inputs: GraphInputs, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = make_network(config().network, config().graph, torch.randn(119, 5), 20.0)
    batch, target = inputs.batch(np.arange(len(inputs)), "cpu"), torch.tensor(TARGET).float()
    energy, force = (x.detach().numpy() for x in energy_and_forces(model, batch))
    of_forces = np.bincount(batch.orbit_batch, batch.orbit_weight.numpy() * (force**2).sum(axis=1)).mean()
    stage, training = PretrainingConfig(n_epochs=1, force_weight=2 / of_forces), config(batch_size=8, lr=1e-9).training
    pretrain(model, stage, training, 0, lambda rows: inputs.batch(rows, "cpu"), target, tmp_path, lambda _: 0.0)
    found = np.genfromtxt(tmp_path / HISTORY, delimiter=",", names=True)["train_loss"]
    assert found == pytest.approx(np.abs(energy - TARGET).mean() + 2, rel=1e-4)


def test_the_schedule_warms_up_to_the_peak_and_anneals_to_zero() -> None:
    optimizer = make_optimizer(torch.nn.Linear(1, 1), config(lr=1e-2).training)
    schedule, found = make_schedule(optimizer, 200), []
    for _ in range(200):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    step = np.arange(200)  # ten of them, a twentieth, warm up
    expected = 1e-2 * np.where(step < 10, (step + 1) / 11, (1 + np.cos(np.pi * (step - 10) / 190)) / 2)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_pretraining_hands_over_its_averaged_weights(inputs: GraphInputs, tmp_path: Path) -> None:
    """The network that is watched is the averaged one."""
    torch.manual_seed(0)
    model = make_network(config().network, config().graph, torch.randn(119, 5), 20.0)
    watched: list[torch.nn.Module] = []
    target = torch.tensor(TARGET).float()
    pretrain(
        model, PRETRAINING, config().training, 0, lambda rows: inputs.batch(rows, "cpu"), target, tmp_path,
        lambda averaged: watched.append(averaged) or 0.0,
    )  # fmt: skip
    for (name, found), wanted in zip(model.named_parameters(), watched[-1].parameters(), strict=True):
        assert torch.equal(found, wanted), name


@pytest.mark.parametrize("stage", ["pretraining", "training"])
def test_a_training_interrupted_in_either_stage_resumes_as_if_it_had_gone_on(
    stage: str, inputs: GraphInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = pretrained(inputs, tmp_path / "whole")
    train_epoch = Training.train_epoch

    def interrupted(self: Training, epoch: int, *args: object) -> float:
        if epoch == 1 and self.config.n_epochs == (PRETRAINING.n_epochs if stage == "pretraining" else EPOCHS):
            raise KeyboardInterrupt
        return train_epoch(self, epoch, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "train_epoch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            pretrained(inputs, tmp_path / "parts")
    parts = pretrained(inputs, tmp_path / "parts")
    np.testing.assert_array_equal(parts.predict(inputs), whole.predict(inputs))
    assert set(parts.histories()) == {"pretraining/history.csv", "history.csv"}
    for file, n_lines in parts.histories().items():
        assert (tmp_path / "parts" / file).read_text() == (tmp_path / "whole" / file).read_text()
        assert len((tmp_path / "parts" / file).read_text().splitlines()) == n_lines + 1


def test_training_starts_from_the_pretrained_weights(inputs: GraphInputs, tmp_path: Path) -> None:
    a, b = (pretrained(inputs, tmp_path / f"{weight}", force_weight=weight).predict(inputs) for weight in (0.0, 1.0))
    assert np.abs(a - b).max() > 1e-3


def test_global_features_reach_the_head_standardised_on_the_training_rows(inputs: GraphInputs, tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(3, 5, size=(len(inputs), 2)).astype(np.float32)
    values[:, 1] = 7  # a constant column
    rows, c = np.arange(6), replace(config(), global_features=("geometry",))
    learner = GnnLearner(c, seed=3)
    learner.fit(replace(inputs, global_features=values)[rows], TARGET[rows], tmp_path)
    mean, spread = learner.model.global_features.statistics.numpy()
    np.testing.assert_allclose(mean, values[rows].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(spread, [values[rows, 0].std(), 1], rtol=1e-5)
    learner.save(tmp_path)
    changed = values + np.array([1, 0], dtype=np.float32)
    predictions = [load_learner(tmp_path).predict(replace(inputs, global_features=v)) for v in (values, changed)]
    np.testing.assert_array_equal(predictions[0], learner.predict(replace(inputs, global_features=values)))
    assert np.abs(predictions[0] - predictions[1]).max() > 1e-4
    with pytest.raises(ValueError, match="global features"):
        learner.predict(inputs)
