"""Laws of captured gradients, with a stand-in for the CUDA graphs themselves; these are tested in tests/gpu."""

import contextlib
from collections.abc import Callable

import pytest
import torch
from conftest import CRYSTALS, make_batch
from torch import Tensor, nn

from src.config import GraphConfig, NequipConfig
from src.graphs.batch import GraphBatch, sizes_of
from src.learners import captured
from src.learners.captured import CapturedGradient
from src.models.members import make_network

GRAPH = {"r_max": 3.5}
SMALL, LARGE = ["rock salt", "quartz"], ["perovskite", "quartz"]


class StandIn:
    """Does for each batch what was captured, on tensors of one size, as a CUDA graph does; knows the sizes of all captures."""

    sizes: list[dict[str, int]]

    def __init__(
        self, add_gradient: Callable[[GraphBatch, Tensor], Tensor], batch: GraphBatch, target: Tensor, *_: object
    ) -> None:
        self.add_gradient, self.batch, self.target = add_gradient, batch, target.clone()
        self.sizes.append(sizes_of(batch))

    def replay(self, batch: GraphBatch, target: Tensor) -> Tensor:
        assert sizes_of(batch) == sizes_of(self.batch)
        return self.add_gradient(batch, target)


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    config = NequipConfig(n_channels=8, n_layers=2, radial_hidden=(8,), head_hidden=(8,))
    return make_network(config, GraphConfig(**GRAPH), torch.randn(119, 6), 20.0).double()


@pytest.fixture
def gradient(network: nn.Module, monkeypatch: pytest.MonkeyPatch) -> CapturedGradient:
    """The captured gradient of the mean absolute error."""
    StandIn.sizes = []
    monkeypatch.setattr(captured, "GradientGraph", StandIn)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: None)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: None)
    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())

    def add_gradient(padded: GraphBatch, target: Tensor) -> Tensor:
        loss = (network(padded)[:-1] - target).abs().mean()
        loss.backward()
        return loss.detach()

    return CapturedGradient(add_gradient, torch.zeros(1))


def batch_of(names: list[str]) -> GraphBatch:
    return make_batch([CRYSTALS[name] for name in names], **GRAPH)


def test_each_batch_adds_its_own_gradient_whatever_was_captured_before(network: nn.Module, gradient: CapturedGradient) -> None:
    for names in (SMALL, LARGE, SMALL, LARGE[:1]):
        network.zero_grad()
        loss = gradient(batch_of(names), torch.ones(len(names)))
        found = [p.grad.clone() for p in network.parameters() if p.grad is not None]
        network.zero_grad()
        wanted = (network(batch_of(names)) - 1).abs().mean()
        wanted.backward()
        torch.testing.assert_close(loss, wanted.detach())
        torch.testing.assert_close(found, [p.grad for p in network.parameters() if p.grad is not None])


def test_only_a_batch_that_is_too_large_or_has_another_number_of_crystals_is_captured(gradient: CapturedGradient) -> None:
    assert (sizes_of(batch_of(LARGE))["edge"]) > 1.2 * sizes_of(batch_of(SMALL))["edge"]
    n_captures = []
    for names in (SMALL, SMALL, LARGE, SMALL, LARGE, LARGE[:1], SMALL):
        gradient(batch_of(names), torch.ones(len(names)))
        n_captures.append(len(StandIn.sizes))
    assert n_captures == [1, 1, 2, 2, 2, 3, 3]
