"""Laws of padded batches: a further crystal takes up the room, and what networks say of the others stays the same."""

import numpy as np
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
    SchnetConfig,
)
from src.graphs.batch import GraphBatch
from src.graphs.graph import INDEX_OF, LEVELS
from src.graphs.padding import pad, room_for, sizes_of
from src.models.network import make_network

GRAPH = {"r_max": 4.0, "l_max": 2, "r_angle": 3.0}
NEQUIP = NequipConfig(n_channels=8, radial_hidden=(8,), head_hidden=(8,))
NETWORKS = {
    "nequip": NEQUIP,
    "nequip by element": NequipConfig(n_channels=8, radial_hidden=(8,), head_hidden=(8,), n_element_attributes=4),
    "nequip with attention": NequipConfig(n_channels=8, radial_hidden=(8,), head_hidden=(8,), readout="attention"),
    "nequip of extensive targets": NequipConfig(n_channels=8, radial_hidden=(8,), head_hidden=(8,), readout="sum"),
    "egnn": EgnnConfig(n_channels=8),
    "cgcnn": CgcnnConfig(n_channels=8, n_hidden=8),
    "schnet": SchnetConfig(n_channels=8, n_layers=2),
    "megnet": MegnetConfig(n_channels=4, n_hidden=8, n_layers=2),
    "alignn": AlignnConfig(n_channels=8, n_alignn_layers=1, n_gcn_layers=1),
}
CRYSTALS_OF_BATCH = list(CRYSTALS.values())


@pytest.fixture
def batch() -> GraphBatch:
    return make_batch(CRYSTALS_OF_BATCH, **GRAPH)


def outputs_and_gradients(model: nn.Module, batch: GraphBatch, n: int) -> tuple[Tensor, Tensor]:
    """Return the predictions of the first n crystals, and the gradient of the sum of their squares as one vector."""
    model.zero_grad()
    out = model(batch)[:n]
    out.square().sum().backward()
    return out.detach(), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_padding_changes_neither_predictions_nor_gradients(network: NetworkConfig, batch: GraphBatch) -> None:
    torch.manual_seed(0)
    model = make_network(network, GraphConfig(**GRAPH), torch.randn(119, 6), 20.0).double()
    plain = outputs_and_gradients(model, batch, batch.n_crystals)
    padded = outputs_and_gradients(model, pad(batch, room_for(batch, {})), batch.n_crystals)
    for x, y in zip(padded, plain, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-10, atol=1e-12)


def test_a_padded_batch_has_the_sizes_that_were_asked_for(batch: GraphBatch) -> None:
    room = room_for(batch, {})
    assert sizes_of(pad(batch, room)) == room


def test_a_smaller_batch_takes_the_room_of_a_larger_one(batch: GraphBatch) -> None:
    room = room_for(batch, {})
    fewer = make_batch(CRYSTALS_OF_BATCH[::-1], **GRAPH | {"r_max": 3.5})
    assert sizes_of(fewer)["edge"] < sizes_of(batch)["edge"] and room_for(fewer, room) == room


def test_a_larger_batch_takes_more_room_where_it_needs_it(batch: GraphBatch) -> None:
    room = room_for(batch, {})
    larger = make_batch(CRYSTALS_OF_BATCH, **GRAPH | {"r_max": 5.0})
    grown = room_for(larger, room)
    assert grown["edge"] > sizes_of(larger)["edge"] and grown["atom"] == room["atom"]


def test_every_index_of_a_padded_batch_names_a_member_and_every_orbit_has_an_atom(batch: GraphBatch) -> None:
    without_symmetry = make_batch(CRYSTALS_OF_BATCH, **GRAPH, symmetry=False)  # has more orbits and as many atoms
    room = room_for(batch, room_for(without_symmetry, {}))
    padded = pad(batch, room)
    for name, level in INDEX_OF.items():
        assert int(getattr(padded, name).min()) >= 0 and int(getattr(padded, name).max()) < room[level]
    np.testing.assert_array_equal(padded.atom_orbit_index.unique(), np.arange(room["orbit"]))


def test_the_features_of_crystals_and_atoms_are_padded_too(batch: GraphBatch) -> None:
    batch.global_features = torch.randn(batch.n_crystals, 3, dtype=torch.float64)
    batch.atom_features = torch.randn(len(batch.atom_orbit_index), 2, dtype=torch.float64)
    room = room_for(batch, {})
    padded = pad(batch, room)
    assert padded.global_features is not None and padded.atom_features is not None
    assert (len(padded.global_features), len(padded.atom_features)) == (room["crystal"], room["atom"])
    assert set(LEVELS.values()) == set(room)
