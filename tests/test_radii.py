"""Laws of lengths relative to covalent radii."""

import numpy as np
import pytest
import torch
from ase.data import covalent_radii
from conftest import CRYSTALS, make_batch

from src.config import GraphConfig, SchnetConfig
from src.config.knobs import NequipConfig
from src.data.crystal import Crystal
from src.graphs.graph import build_graph
from src.graphs.neighbors import TYPICAL_RADIUS, find_edges, largest_unit
from src.models.members import make_network

R_MAX = 3.5


@pytest.mark.parametrize("exponent", [0.3, 1.0])
def test_edges_are_those_within_r_max_of_the_quotient_and_none_is_missing(crystal: Crystal, exponent: float) -> None:
    graph = build_graph(crystal, GraphConfig(r_max=R_MAX, radius_exponent=exponent), reduce=False)
    edges = find_edges(crystal, np.arange(crystal.n_atoms), 12.0)
    assert 3.5 * largest_unit(crystal.atomic_numbers, exponent) < 12.0
    radii = covalent_radii[crystal.atomic_numbers]
    quotient = np.linalg.norm(edges.vec, axis=1) / ((radii[edges.src] + radii[edges.dst]) / (2 * TYPICAL_RADIUS)) ** exponent
    inside = quotient <= 3.5
    np.testing.assert_array_equal(graph.edge_src_index, edges.src[inside])
    np.testing.assert_array_equal(graph.edge_dst_index, edges.dst[inside])
    np.testing.assert_allclose(np.linalg.norm(graph.edge_vec, axis=1), quotient[inside], rtol=1e-12)
    np.testing.assert_allclose(graph.length[graph.edge_length_index], quotient[inside], atol=1e-5)
    direction = edges.vec[inside] / np.linalg.norm(edges.vec[inside], axis=1, keepdims=True)
    np.testing.assert_allclose(graph.edge_vec, direction * quotient[inside][:, None], atol=1e-12)


def test_in_bond_lengths_a_larger_element_in_a_larger_cell_has_the_same_graph() -> None:
    silicon = CRYSTALS["quartz"]
    radius = {z: covalent_radii[z] for z in (14, 50)}
    small, large = (
        Crystal(silicon.lattice * radius[z], silicon.frac_coords, np.full(silicon.n_atoms, z, dtype=np.int64)) for z in radius
    )
    config = GraphConfig(r_max=5.0, radius_exponent=1.0)
    graphs = [build_graph(crystal, config) for crystal in (small, large)]
    for name in ("edge_src_index", "edge_multiplicity", "edge_length_index"):
        np.testing.assert_array_equal(getattr(graphs[0], name), getattr(graphs[1], name))
    np.testing.assert_allclose(graphs[0].edge_vec, graphs[1].edge_vec, atol=1e-9)
    assert len(build_graph(small, GraphConfig()).length) != len(build_graph(large, GraphConfig()).length)


def test_an_exponent_of_zero_changes_nothing(crystal: Crystal) -> None:
    plain, same = (build_graph(crystal, GraphConfig(**given)) for given in ({}, {"radius_exponent": 0.0}))
    for name, values in vars(plain).items():
        np.testing.assert_array_equal(values, getattr(same, name), err_msg=name)


@pytest.mark.parametrize("network", [NequipConfig(n_channels=6, radial_hidden=(12,)), SchnetConfig(n_channels=8, n_layers=2)])
def test_reduced_and_full_graphs_give_the_same_energies(crystal: Crystal, network: NequipConfig | SchnetConfig) -> None:
    torch.manual_seed(0)
    graph = {"r_max": 4.5, "radius_exponent": 0.5}
    model = make_network(network, GraphConfig(**graph), torch.randn(119, 6), 20.0).double()
    reduced, full = (model(make_batch([crystal], **graph, symmetry=symmetry)) for symmetry in (True, False))
    torch.testing.assert_close(reduced, full, rtol=0, atol=1e-6)
