"""Laws of src/graphs/neighbors.py, with lengths in Angstrom and relative to covalent radii."""

import itertools
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from ase.data import covalent_radii
from conftest import CRYSTALS, make_batch

from src.config import GraphConfig, SchnetConfig
from src.config.knobs import NequipConfig
from src.data.crystal import Crystal
from src.graphs.graph import build_graph
from src.graphs.neighbors import _check_size, find_edges, largest_unit, merge_equivalent, relative_to_radii
from src.graphs.symmetry import find_symmetry
from src.models.members import make_network


@pytest.mark.parametrize(
    ("name", "r_max", "n_neighbors"), [("diamond", 1.7, 4), ("rock salt", 3.0, 6), ("bcc iron", 2.6, 8), ("bcc iron", 3.0, 14)]
)
def test_known_shells(name: str, r_max: float, n_neighbors: int) -> None:
    crystal = CRYSTALS[name]
    edges = find_edges(crystal, np.arange(crystal.n_atoms), r_max)
    assert (np.bincount(edges.dst) == n_neighbors).all()


def test_edges_are_those_of_a_brute_force_search(crystal: Crystal) -> None:
    r_max, found = 4.5, []
    for cell in itertools.product(range(-4, 5), repeat=3):
        vec = crystal.cart_coords[None] + np.array(cell) @ crystal.lattice - crystal.cart_coords[:, None]  # (dst, src, 3)
        length = np.linalg.norm(vec, axis=-1)
        found += [(dst, src, *cell) for dst, src in np.argwhere((length <= r_max) & (length > 1e-6))]
    edges = find_edges(crystal, np.arange(crystal.n_atoms), r_max)
    assert sorted(zip(edges.dst, edges.src, *edges.cell.T, strict=True)) == sorted(found)


def test_an_edge_points_from_the_centre_to_its_neighbour(crystal: Crystal) -> None:
    edges = find_edges(crystal, np.arange(crystal.n_atoms), 4.0)
    image = (crystal.frac_coords[edges.src] + edges.cell) @ crystal.lattice
    np.testing.assert_allclose(edges.vec, image - crystal.cart_coords[edges.dst], atol=1e-12)
    assert (np.diff(edges.dst) >= 0).all()


def test_an_atom_without_neighbours_has_no_edges() -> None:
    lonely = Crystal(np.eye(3) * 20, np.zeros((1, 3)), np.array([36]))
    edges = find_edges(lonely, np.array([0]), 5.0)
    assert len(edges.src) == len(merge_equivalent(edges, find_symmetry(lonely))[1]) == 0


@pytest.mark.parametrize(("r_max", "n_edges"), [(3.0, 6), (3 - 5e-9, 0)])
def test_edges_as_long_as_the_cutoff_are_edges_and_longer_ones_are_none(r_max: float, n_edges: int) -> None:
    assert len(find_edges(Crystal(np.eye(3) * 3, np.zeros((1, 3)), np.array([11])), np.array([0]), r_max).src) == n_edges


@pytest.mark.parametrize("beyond", [-0.5, 0.5])
def test_a_search_is_refused_if_it_may_find_300_000_edges_or_needs_20_million_boxes(beyond: float) -> None:
    volume = 2 * 3 * 4 / 3 * np.pi * 10**3 / (300_000 + beyond)  # of two atoms, three of which are centres of spheres
    dense = Crystal(np.diag([volume, 1, 1]), np.zeros((2, 3)), np.array([6, 6])), 3, 10.0
    s = np.roots([4, 18, 24, 8 - 20_000_000 - beyond]).real.max()  # (4 s + 2) (s + 2)^2 boxes
    wide = Crystal(s * np.array([[1.0, 0, 0], [1, 1, 0], [-2, 0, 1]]), np.zeros((1, 3)), np.array([6])), 1, 1.0
    for arguments, words in ((dense, r"about 3e\+05 edges within r_max 10 "), (wide, "too large for a neighbour search")):
        with pytest.raises(ValueError, match=words) if beyond > 0 else nullcontext():
            _check_size(*arguments)


def test_merged_edges_represent_all_edges(crystal: Crystal) -> None:
    symmetry = find_symmetry(crystal)
    edges = find_edges(crystal, np.unique(symmetry.representative), 4.7)
    merged, stand_in = merge_equivalent(edges, symmetry)
    np.testing.assert_array_equal(np.bincount(stand_in), merged.multiplicity)
    np.testing.assert_array_equal(merged.dst[stand_in], edges.dst)
    count = np.bincount(merged.dst, merged.multiplicity, minlength=crystal.n_atoms)
    np.testing.assert_array_equal(count, np.bincount(edges.dst, minlength=crystal.n_atoms))
    lengths, merged_lengths = (np.linalg.norm(e.vec, axis=1) for e in (edges, merged))
    expected, got = (
        np.histogram(x, 40, (0, 5), weights=w)[0] for x, w in ((lengths, None), (merged_lengths, merged.multiplicity))
    )
    np.testing.assert_array_equal(got, expected)


def test_edges_merge_only_in_crystals_with_symmetry() -> None:
    for name, fewer in (("rock salt", True), ("perovskite", True), ("triclinic", False)):
        symmetry = find_symmetry(CRYSTALS[name])
        edges = find_edges(CRYSTALS[name], np.unique(symmetry.representative), 4.7)
        assert (len(merge_equivalent(edges, symmetry)[0].src) < len(edges.src) / 3) == fewer


R_MAX = 3.5


@pytest.mark.parametrize("exponent", [0.3, 1.0])
def test_edges_are_those_within_r_max_of_the_quotient_and_none_is_missing(crystal: Crystal, exponent: float) -> None:
    graph = build_graph(crystal, GraphConfig(r_max=R_MAX, radius_exponent=exponent), reduce=False)
    edges = find_edges(crystal, np.arange(crystal.n_atoms), 12.0)
    assert 3.5 * largest_unit(crystal, exponent) < 12.0
    radii = covalent_radii[crystal.atomic_numbers]
    quotient = np.linalg.norm(edges.vec, axis=1) / ((radii[edges.src] + radii[edges.dst]) / (2 * 1.4)) ** exponent
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


@pytest.mark.parametrize(("r_max", "n_edges"), [(3.0, 6), (np.nextafter(3.0, 0), 0)])
def test_edges_whose_relative_length_is_the_cutoff_are_edges(r_max: float, n_edges: int) -> None:
    crystal = Crystal(3.0 * np.eye(3), np.zeros((1, 3)), np.array([84]))
    assert len(relative_to_radii(find_edges(crystal, np.arange(1), 3.0), crystal, 0.0, r_max).src) == n_edges


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
