"""Laws of trainings on a GPU."""

import gc
import os

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # before cuBLAS starts: its sums always have one order

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import CRYSTALS
from test_networks_on_gpu import FLOAT32, GRAPH, NETWORKS, make

from src.config import GnnConfig, GraphConfig, MegnetConfig, NequipConfig, NetworkConfig, TrainingConfig
from src.data.table import Crystals
from src.data.task import read_task
from src.graphs.batch import GraphBatch
from src.learners.captured import AddGradient, CapturedGradient
from src.learners.gnn import GnnLearner, GraphInputs
from src.learners.learner import load_learner
from src.learners.training import Training
from src.models.members import make_network
from src.paths import DEFAULT_TASK
from src.runs.verify import verify

pytestmark = pytest.mark.gpu

N_EPOCHS = 4
CONFIG = GnnConfig(
    training=TrainingConfig(n_epochs=N_EPOCHS, batch_size=3, lr=5e-3),
    graph=GraphConfig(r_max=3.5),
    network=NequipConfig(n_channels=16, n_layers=2, radial_hidden=(16,), head_hidden=(8,)),
)
TARGET = np.random.default_rng(0).normal(size=len(CRYSTALS))
BATCH_SIZE, N_BATCHES = 256, 200
FLAT = 2**16  # bytes; targets of 200 batches have three times as many


@pytest.fixture
def inputs(tmp_path: Path) -> GraphInputs:
    return GnnLearner(CONFIG).prepare_inputs(Crystals.from_list(list(CRYSTALS.values())), "test", tmp_path / "cache", 1)


@pytest.fixture
def detailed(tmp_path: Path) -> GraphInputs:
    """Graphs that have what every network reads."""
    config = replace(CONFIG, graph=GraphConfig(**GRAPH))
    return GnnLearner(config).prepare_inputs(Crystals.from_list(list(CRYSTALS.values())), "test", tmp_path / "cache", 1)


@pytest.fixture
def one_order() -> Iterator[None]:
    """Sums on a GPU have one order: otherwise no two trainings are equal to the last bit."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def trained(inputs: GraphInputs, folder: Path, device: str) -> np.ndarray:
    """Train in a folder, from its checkpoint if it has one, and return the predictions."""
    folder.mkdir(exist_ok=True)
    learner = GnnLearner(CONFIG, seed=3, device=device)
    learner.fit(inputs, TARGET, folder)
    return learner.predict(inputs)


def test_a_training_that_was_interrupted_equals_one_that_was_not(
    inputs: GraphInputs, tmp_path: Path, device: str, one_order: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, train_epoch = trained(inputs, tmp_path / "whole", device), Training.train_epoch

    def interrupted(self: Training, epoch: int, *args: object) -> float:
        if epoch == N_EPOCHS // 2:
            raise KeyboardInterrupt
        return train_epoch(self, epoch, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "train_epoch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            trained(inputs, tmp_path / "parts", device)
    np.testing.assert_array_equal(trained(inputs, tmp_path / "parts", device), whole)


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_a_captured_gradient_is_the_eager_one(network: NetworkConfig, members: int, detailed: GraphInputs, device: str) -> None:
    """The batches have one crystal or three; the second of each size is too large for the graph of the first."""
    if members > 1 and isinstance(network, MegnetConfig):
        pytest.skip("MEGNet has one member only")
    training = Training(make(network, members).to(device), CONFIG.training, 0, len(detailed))
    captured, order = training.captured, np.argsort(detailed.store.counts("edge", detailed.crystals))
    for rows in (order[:3], order[-3:], order[:1], order[-1:], order[1:4]):
        loss, gradient = add_gradient(training, captured, rows, detailed)
        eager_loss, wanted = add_gradient(training, None, rows, detailed)
        torch.testing.assert_close(loss, eager_loss)
        assert wanted.abs().max() > 0 and (gradient - wanted).abs().max() < FLOAT32 * wanted.abs().max()


def add_gradient(
    training: Training, captured: CapturedGradient | None, rows: np.ndarray, inputs: GraphInputs
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the loss of a batch and its gradient, captured or eager."""
    training.captured = captured
    training.parameters.values.grad.zero_()
    loss = training._add_gradient(rows, lambda rows: inputs.batch(rows, "cpu"), torch.ones(len(inputs)))
    return loss, training.parameters.values.grad.clone()


@pytest.fixture
def collector_waits() -> Iterator[None]:
    """Python's garbage collector is on, but does nothing by itself."""
    thresholds = gc.get_threshold()
    gc.set_threshold(10**9)
    yield
    gc.set_threshold(*thresholds)


def test_a_collector_at_work_does_not_invalidate_a_capture(detailed: GraphInputs, device: str, collector_waits: None) -> None:
    """Freeing the graphs of a training that was given up is forbidden during a capture."""
    if device == "cpu":
        pytest.skip("there is no capture on a CPU")
    rows = np.arange(3)
    for training in (Training(make(CONFIG.network).to(device), CONFIG.training, 0, len(detailed)) for _ in range(2)):
        inner = training._gradient_of_padded  # refers to the training, which refers to it by its captured gradient

        def collecting(batch: GraphBatch, target: torch.Tensor, inner: AddGradient = inner) -> torch.Tensor:
            if torch.cuda.is_current_stream_capturing() and gc.isenabled():
                gc.collect()
            return inner(batch, target)

        assert training.captured is not None
        training.captured.add_gradient = collecting
        assert torch.isfinite(add_gradient(training, training.captured, rows, detailed)[0])


def test_a_model_trained_on_a_gpu_predicts_the_same_on_a_cpu(inputs: GraphInputs, tmp_path: Path, device: str) -> None:
    learner = GnnLearner(CONFIG, seed=3, device=device)
    learner.fit(inputs, TARGET, tmp_path)
    learner.save(tmp_path)
    np.testing.assert_allclose(load_learner(tmp_path).predict(inputs), learner.predict(inputs), rtol=0, atol=1e-5)


def allocated(device: str) -> int:
    """Return the bytes of all tensors on the device."""
    gc.collect()
    if device == "cpu":
        return sum(x.untyped_storage().nbytes() for x in gc.get_objects() if isinstance(x, torch.Tensor))
    return torch.cuda.memory_allocated(device)


def test_memory_is_flat_over_200_batches_of_256_crystals(inputs: GraphInputs, device: str) -> None:
    network = make_network(CONFIG.network, CONFIG.graph, torch.randn(119, 6), 20.0).to(device)
    n_rows = BATCH_SIZE * N_BATCHES // N_EPOCHS
    training = Training(network, TrainingConfig(n_epochs=N_EPOCHS + 1, batch_size=BATCH_SIZE), 0, n_rows)
    target, after = torch.zeros(n_rows), []
    for epoch in range(N_EPOCHS + 1):  # the first warms up
        training.train_epoch(epoch, lambda rows: inputs.batch(np.arange(len(rows)) % len(inputs), "cpu"), target)  # of one size
        after.append(allocated(device))
    assert max(after[1:]) - after[0] < FLAT


def test_a_fold_of_exp010_is_the_published_one(device: str) -> None:
    """Its initial weights, batches and schedule are those of the published run; sums have another order."""
    agrees, why = verify("010", 0, read_task(DEFAULT_TASK), device)
    assert agrees, why
