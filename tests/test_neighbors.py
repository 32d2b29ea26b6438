"""Laws of src/graphs/neighbors.py."""

import itertools

import numpy as np
import pytest
from conftest import CRYSTALS

from src.data.crystal import Crystal
from src.graphs.neighbors import find_edges, merge_equivalent
from src.graphs.symmetry import find_symmetry


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
    assert len(find_edges(lonely, np.array([0]), 5.0).src) == 0


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
