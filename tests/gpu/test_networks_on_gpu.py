"""Laws of networks on a GPU: they compute there what they compute on a CPU in double precision."""

from dataclasses import replace

import pytest
import torch
from conftest import CRYSTALS, make_batch
from torch import Tensor, nn

from src.config import (
    AlignnConfig,
    CgcnnConfig,
    EgnnConfig,
    GraphConfig,
    MegnetConfig,
    NequipConfig,
    NetworkConfig,
    RoostConfig,
    SchnetConfig,
)
from src.graphs.batch import GraphBatch
from src.learners.device import keep_products_whole
from src.models.members import make_members, make_network

pytestmark = pytest.mark.gpu

GRAPH = {"r_max": 4.5, "l_max": 2, "r_angle": 3.0}
NEQUIP = NequipConfig(n_channels=16, radial_hidden=(16,), head_hidden=(8,))
NETWORKS = {
    "nequip": NEQUIP,
    "nequip by element": replace(NEQUIP, n_element_attributes=4, gather_layers=True, readout="attention"),
    "nequip on knots": replace(NEQUIP, radial_knots=256),
    "egnn": EgnnConfig(n_channels=16),
    "cgcnn": CgcnnConfig(n_channels=16),
    "schnet": SchnetConfig(n_channels=16, n_layers=2),
    "megnet": MegnetConfig(n_channels=8, n_layers=2),
    "roost": RoostConfig(n_channels=16, n_layers=2, n_hidden=16),
    "alignn": AlignnConfig(n_channels=16, n_alignn_layers=1, n_gcn_layers=1),
}
MEMBERS = {name: network for name, network in NETWORKS.items() if not isinstance(network, MegnetConfig)}  # it allows one only
FLOAT32 = 1e-5  # largest deviation over the largest value


def make(network: NetworkConfig, n_members: int = 1) -> nn.Module:
    """Return a network, or several as one, in single precision."""
    torch.manual_seed(0)
    vectors = torch.randn(119, 6)
    return make_members(lambda: make_network(network, GraphConfig(**GRAPH), vectors, 20.0), range(n_members))


def outputs_and_gradients(model: nn.Module, batch: GraphBatch) -> tuple[Tensor, Tensor]:
    """Return what a network predicts, and the gradient w.r.t. all of its parameters as one vector."""
    model.zero_grad()
    keep_products_whole()
    out = model(batch)
    out.square().sum().backward()
    gradients = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
    return out.detach().cpu().double(), torch.cat(gradients).cpu().double()


def deviations(network: NetworkConfig, device: str, n_members: int = 1) -> list[float]:
    """Return by how much outputs and gradients differ from those in double precision on the CPU, over the largest value."""
    model, batch = make(network, n_members), make_batch(list(CRYSTALS.values()), **GRAPH)
    single = outputs_and_gradients(model.to(device), batch.to(device, torch.float32))
    double = outputs_and_gradients(model.to("cpu").double(), batch)
    return [float((x - y).abs().max() / y.abs().max()) for x, y in zip(single, double, strict=True)]


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_a_network_is_the_same_function_on_a_gpu(network: NetworkConfig, device: str) -> None:
    assert max(deviations(network, device)) < FLOAT32


@pytest.mark.parametrize("network", MEMBERS.values(), ids=MEMBERS)
def test_members_are_the_same_functions_on_a_gpu(network: NetworkConfig, device: str) -> None:
    assert max(deviations(network, device, n_members=3)) < FLOAT32
