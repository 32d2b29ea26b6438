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
from src.data.crystal import Crystal
from src.graphs.batch import GraphBatch, pad, padded_sizes, sizes_of
from src.graphs.graph import INDEX_OF, LEVELS
from src.models.blocks import statistics_of
from src.models.members import make_network

GRAPH = {"r_max": 4.0, "l_max": 2, "r_angle": 3.0}
NEQUIP = NequipConfig(n_channels=8, radial_hidden=(8,), head_hidden=(8,))
NETWORKS = {
    "nequip": NEQUIP,
    "nequip by element": NequipConfig(n_channels=8, radial_hidden=(8,), head_hidden=(8,), n_element_attributes=4),
    "nequip with attention": NequipConfig(n_channels=8, radial_hidden=(8,), head_hidden=(8,), readout="attention"),
    "nequip of extensive targets": NequipConfig(n_channels=8, radial_hidden=(8,), head_hidden=(8,), readout="sum"),
    "nequip of the extreme atom": NequipConfig(n_channels=8, radial_hidden=(8,), head_hidden=(8,), readout="max"),
    "egnn": EgnnConfig(n_channels=8),
    "cgcnn": CgcnnConfig(n_channels=8),
    "schnet": SchnetConfig(n_channels=8, n_layers=2),
    "megnet": MegnetConfig(n_channels=4, n_layers=2),
    "alignn": AlignnConfig(n_channels=8, n_alignn_layers=1, n_gcn_layers=1),
}
CRYSTALS_OF_BATCH = list(CRYSTALS.values())
LONELY = Crystal(np.eye(3) * 9.0, np.zeros((1, 3)), np.array([11]))
LARGE = {"orbit": 500, "atom": 2000, "edge": 9000, "length": 4000, "triplet": 20_000}


@pytest.fixture
def batch() -> GraphBatch:
    return make_batch(CRYSTALS_OF_BATCH, **GRAPH)


def outputs_and_gradients(model: nn.Module, batch: GraphBatch, n: int) -> tuple[Tensor, Tensor]:
    """Return the predictions of the first n crystals, and the gradient of the sum of their squares as one vector."""
    model.zero_grad()
    out = model(batch)[:n]
    out.square().sum().backward()
    return out.detach(), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def check_law(model: nn.Module, batch: GraphBatch, known: dict[str, int]) -> None:
    """Check that a network says the same of the crystals of a batch when it is padded to known sizes, or larger ones."""
    plain = outputs_and_gradients(model, batch, batch.n_crystals)
    padded = outputs_and_gradients(model, pad(batch, padded_sizes(batch, known)), batch.n_crystals)
    for x, y in zip(padded, plain, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("known", [{}, LARGE], ids=["of the batch", "of a larger batch"])
@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_padding_changes_neither_predictions_nor_gradients(
    network: NetworkConfig, known: dict[str, int], batch: GraphBatch
) -> None:
    torch.manual_seed(0)
    check_law(make_network(network, GraphConfig(**GRAPH), torch.randn(119, 6), 20.0).double(), batch, known)


@pytest.mark.parametrize(
    "batch",
    [
        make_batch([CRYSTALS["quartz"]], **GRAPH),
        make_batch(CRYSTALS_OF_BATCH, **GRAPH | {"r_angle": 0.0}),
        make_batch([LONELY], **GRAPH),
    ],
    ids=["one crystal", "no triplets", "no edges"],
)
def test_batches_that_lack_something_are_padded_too(batch: GraphBatch) -> None:
    torch.manual_seed(0)
    check_law(make_network(NEQUIP, GraphConfig(**GRAPH), torch.randn(119, 6), 20.0).double(), batch, {})


def test_features_of_crystals_are_padded_too(batch: GraphBatch) -> None:
    torch.manual_seed(0)
    batch.global_features = torch.randn(batch.n_crystals, 3, dtype=torch.float64)
    statistics = statistics_of(batch.global_features)
    check_law(make_network(NEQUIP, GraphConfig(**GRAPH), torch.randn(119, 6), 20.0, statistics).double(), batch, {})


def test_the_weights_of_the_crystal_that_is_added_sum_to_one_as_all_do(batch: GraphBatch) -> None:
    padded = pad(batch, padded_sizes(batch, LARGE))
    ones = torch.ones(padded.n_orbits, 1, dtype=torch.float64)
    torch.testing.assert_close(padded.mean_over_atoms(ones), torch.ones(padded.n_crystals, 1, dtype=torch.float64))


def test_a_padded_batch_has_the_sizes_that_were_asked_for(batch: GraphBatch) -> None:
    room = padded_sizes(batch, {})
    assert sizes_of(pad(batch, room)) == room


def test_there_is_room_for_a_tenth_more_and_for_one_row_in_any_case(batch: GraphBatch) -> None:
    own = sizes_of(batch)
    for room in (padded_sizes(batch, {}), padded_sizes(batch, own)):
        for level in ("orbit", "edge", "length", "triplet"):
            assert 1.1 * own[level] + 1 <= room[level] < 1.1 * own[level] + 2
        assert room["crystal"] == own["crystal"] + 1
    least = own["atom"] + 500 - own["orbit"]  # every further orbit has an atom
    assert 1.1 * least <= padded_sizes(batch, {"orbit": 500})["atom"] < 1.1 * least + 1
    assert padded_sizes(batch, {"orbit": 500, "atom": least})["atom"] == least


def test_padding_is_ones_without_weight_and_its_indices_are_spread_over_it(batch: GraphBatch) -> None:
    batch.global_features = torch.zeros(batch.n_crystals, 3)
    own, room = sizes_of(batch), LARGE | {"crystal": batch.n_crystals + 1, "mixture": 0}
    padded = pad(batch, room)
    for name, level in LEVELS.items():
        n = room[level] - own[level]
        added = {"orbit_weight": 1 / n if n else 1, "edge_multiplicity": 0, "triplet_multiplicity": 0}.get(name, 1)
        if name in INDEX_OF:
            added = own[INDEX_OF[name]] + np.arange(n) * (room[INDEX_OF[name]] - own[INDEX_OF[name]]) // max(n, 1)
        found = getattr(padded, name)[own[level] :].numpy()
        np.testing.assert_allclose(found, np.broadcast_to(np.reshape(added, (-1, *[1] * (found.ndim - 1))), found.shape))
    assert (padded.orbit_batch[own["orbit"] :] == batch.n_crystals).all() and padded.global_features[-1].tolist() == [1, 1, 1]
    elsewhere = pad(batch.to("meta"), room)
    assert elsewhere.representative_atom().device.type == elsewhere.edge_src_index.device.type == "meta"


def test_values_of_orbits_become_those_of_crystals() -> None:
    two = make_batch([CRYSTALS["rutile"], CRYSTALS["quartz"]])
    values = torch.tensor([[-1.0, 4.0], [-3.0, 2.0], [-5.0, -8.0], [-2.0, -9.0]], dtype=torch.float64)
    assert two.max_over_atoms(values).tolist() == [[-1, 4], [-2, -8]]
    np.testing.assert_allclose(two.mean_over_atoms(values), [[-7 / 3, 8 / 3], [-3, -26 / 3]])
    assert two.n_atoms.tolist() == [6, 9] and two.representative_atom().tolist() == [0, 2, 6, 9]


def test_a_smaller_batch_takes_the_room_of_a_larger_one(batch: GraphBatch) -> None:
    room = padded_sizes(batch, {})
    fewer = make_batch(CRYSTALS_OF_BATCH[::-1], **GRAPH | {"r_max": 3.5})
    assert sizes_of(fewer)["edge"] < sizes_of(batch)["edge"] and padded_sizes(fewer, room) == room


def test_a_larger_batch_takes_more_room_where_it_needs_it(batch: GraphBatch) -> None:
    room = padded_sizes(batch, {})
    larger = make_batch(CRYSTALS_OF_BATCH, **GRAPH | {"r_max": 5.0})
    grown = padded_sizes(larger, room)
    assert grown["edge"] > sizes_of(larger)["edge"] and grown["atom"] == room["atom"]


def test_every_index_of_a_padded_batch_names_a_member_and_every_orbit_has_an_atom(batch: GraphBatch) -> None:
    without_symmetry = make_batch(CRYSTALS_OF_BATCH, **GRAPH, symmetry=False)  # has more orbits and as many atoms
    room = padded_sizes(batch, padded_sizes(without_symmetry, {}))
    padded = pad(batch, room)
    for name, level in INDEX_OF.items():
        index = getattr(padded, name)
        assert ((index >= 0) & (index < room[level])).all(), name
    np.testing.assert_array_equal(padded.atom_orbit_index.unique(), np.arange(room["orbit"]))
