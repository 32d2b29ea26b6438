"""Laws of src/learners."""

import copy
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import CRYSTALS
from lion_pytorch import Lion
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR
from src.graphs.padding import pad, padded_sizes
from src.learners.schedule import make_schedule
from src.learners.svr import SvrLearner
from src.models.derivatives import energy_and_derivatives
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from src.config import (
    AlignnConfig,
    CgcnnConfig,
    EgnnConfig,
    GbdtConfig,
    GbdtEnsembleConfig,
    GnnConfig,
    GraphConfig,
    LearnerConfig,
    MegnetConfig,
    NequipConfig,
    NetworkConfig,
    Precision,
    PretrainingConfig,
    SchnetConfig,
    SvrConfig,
    TrainingConfig,
)
from src.data.table import Crystals
from src.learners.gnn import GnnLearner
from src.learners.graph_inputs import GraphInputs
from src.learners.learner import Watched
from src.learners.make import load_learner, make_learner
from src.learners.pretraining import pretrain
from src.learners.training import Training, energy_loss, make_optimizer, seed_everything
from src.models.network import make_network
from src.storage.names import HISTORY
from src.storage.ragged import RaggedStore

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


def trained(inputs: GraphInputs, folder: Path, **training: object) -> GnnLearner:
    folder.mkdir(exist_ok=True)
    learner = GnnLearner(config(**training), seed=3)
    learner.fit(inputs, TARGET, folder, Watched(inputs, TARGET))
    return learner


def test_the_same_seed_gives_the_same_numbers(inputs: GraphInputs, tmp_path: Path) -> None:
    a, b = (trained(inputs, tmp_path / name).predict(inputs) for name in "ab")
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("strain", [0.0, 0.02])
def test_an_interrupted_training_resumes_as_if_it_had_gone_on(
    inputs: GraphInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strain: float
) -> None:
    whole = trained(inputs, tmp_path / "whole", strain=strain)
    train_epoch = Training.train_epoch

    def interrupted(self: Training, epoch: int, *args: object) -> float:
        if epoch == 2:
            raise KeyboardInterrupt
        return train_epoch(self, epoch, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "train_epoch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            trained(inputs, tmp_path / "parts", strain=strain)
    assert (tmp_path / "parts" / "checkpoint.pt").is_file()
    parts = trained(inputs, tmp_path / "parts", strain=strain)
    np.testing.assert_array_equal(parts.predict(inputs), whole.predict(inputs))
    assert (tmp_path / "parts" / "history.csv").read_text() == (tmp_path / "whole" / "history.csv").read_text()


def test_watched_rows_decide_nothing(inputs: GraphInputs, tmp_path: Path) -> None:
    a = trained(inputs, tmp_path / "a").predict(inputs)
    (tmp_path / "b").mkdir()
    learner = GnnLearner(config(), seed=3)
    learner.fit(inputs, TARGET, tmp_path / "b", Watched(inputs, TARGET + 100))
    np.testing.assert_array_equal(a, learner.predict(inputs))


TREES = GbdtConfig(features=("fractions", "geometry"), n_trees=5, min_child_samples=1)


def test_watched_errors_are_reported_after_every_epoch(inputs: GraphInputs, tmp_path: Path) -> None:
    reported: list[float] = []
    GnnLearner(config(), seed=3).fit(inputs, TARGET, tmp_path, Watched(inputs, TARGET, reported.append))
    written = np.genfromtxt(tmp_path / "history.csv", delimiter=",", names=True)["valid_mae"]
    np.testing.assert_allclose(reported, written)


LEARNERS = [
    config(),
    TREES,
    GbdtEnsembleConfig(members=(TREES, TREES), outlier_fraction=0.2),
    SvrConfig(features=("geometry", "fractions")),
]


@pytest.mark.parametrize("learner_config", LEARNERS, ids=lambda c: type(c).__name__)
def test_a_saved_learner_predicts_the_same(learner_config: LearnerConfig, tmp_path: Path) -> None:
    learner = make_learner(learner_config)
    inputs = learner.prepare_inputs(EVERY_CRYSTAL, "test", tmp_path / "cache", 1)
    rows = np.arange(len(EVERY_CRYSTAL))
    learner.fit(inputs[rows], TARGET, tmp_path)
    learner.save(tmp_path)
    again = load_learner(tmp_path)
    np.testing.assert_array_equal(again.predict(inputs[rows]), learner.predict(inputs[rows]))
    assert again.n_parameters == learner.n_parameters > 0


def test_support_vectors_predict_as_scikit_learn_does_and_without_the_cut_off_targets(tmp_path: Path) -> None:
    c = SvrConfig(features=("geometry",), max_target=0.5)
    x = make_learner(c).prepare_inputs(EVERY_CRYSTAL, "test", tmp_path / "cache", 1)
    learner = SvrLearner(c)
    learner.fit(x, TARGET, tmp_path, Watched(x, TARGET))
    scaled = StandardScaler().fit_transform(x.matrix(c.features).astype(np.float64)).clip(-6, 6)
    machine = SVR(gamma=c.gamma / scaled.shape[1], C=c.C, epsilon=c.epsilon).fit(scaled, TARGET.clip(-0.5, 0.5))
    np.testing.assert_allclose(learner.predict(x), machine.predict(scaled), atol=1e-10)
    assert len((tmp_path / "history.csv").read_text().splitlines()) == learner.histories()["history.csv"] + 1


def test_prediction_is_by_the_averaged_weights(inputs: GraphInputs, tmp_path: Path) -> None:
    training_only = trained(inputs, tmp_path / "a", ema_decay=0.0).predict(inputs)
    averaged = trained(inputs, tmp_path / "b", ema_decay=0.9).predict(inputs)
    assert np.abs(training_only - averaged).max() > 1e-4


def test_eight_crystals_are_learned_by_heart(inputs: GraphInputs, tmp_path: Path) -> None:
    learner = trained(inputs, tmp_path / "a", n_epochs=100, batch_size=8, lr=1e-2, ema_decay=0.9)
    assert np.abs(learner.predict(inputs) - TARGET).mean() < 0.05


NETWORKS = {
    "gathered layers": replace(config().network, gather_layers=True),
    "conditioned self-connection": replace(config().network, n_element_attributes=3),
    "egnn": EgnnConfig(n_channels=16),
    "cgcnn": CgcnnConfig(n_channels=16, n_hidden=16),
    "schnet": SchnetConfig(n_channels=16, n_layers=2),
    "megnet": MegnetConfig(n_channels=8, n_hidden=16, n_layers=1),
    "alignn": AlignnConfig(n_channels=16, n_alignn_layers=1, n_gcn_layers=1),
}
N_EPOCHS = {MegnetConfig: 300, AlignnConfig: 200}  # until eight crystals are learned; others take 100
EVERY_NETWORK = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)


@EVERY_NETWORK
def test_other_networks_learn_eight_crystals_too_and_are_saved_and_loaded(network: NetworkConfig, tmp_path: Path) -> None:
    c = config(n_epochs=N_EPOCHS.get(type(network), 100), batch_size=8, lr=1e-2, ema_decay=0.9)
    c = replace(c, network=network, graph=GraphConfig(r_max=3.5, r_angle=3.0))
    inputs = make_learner(c).prepare_inputs(EVERY_CRYSTAL, "test", tmp_path / "cache", 1)
    learner = GnnLearner(c, seed=3)
    learner.fit(inputs, TARGET, tmp_path)
    assert np.abs(learner.predict(inputs) - TARGET).mean() < 0.05
    learner.save(tmp_path)
    np.testing.assert_array_equal(load_learner(tmp_path).predict(inputs), learner.predict(inputs))


def fitted(c: GnnConfig, folder: Path) -> tuple[GnnLearner, GraphInputs]:
    inputs = make_learner(c).prepare_inputs(EVERY_CRYSTAL, "test", folder / "cache", 1)
    learner = GnnLearner(c, seed=3)
    learner.fit(inputs, TARGET, folder)
    return learner, inputs


@EVERY_NETWORK
def test_bfloat16_rounds_the_training_of_every_network_and_the_prediction_of_none(network: NetworkConfig, tmp_path: Path) -> None:
    c = replace(config(lr=1e-3), network=network, graph=GraphConfig(r_max=3.5, r_angle=3.0))
    full, inputs = fitted(c, tmp_path / "float32")
    short, _ = fitted(replace(c, training=replace(c.training, precision="bf16")), tmp_path / "bf16")
    difference = np.abs(short.predict(inputs) - full.predict(inputs)).max()
    assert 0 < difference < 0.1 * full.predict(inputs).std()
    assert {x.dtype for x in short.model.state_dict().values() if x.is_floating_point()} == {torch.float32}


def test_bfloat16_pretrains_with_forces_too(inputs: GraphInputs, tmp_path: Path) -> None:
    full = pretrained(inputs, tmp_path / "float32").predict(inputs)
    short = pretrained(inputs, tmp_path / "bf16", precision="bf16").predict(inputs)
    assert 0 < np.abs(full - short).max() < 0.1 * full.std()


def asked_for() -> tuple[str, bool]:
    """Return the precision of matrix products, and whether cuDNN may round those of an LSTM."""
    return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize(("precision", "wanted"), [("tf32", ("high", True)), ("float32", ("highest", False))])
def test_tensorfloat32_is_asked_for_in_both_passes_of_training_steps_of_this_precision_alone(
    inputs: GraphInputs, tmp_path: Path, precision: Precision, wanted: tuple[str, bool], backward: bool
) -> None:
    seen, before, network_loss = [], asked_for(), Training.train_epoch

    def seeing(self: Training, *args: Any) -> float:
        of = self.loss

        def loss(*batch: Any) -> torch.Tensor:
            value = of(*batch)
            if backward:
                value.register_hook(lambda grad: seen.append(asked_for()))
            else:
                seen.append(asked_for())
            return value

        self.loss = loss
        return network_loss(self, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Training, "train_epoch", seeing)
        trained(inputs, tmp_path / "a", precision=precision, n_epochs=1)
    assert set(seen) == {wanted} and asked_for() == before


def test_a_strain_changes_the_training_and_not_the_crystals_that_are_predicted(inputs: GraphInputs, tmp_path: Path) -> None:
    strained, plain = (trained(inputs, tmp_path / f"{x}", strain=x).predict(inputs) for x in (0.02, 0.0))
    again = trained(inputs, tmp_path / "again", strain=0.02)
    np.testing.assert_array_equal(again.predict(inputs), strained)
    assert np.abs(strained - plain).max() > 1e-4


def test_features_of_strained_crystals_are_refused() -> None:
    with pytest.raises(ValueError, match=r"training\.strain: requires .*no global_features"):
        replace(config(strain=0.01), global_features=("geometry",))


def test_every_epoch_draws_a_new_strain_for_each_crystal(inputs: GraphInputs) -> None:
    learner = GnnLearner(config(strain=0.02))
    training = Training(torch.nn.Linear(1, 1), learner.config.training, 3, len(inputs))
    rows = np.arange(len(inputs))
    plain = inputs.batch(rows, "cpu").length

    def factors(epoch: int) -> set[float]:
        strained = training.strained(lambda rows: inputs.batch(rows, "cpu"), epoch)(rows).length
        return {round(x, 4) for x in (strained / plain).tolist()}

    assert len(factors(1)) == len(inputs) and factors(1) == factors(1) and not factors(1) & factors(2)


def test_pretraining_has_no_strain(inputs: GraphInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, strained = [], Training.strained

    def seeing(self: Training, make_batch: Any, epoch: int) -> Any:
        seen.append(self.config.strain)
        return strained(self, make_batch, epoch)

    monkeypatch.setattr(Training, "strained", seeing)
    (tmp_path / "a").mkdir()
    GnnLearner(replace(config(strain=0.02), pretraining=PRETRAINING), seed=3).fit(inputs, TARGET, tmp_path / "a")
    assert seen == [0.0] * PRETRAINING.n_epochs + [0.02] * EPOCHS


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


@pytest.mark.slow
def test_a_compiled_network_trains_as_it_does_uncompiled(inputs: GraphInputs, tmp_path: Path) -> None:
    plain, compiled = (trained(inputs, tmp_path / f"{c}", compile=c).predict(inputs) for c in (False, True))
    np.testing.assert_allclose(plain, compiled, atol=1e-5)


def test_compiling_has_no_second_derivatives_and_says_so() -> None:
    with pytest.raises(ValueError, match="no second derivatives"):
        replace(config(compile=True), pretraining=PretrainingConfig(n_epochs=1, force_weight=1.0))


def test_lion_learns_eight_crystals(inputs: GraphInputs, tmp_path: Path) -> None:
    learner = trained(inputs, tmp_path / "a", optimizer="lion", n_epochs=200, batch_size=8, lr=2e-3, ema_decay=0.9)
    assert np.abs(learner.predict(inputs) - TARGET).mean() < 0.05
    assert isinstance(make_optimizer(torch.nn.Linear(1, 1), config(optimizer="lion").training), Lion)


@pytest.mark.parametrize("optimizer", ["lion", "adamw"])
def test_one_buffer_for_all_parameters_trains_as_parameters_one_by_one(
    inputs: GraphInputs, tmp_path: Path, optimizer: str
) -> None:
    c = config(optimizer=optimizer, weight_decay=0.1, ema_decay=0.8)
    seed_everything(3)
    model = make_network(c.network, c.graph, torch.randn(119, 4), 20.0)
    alone, average = copy.deepcopy(model), AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(c.training.ema_decay))
    target, training = torch.from_numpy(TARGET).float(), Training(model, c.training, 3, len(inputs))
    training.run(lambda rows: inputs.batch(rows, "cpu"), target, tmp_path, lambda network: 0.0)
    one_by_one = make_optimizer(alone, c.training)
    schedule = make_schedule(one_by_one, c.training, EPOCHS * training.n_batches)
    for rows in [rows for epoch in range(EPOCHS) for rows in training.epoch_order(epoch)]:
        one_by_one.zero_grad()
        torch.nn.functional.l1_loss(alone(inputs.batch(rows, "cpu")), target[rows]).backward()
        torch.nn.utils.clip_grad_norm_(alone.parameters(), c.training.clip_norm)
        one_by_one.step()
        schedule.step()
        average.update_parameters(alone)
    for network, wanted in ((training.model, alone), (training.averaged, average.module)):
        for (name, found), p in zip(network.named_parameters(), wanted.parameters(), strict=True):
            torch.testing.assert_close(found, p, rtol=1e-6, atol=1e-7, msg=name)


def test_a_batch_in_parts_by_edges_trains_as_a_whole_one(inputs: GraphInputs, tmp_path: Path) -> None:
    """With pre-training, whose gradients are second derivatives, and without; each part is within the limit."""
    assert len(set(inputs.n_edges)) > 1
    limit = int(inputs.n_edges.max()) + 1
    for stages in ({}, {"pretraining": PretrainingConfig(n_epochs=1, force_weight=0.1, virial_weight=0.1)}):
        whole, parts = (
            GnnLearner(replace(config(optimizer="adamw", max_edges=most, strain=0.01), **stages), 5) for most in (None, limit)
        )
        for name, learner in (("whole", whole), ("parts", parts)):
            folder = tmp_path / f"{name}{len(stages)}"
            folder.mkdir()
            learner.fit(inputs, TARGET, folder)
        np.testing.assert_allclose(parts.predict(inputs), whole.predict(inputs), atol=2e-5)
    training = Training(torch.nn.Linear(3, 2), config(max_edges=limit).training, 0, len(inputs), n_edges=inputs.n_edges)
    rows = np.arange(len(inputs))[::-1]
    found = training.parts(rows)
    np.testing.assert_array_equal(np.concatenate(found), rows)
    assert len(found) > 1 and all(inputs.n_edges[part].sum() <= limit for part in found)
    assert all(inputs.n_edges[[*a, b[0]]].sum() > limit for a, b in itertools.pairwise(found))  # no part is smaller than needed


def test_a_crystal_with_more_edges_than_the_limit_is_a_part_of_its_own() -> None:
    edges = np.array([5, 50, 3, 4, 90])
    training = Training(torch.nn.Linear(3, 2), config(max_edges=10).training, 0, 5, n_edges=edges)
    assert [part.tolist() for part in training.parts(np.arange(5))] == [[0], [1], [2, 3], [4]]


def test_the_averaged_network_has_a_buffer_of_its_own() -> None:
    training = Training(torch.nn.Linear(3, 2), config().training, 0, 9)
    before = training.averaged.weight.clone()
    training.parameters.values.data.fill_(7)
    assert (training.model.weight == 7).all() and torch.equal(training.averaged.weight, before)


def test_a_loss_that_is_no_number_stops_with_the_rows_and_a_hint(inputs: GraphInputs, tmp_path: Path) -> None:
    target = TARGET.copy()
    target[2] = np.nan
    with pytest.raises(FloatingPointError, match=r"loss is nan in epoch 1, in the batch of .*row 2.*smaller lr"):
        GnnLearner(config(), 0).fit(inputs, target, tmp_path)


@pytest.mark.parametrize("optimizer", ["lion", "adamw"])
def test_a_step_without_a_gradient_only_decays_the_weights(optimizer: str) -> None:
    layer = torch.nn.Linear(3, 2, bias=False)
    before = layer.weight.detach().clone()
    layer.weight.grad = torch.zeros_like(layer.weight)
    make_optimizer(layer, config(optimizer=optimizer, lr=0.1, weight_decay=0.2).training).step()
    torch.testing.assert_close(layer.weight.detach(), before * (1 - 0.1 * 0.2))


def test_no_step_is_made_with_a_larger_gradient_than_the_settings_allow(tmp_path: Path) -> None:
    steep = lambda network, batch, target: 100 * (network(batch).squeeze(1) - target).abs().mean()
    training = Training(torch.nn.Linear(1, 1), config(clip_norm=0.25, n_epochs=1).training, 0, 8, steep)
    norms: list[float] = []
    training.optimizer.register_step_pre_hook(lambda *_: norms.append(training.parameters.values.grad.norm().item()))
    training.run(lambda rows: torch.ones(len(rows), 1), torch.full((8,), 2.0), tmp_path, lambda model: 0.0)
    assert norms == pytest.approx([0.25] * 3, rel=1e-4)


@pytest.mark.parametrize(("loss", "of_errors"), [("l1", (0.05, 2.0)), ("huber", (0.05**2 / 2, 0.1 * (2.0 - 0.05)))])
def test_the_loss_is_the_one_that_the_settings_name(loss: str, of_errors: tuple[float, float]) -> None:
    """The knee of Huber's loss is at a tenth of the target's scale."""
    target = torch.tensor([1.0, -3.0])
    energy = target + torch.tensor([0.05, -2.0])
    measure = energy_loss(config(loss=loss).training)
    assert measure(energy, target).item() == pytest.approx(np.mean(of_errors))
    torch.testing.assert_close(measure(torch.stack([energy, target]), target), torch.tensor([np.mean(of_errors), 0]).float())


def test_every_seed_and_every_epoch_has_an_order_of_its_own() -> None:
    orders = {}
    for seed, epoch in [(0, 0), (0, 1), (1, 0)]:
        training = Training(torch.nn.Linear(1, 1), config().training, seed, 20)
        orders[seed, epoch] = tuple(np.concatenate(list(training.epoch_order(epoch))).tolist())
    assert len(set(orders.values())) == 3
    assert all(sorted(order) == list(range(20)) for order in orders.values())


def test_random_numbers_go_on_where_the_checkpoint_left_them() -> None:
    training = Training(torch.nn.Linear(3, 2), config().training, 0, 9)
    state = training.state()
    expected = torch.rand(5)
    torch.manual_seed(123)
    training.load_state(state)
    assert torch.equal(torch.rand(5), expected)


def test_weights_that_were_changed_after_they_were_saved_are_refused(tmp_path: Path) -> None:
    learner = make_learner(TREES)
    inputs = learner.prepare_inputs(EVERY_CRYSTAL, "test", tmp_path / "cache", 1)
    learner.fit(inputs, TARGET, tmp_path)
    learner.save(tmp_path)
    path = tmp_path / "model.txt"
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(ValueError, match=r"model.txt is damaged or was changed: its SHA-256"):
        load_learner(tmp_path)


PRETRAINING = PretrainingConfig(n_epochs=3, force_weight=1.0, virial_weight=0.1)


def pretrained(inputs: GraphInputs, folder: Path, precision: Precision = "float32", **pretraining: float) -> GnnLearner:
    folder.mkdir(exist_ok=True)
    c = replace(config(precision=precision), pretraining=replace(PRETRAINING, **pretraining))
    learner = GnnLearner(c, seed=3)
    learner.fit(inputs, TARGET, folder, Watched(inputs, TARGET))
    return learner


def test_pretraining_makes_forces_and_virials_small(inputs: GraphInputs, tmp_path: Path) -> None:
    left = {}
    for force_weight, virial_weight in [(0.0, 0.0), (10.0, 0.0), (0.0, 10.0)]:
        seed_everything(0)
        model = make_network(config().network, config().graph, torch.randn(119, 5), 20.0)
        stage = PretrainingConfig(n_epochs=20, force_weight=force_weight, virial_weight=virial_weight)
        pretrain(
            model, stage, config().training, 0, lambda rows: inputs.batch(rows, "cpu"), torch.tensor(TARGET).float(),
            tmp_path / f"{force_weight}-{virial_weight}", lambda _: 0.0, inputs.n_edges,
        )  # fmt: skip
        found = energy_and_derivatives(model, inputs.batch(np.arange(len(inputs)), "cpu"))
        left[force_weight, virial_weight] = tuple(x.detach().square().mean().item() for x in found[1:])
    (force, virial), (force_after, _), (_, virial_after) = left.values()
    assert force_after < force / 4 and virial_after < virial / 4


def test_pretraining_hands_over_its_averaged_weights(inputs: GraphInputs, tmp_path: Path) -> None:
    """The network that is watched is the averaged one."""
    seed_everything(0)
    model = make_network(config().network, config().graph, torch.randn(119, 5), 20.0)
    watched: list[torch.nn.Module] = []
    target = torch.tensor(TARGET).float()
    pretrain(
        model, PRETRAINING, config().training, 0, lambda rows: inputs.batch(rows, "cpu"), target, tmp_path,
        lambda averaged: watched.append(averaged) or 0.0, inputs.n_edges,
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


def test_features_of_atoms_reach_the_network_standardised_on_the_training_rows(inputs: GraphInputs, tmp_path: Path) -> None:
    rng, rows = np.random.default_rng(0), np.arange(6)
    items = [{"atom_features": rng.normal(2, 4, (crystal.n_atoms, 3)).astype(np.float32)} for crystal in CRYSTALS.values()]
    store = RaggedStore.from_items({"atom_features": "atom"}, items)
    learner = GnnLearner(replace(config(), atom_features="chgnet"), seed=3)
    learner.fit(replace(inputs, atom_features=store)[rows], TARGET[rows], tmp_path)
    of_training = np.concatenate([item["atom_features"] for item in items[:6]])
    np.testing.assert_allclose(learner.model.atom_features.statistics[0], of_training.mean(axis=0), rtol=1e-5)
    learner.save(tmp_path)
    again, before = load_learner(tmp_path), learner.predict(replace(inputs, atom_features=store))
    np.testing.assert_array_equal(again.predict(replace(inputs, atom_features=store)), before)
    store.arrays["atom_features"][store.offsets["atom"][2]] += 5  # the first atom of the third crystal
    changed = np.flatnonzero(again.predict(replace(inputs, atom_features=store)) != before)
    assert changed.tolist() == [2]
    with pytest.raises(ValueError, match="features of atoms"):
        learner.predict(inputs)
