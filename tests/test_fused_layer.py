"""An interaction layer as one operation is the layer of modules, forward and backward."""

import gc
import weakref

import pytest
import torch
from conftest import CRYSTALS, make_batch
from torch import Tensor

from src.config import GraphConfig, NequipConfig
from src.models import fused, fused_layer
from src.models.convolution import Convolution
from src.models.members import make_network


def results(config: NequipConfig, l_max: int) -> list[Tensor]:
    """Return the outputs of a network and the gradients of its parameters."""
    torch.manual_seed(0)
    network = make_network(config, GraphConfig(r_max=3.5, l_max=l_max), torch.randn(119, 6), 20.0)
    out = network(make_batch(list(CRYSTALS.values()), r_max=3.5, l_max=l_max).to("cpu", torch.float32))
    (out * torch.arange(1.0, len(out) + 1)).sum().backward()
    return [out.detach(), *(p.grad for p in network.parameters() if p.grad is not None)]


@pytest.mark.parametrize("l_max", [1, 2])
@pytest.mark.parametrize("n_attributes", [0, 4])
def test_a_fused_layer_is_the_layer_of_modules(n_attributes: int, l_max: int, monkeypatch: pytest.MonkeyPatch) -> None:
    called, interact = [], fused_layer.interact
    monkeypatch.setattr(fused_layer, "interact", lambda *args: called.append(1) or interact(*args))
    config = NequipConfig(n_channels=32, radial_knots=16 * n_attributes, n_element_attributes=n_attributes)
    fused = results(config, l_max)
    assert len(called) == config.n_layers
    monkeypatch.setattr(Convolution, "edges_of_layer", lambda *_: None)
    for got, expected in zip(fused, results(config, l_max), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))
    assert len(called) == config.n_layers


def test_channels_that_fill_no_tile_stay_in_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_layer, "interact", lambda *_: pytest.fail("a fused layer was called"))
    results(NequipConfig(n_channels=8), 1)


@pytest.mark.parametrize("n_channels", [8, 16])  # the convolution alone, and whole layers
def test_a_step_leaves_nothing_behind(n_channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    alive = []
    prepare = fused.Pass.__init__
    monkeypatch.setattr(fused.Pass, "__init__", lambda self, *args: alive.append(weakref.ref(self)) or prepare(self, *args))
    results(NequipConfig(n_channels=n_channels), 1)
    gc.collect()
    assert alive and not any(one() for one in alive)
