"""Laws of several members in one training: each is the network that it would be alone, and the fold predicts their mean."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import CRYSTALS, FOLDS, load, make_batch, run, small_task
from torch.nn.utils import parameters_to_vector

from src.config import (
    AlignnConfig,
    CgcnnConfig,
    EgnnConfig,
    ExperimentConfig,
    GnnConfig,
    GraphConfig,
    MegnetConfig,
    NequipConfig,
    NetworkConfig,
    PretrainingConfig,
    RoostConfig,
    SchnetConfig,
    TrainingConfig,
    from_dict,
    to_dict,
)
from src.data.table import Crystals
from src.data.target import TargetNormalizer
from src.data.task import read_task
from src.features.elements import element_vectors
from src.learners.gnn import GnnLearner, GraphInputs
from src.learners.learner import Watched, load_learner
from src.learners.pretraining import pretrain
from src.learners.training import FlatParameters, Training
from src.models.members import MemberNetworks, make_members, make_network, separate
from src.predict import Predictor
from src.results.blend import stack_oof_spread, stack_test_folds
from src.results.predictions import find_predictions
from src.storage.names import CHECKPOINT

N, SEED = 3, 7
GRAPH = GraphConfig(r_max=3.5, r_angle=3.0)
NEQUIP = NequipConfig(n_channels=4, n_layers=2, radial_hidden=(8,), head_hidden=(4,), radial_knots=32, n_element_attributes=2)
NETWORKS = [
    NEQUIP,
    replace(NEQUIP, radial_knots=0, n_element_attributes=0, readout="attention"),
    EgnnConfig(n_channels=4, n_layers=2),
    CgcnnConfig(n_channels=4, n_layers=2),
    SchnetConfig(n_channels=4, n_layers=2),
    AlignnConfig(n_channels=4, n_alignn_layers=1, n_gcn_layers=1),
]
EVERY_CRYSTAL = Crystals.from_list(list(CRYSTALS.values()))
TARGET = np.random.default_rng(0).normal(size=len(CRYSTALS))


def config(members: int = N, network: NetworkConfig = NEQUIP, **training: object) -> GnnConfig:
    knobs = {"n_epochs": 4, "batch_size": 3, "lr": 1e-3, "ema_decay": 0.8, **training}
    return GnnConfig(training=TrainingConfig(**knobs), graph=GRAPH, network=network, members=members)


@pytest.fixture
def inputs(tmp_path: Path) -> GraphInputs:
    return GnnLearner(config()).prepare_inputs(EVERY_CRYSTAL, "test", tmp_path / "cache", 1)


def trained(learner_config: GnnConfig, inputs: GraphInputs, folder: Path) -> GnnLearner:
    folder.mkdir(exist_ok=True)
    learner = GnnLearner(learner_config, SEED)
    learner.fit(inputs, TARGET, folder, Watched(inputs, TARGET))
    return learner


def untrained(c: GnnConfig, inputs: GraphInputs, seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    vectors = torch.tensor(element_vectors(c.elements, None), dtype=torch.float32)
    return make_network(c.network, c.graph, vectors, inputs.avg_n_neighbors)


def alone(c: GnnConfig, inputs: GraphInputs, member: int, folder: Path) -> torch.nn.Module:
    """Train the network of a member by itself, on the batches of all of them."""
    folder.mkdir()
    training = Training(untrained(c, inputs, SEED + 1000 * member), c.training, SEED, len(inputs))
    targets = torch.tensor(TARGET, dtype=torch.float32)
    training.run(lambda rows: inputs.batch(rows, "cpu"), targets, folder, lambda averaged: 0.0)
    return training.averaged


@pytest.mark.parametrize(("optimizer", "loss"), [("adamw", "l1"), ("lion", "huber")])
def test_each_member_is_the_network_that_it_would_be_alone(
    inputs: GraphInputs, tmp_path: Path, optimizer: str, loss: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the same batches, with a gradient that is clipped by the member's own norm in every step."""
    monkeypatch.setattr("src.learners.training.CLIP_NORM", 0.005)
    norms, clip = [], FlatParameters.clip
    monkeypatch.setattr(FlatParameters, "clip", lambda self, largest: norms.append(clip(self, largest)) or norms[-1])
    c = config(optimizer=optimizer, loss=loss)
    members = separate(trained(c, inputs, tmp_path / "all").model)
    of_members = torch.stack(norms)
    assert of_members.shape == (4 * 3, N) and of_members.min() > 0.005
    for m, member in enumerate(members):
        norms.clear()
        own, start = alone(c, inputs, m, tmp_path / f"{m}"), untrained(c, inputs, SEED + 1000 * m)
        torch.testing.assert_close(of_members[:, m], torch.cat(norms), rtol=1e-3, atol=1e-6)
        together, by_itself, before = (parameters_to_vector(network.parameters()).detach() for network in (member, own, start))
        torch.testing.assert_close(together, by_itself, rtol=0, atol=2e-6)
        assert (together - before).abs().max() > 1e-3


def test_each_member_is_pretrained_as_it_would_be_alone_and_resumes(inputs: GraphInputs, tmp_path: Path) -> None:
    stage = PretrainingConfig(n_epochs=2, force_weight=1.0)
    c = replace(config(optimizer="adamw"), pretraining=stage)
    learner = trained(c, inputs, tmp_path / "all")
    assert learner.histories() == {f"pretraining/member_{m}/history.csv": 2 for m in range(N)} | {"history.csv": 4}
    assert all((tmp_path / "all" / file).is_file() for file in learner.histories())
    for m, member in enumerate(separate(learner.model)):
        own = untrained(c, inputs, SEED + 1000 * m)
        batches, targets = lambda rows: inputs.batch(rows, "cpu"), torch.tensor(TARGET, dtype=torch.float32)
        pretrain(own, stage, c.training, SEED, batches, targets, tmp_path / f"first{m}", lambda _: 0.0)
        training = Training(own, c.training, SEED, len(inputs))
        (tmp_path / f"{m}").mkdir()
        training.run(batches, targets, tmp_path / f"{m}", lambda _: 0.0)
        together, by_itself = (parameters_to_vector(one.parameters()).detach() for one in (member, training.averaged))
        torch.testing.assert_close(together, by_itself, rtol=0, atol=2e-5)
    (tmp_path / "all" / CHECKPOINT).unlink()  # as if it had ended before the training, in the last pre-training
    last = tmp_path / "all/pretraining" / f"member_{N - 1}"
    last.rename(last.with_name("away"))
    again = trained(c, inputs, tmp_path / "all")
    np.testing.assert_array_equal(again.predict_members(inputs), learner.predict_members(inputs))


def test_the_history_is_of_the_mean_prediction_and_the_mean_loss(inputs: GraphInputs, tmp_path: Path) -> None:
    c = config(n_epochs=1)
    learner = trained(c, inputs, tmp_path / "all")
    row = np.genfromtxt(tmp_path / "all" / "history.csv", delimiter=",", names=True)
    assert row["valid_mae"] == pytest.approx(np.abs(learner.predict_members(inputs).mean(axis=0) - TARGET).mean(), rel=1e-6)
    losses = []
    for m in range(N):
        alone(c, inputs, m, tmp_path / f"{m}")
        losses.append(np.genfromtxt(tmp_path / f"{m}" / "history.csv", delimiter=",", names=True)["train_loss"])
    assert row["train_loss"] == pytest.approx(np.mean(losses), rel=1e-5) and np.ptp(losses) > 1e-3


@pytest.mark.parametrize("network", [*NETWORKS, RoostConfig(4, 1, 4)], ids=lambda c: type(c).__name__)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["fused", "reference"])
@pytest.mark.parametrize("in_turn", [False, True], ids=["at once", "in turn"])
def test_networks_at_once_are_the_networks_one_by_one(
    network: NetworkConfig, dtype: torch.dtype, in_turn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = torch.randn(119, 5, generator=torch.Generator().manual_seed(0))
    batch = make_batch(list(CRYSTALS.values()), r_max=3.5, r_angle=3.0).to("cpu", dtype)
    model = make_members(lambda: make_network(network, GRAPH, vectors, 10.0), range(N)).to(dtype)
    monkeypatch.setattr(type(model.network), "members_in_turn", in_turn, raising=False)
    predicted = model(batch)
    (predicted.square().mean(dim=1)).sum().backward()
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 1e-9, "atol": 1e-11}
    assert predicted.std(dim=0).min() > 1e-4
    for m, one in enumerate(separate(model)):
        own = one(batch)
        own.square().mean().backward()
        torch.testing.assert_close(predicted[m], own, **tolerance)
        for p, q in zip(model.parameters(), one.parameters(), strict=True):
            if q.grad is not None:  # what the last layer of EGNN moves is not read
                torch.testing.assert_close(p.grad[m], q.grad, **tolerance)


def test_one_member_is_a_plain_network(inputs: GraphInputs, tmp_path: Path) -> None:
    """Its weights are those of a training without members, to the bit."""
    learner = trained(config(members=1), inputs, tmp_path / "learner")
    assert not isinstance(learner.model, MemberNetworks)
    own = alone(config(members=1), inputs, 0, tmp_path / "alone")
    for p, q in zip(learner.model.parameters(), own.parameters(), strict=True):
        assert torch.equal(p, q)


def test_a_config_that_was_written_before_there_were_members_has_one() -> None:
    stored = to_dict(config(members=1))
    del stored["members"]
    assert from_dict(stored) == config(members=1)


def test_the_features_are_those_of_all_members(inputs: GraphInputs, tmp_path: Path) -> None:
    learner = trained(config(), inputs, tmp_path)
    vectors = learner.features(inputs).reshape(len(inputs), N, -1)
    single = GnnLearner(config(members=1), SEED)
    for m, network in enumerate(separate(learner.model)):
        single.model = network
        np.testing.assert_array_equal(vectors[:, m], single.features(inputs))


def test_a_transform_is_undone_before_members_are_averaged() -> None:
    counts, residuals = np.eye(119, dtype=np.int64)[[8, 26]], np.array([[0.0, 1.0], [2.0, -1.0], [1.0, 3.0]])
    normalizer = TargetNormalizer(np.full(119, 0.5), 2.0, transform="log")
    mean, spread = normalizer.mean_and_spread(counts, residuals)
    np.testing.assert_allclose(mean, np.exp(0.5 + 2 * residuals).mean(axis=0))
    np.testing.assert_allclose(spread, np.exp(0.5 + 2 * residuals).std(axis=0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"members": 0}, ""), ({"network": MegnetConfig()}, "must be 1 for Megnet")],
    ids=["none", "MEGNet"],
)
def test_what_members_cannot_do_is_refused(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"GnnConfig.members=.*{message}"):
        replace(config(), **changes)


EXPERIMENT = ExperimentConfig(learner=config(n_epochs=2, batch_size=8), folds=FOLDS)


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small task with a finished run of exp010; its outputs lie next to it."""
    folder = small_task(tmp_path_factory.mktemp("members"))
    run(folder, EXPERIMENT, "exp010")
    return folder


def test_the_spread_of_a_row_is_that_of_its_members_predictions_in_the_unit_of_the_target(task: Path) -> None:
    run, data = task.parent / "outputs/small/exp010", load(task)
    inputs = GnnLearner(EXPERIMENT.learner).prepare_inputs(data.train.crystals, data.train_key, data.cache, 1)
    oof = pd.read_csv(run / "oof.csv")
    assert list(oof) == ["id", "fold", "e_form", "e_form_pred", "spread"] and (oof["spread"] > 1e-4).all()
    for k in range(4):
        rows = np.flatnonzero(oof["fold"] == k)
        residuals = load_learner(run / f"fold_{k}").predict_members(inputs[rows])
        normalizer = TargetNormalizer.from_json(pd.read_json(run / f"fold_{k}/normalizer.json", typ="series").to_dict())
        counts = data.train.crystals.element_counts[rows]
        target = np.stack([normalizer.denormalize(counts, residual) for residual in residuals])
        np.testing.assert_allclose(oof["e_form_pred"][rows], target.mean(axis=0), atol=1e-6)
        np.testing.assert_allclose(oof["spread"][rows], target.std(axis=0), atol=1e-6)


def test_the_spread_can_be_read_for_out_of_fold_and_test_rows(task: Path) -> None:
    run, found = task.parent / "outputs/small/exp010", find_predictions("010", read_task(task), task.parent / "outputs")
    np.testing.assert_allclose(stack_oof_spread([found])[:, 0], pd.read_csv(run / "oof.csv")["spread"])
    of_folds = [pd.read_csv(run / f"fold_{k}/test.csv")["spread"] for k in range(4)]
    read = stack_test_folds([found], found.test["id"].tolist(), 4, "spread")[:, :, 0]
    np.testing.assert_allclose(read, np.stack(of_folds, axis=1))
    assert (read > 0).all()


def test_new_crystals_are_predicted_as_the_test_table_was(task: Path) -> None:
    test = pd.read_csv(task.parent / "outputs/small/exp010/test.csv")
    crystals = load(task).test.crystals
    structures = [crystals[i].to_structure() for i in range(len(crystals))]
    table = Predictor.load("010", task=task, outputs=task.parent / "outputs").predict(structures)
    np.testing.assert_allclose(table["prediction"], test["e_form_pred"], atol=1e-6)
    variance = test.filter(like="spread_").pow(2).mean(axis=1) + test.filter(like="fold_").var(axis=1, ddof=0)
    np.testing.assert_allclose(table["spread"], np.sqrt(variance), atol=1e-6)
