"""Laws of captured gradients, with a stand-in for what CUDA does; on a GPU they are tested in tests/gpu."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import pytest
import torch
from conftest import CRYSTALS, make_batch
from torch import Tensor, nn

from src.config import GraphConfig, NequipConfig
from src.graphs.batch import GraphBatch, sizes_of
from src.learners.captured import CapturedGradient
from src.learners.training import FlatParameters
from src.models.members import make_network

GRAPH = {"r_max": 3.5}
SMALL, LARGE = ["rock salt", "quartz"], ["perovskite", "quartz"]


class StandIn:
    """Repeats what was captured, on the same tensors, as a CUDA graph does."""

    made: list["StandIn"]
    replay: Callable[[], None]

    def __init__(self) -> None:
        self.made.append(self)


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    config = NequipConfig(n_channels=8, n_layers=2, radial_hidden=(8,), head_hidden=(8,))
    return make_network(config, GraphConfig(**GRAPH), torch.randn(119, 6), 20.0).double()


@pytest.fixture
def gradient(network: nn.Module, monkeypatch: pytest.MonkeyPatch) -> CapturedGradient:
    """The captured gradient of the mean absolute error."""
    StandIn.made, done = [], list[Callable[[], None]]()

    @contextmanager
    def capture(graph: StandIn, pool: str, stream: object) -> Iterator[None]:
        assert not gc.isenabled() and pool == "pool"
        yield
        graph.replay = done[-1]

    own = {"Stream": lambda device: SimpleNamespace(wait_stream=lambda other: None), "current_stream": lambda device: None}
    own |= {"stream": nullcontext, "device": nullcontext, "graph_pool_handle": lambda: "pool", "graph": capture}
    own |= {"CUDAGraph": StandIn}
    for name, stub in own.items():
        monkeypatch.setattr(torch.cuda, name, stub)

    def add_gradient(padded: GraphBatch, target: Tensor) -> Tensor:
        loss = torch.zeros((), dtype=torch.float64)

        def work() -> None:
            value = (network(padded)[:-1] - target).abs().mean()
            value.backward()
            loss.copy_(value.detach())

        work()
        done.append(work)
        return loss

    return CapturedGradient(add_gradient, FlatParameters(network).values.grad)


def batch_of(names: list[str]) -> GraphBatch:
    return make_batch([CRYSTALS[name] for name in names], **GRAPH)


def test_each_batch_adds_its_own_gradient_whatever_was_captured_before(network: nn.Module, gradient: CapturedGradient) -> None:
    for names in (SMALL, LARGE, SMALL, LARGE[:1]):
        target = torch.rand(len(names), dtype=torch.float64)
        gradient.gradient.fill_(0.5)  # of another batch
        loss = gradient(batch_of(names), target)
        found = gradient.gradient - 0.5
        gradient.gradient.zero_()
        wanted = (network(batch_of(names)) - target).abs().mean()
        wanted.backward()
        torch.testing.assert_close(loss, wanted.detach())
        torch.testing.assert_close(found, gradient.gradient, rtol=0, atol=1e-9)
    assert gc.isenabled()


def test_only_a_batch_that_is_too_large_or_has_another_number_of_crystals_is_captured(gradient: CapturedGradient) -> None:
    assert (sizes_of(batch_of(LARGE))["edge"]) > 1.2 * sizes_of(batch_of(SMALL))["edge"]
    n_captures = []
    for names in (SMALL, SMALL, LARGE, SMALL, LARGE, LARGE[:1], SMALL):
        gradient(batch_of(names), torch.ones(len(names)))
        n_captures.append(len(StandIn.made))
    assert n_captures == [1, 1, 2, 2, 2, 3, 3]
