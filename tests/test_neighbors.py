"""Laws of src/graphs/neighbors.py."""

import itertools

import numpy as np
import pytest
from conftest import CRYSTALS, random_rotation

from src.config import GraphConfig
from src.data.crystal import Crystal
from src.graphs.graph import build_graph
from src.graphs.neighbors import find_edges, keep_nearest, merge_equivalent
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
    symmetry = find_symmetry(crystal, 1e-3)
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
        symmetry = find_symmetry(CRYSTALS[name], 1e-3)
        edges = find_edges(CRYSTALS[name], np.unique(symmetry.representative), 4.7)
        assert (len(merge_equivalent(edges, symmetry)[0].src) < len(edges.src) / 3) == fewer


def supercell(crystal: Crystal) -> Crystal:
    """Return the cell doubled along its first axis."""
    frac = np.concatenate([crystal.frac_coords, crystal.frac_coords + np.eye(3)[0]]) / [2, 1, 1]
    return Crystal(crystal.lattice * [[2], [1], [1]], frac, np.tile(crystal.atomic_numbers, 2))


def nearest_lengths(crystal: Crystal, max_neighbors: int = 12, r_max: float = 8.0) -> list[np.ndarray]:
    """Return the ascending lengths of the kept edges into each atom."""
    edges = keep_nearest(find_edges(crystal, np.arange(crystal.n_atoms), r_max), max_neighbors)
    lengths = np.linalg.norm(edges.vec, axis=1)
    return [np.sort(lengths[edges.dst == atom]) for atom in range(crystal.n_atoms)]


@pytest.mark.parametrize(
    ("name", "max_neighbors", "n_kept"),
    [("diamond", 4, 4), ("diamond", 5, 16), ("rock salt", 6, 6), ("rock salt", 12, 18), ("bcc iron", 8, 8), ("bcc iron", 9, 14)],
)
def test_the_shell_of_the_last_of_the_nearest_is_kept_whole(name: str, max_neighbors: int, n_kept: int) -> None:
    assert {len(lengths) for lengths in nearest_lengths(CRYSTALS[name], max_neighbors)} == {n_kept}


def test_the_nearest_are_those_of_a_sort_of_each_atoms_neighbours(crystal: Crystal) -> None:
    edges = find_edges(crystal, np.arange(crystal.n_atoms), 6.0)
    for atom, kept in enumerate(nearest_lengths(crystal, 12, 6.0)):
        every = np.sort(np.linalg.norm(edges.vec[edges.dst == atom], axis=1))
        np.testing.assert_allclose(kept, every[every <= every[11] + 0.01], atol=1e-12)


def test_neighbours_as_far_as_the_cutoff_leaves_are_kept_if_there_are_fewer() -> None:
    edges = find_edges(CRYSTALS["rock salt"], np.arange(8), 3.0)
    np.testing.assert_array_equal(keep_nearest(edges, 12).vec, edges.vec)
    lonely = Crystal(np.eye(3) * 20, np.zeros((1, 3)), np.array([36]))
    assert len(keep_nearest(find_edges(lonely, np.array([0]), 5.0), 12).src) == 0


@pytest.mark.parametrize("change", ["rotated", "other order of atoms", "supercell", "shifted by noise"])
def test_the_nearest_do_not_depend_on_how_a_crystal_is_written(crystal: Crystal, change: str) -> None:
    """Noise of 1e-6 Angstrom, as of a table's rounding, splits no shell."""
    order = np.random.default_rng(0).permutation(crystal.n_atoms)
    noise = 1e-6 * np.random.default_rng(1).normal(size=(crystal.n_atoms, 3))
    other, atoms = {
        "rotated": (Crystal(crystal.lattice @ random_rotation().T, crystal.frac_coords, crystal.atomic_numbers), slice(None)),
        "other order of atoms": (Crystal(crystal.lattice, crystal.frac_coords[order], crystal.atomic_numbers[order]), order),
        "supercell": (supercell(crystal), np.tile(np.arange(crystal.n_atoms), 2)),
        "shifted by noise": (Crystal(crystal.lattice, crystal.frac_coords + noise, crystal.atomic_numbers), slice(None)),
    }[change]
    expected = nearest_lengths(crystal)
    expected = expected[atoms] if isinstance(atoms, slice) else [expected[atom] for atom in atoms]
    for got, lengths in zip(nearest_lengths(other), expected, strict=True):
        np.testing.assert_allclose(got, lengths, atol=1e-4)


def test_the_nearest_of_a_reduced_graph_are_those_of_the_full_one(crystal: Crystal) -> None:
    """Also if the crystal has its symmetry only within symprec: the reduced graph is that of the symmetrised crystal."""
    noise = 1e-4 * np.random.default_rng(1).normal(size=(crystal.n_atoms, 3))
    noisy = Crystal(crystal.lattice, crystal.frac_coords + noise @ np.linalg.inv(crystal.lattice), crystal.atomic_numbers)
    reduced, full = (
        build_graph(noisy, GraphConfig(r_max=8.0, max_neighbors=12, symmetry=symmetry, r_angle=3.0)) for symmetry in (True, False)
    )
    per_orbit = np.bincount(reduced.edge_dst_index, reduced.edge_multiplicity)[reduced.atom_orbit_index]
    np.testing.assert_array_equal(per_orbit, np.bincount(full.edge_dst_index))
    n_triplets = (reduced.triplet_multiplicity, reduced.triplet_dst_index)
    receivers = reduced.orbit_weight[reduced.edge_dst_index] * reduced.edge_multiplicity * crystal.n_atoms
    assert (n_triplets[0] * receivers[n_triplets[1]]).sum() == pytest.approx(full.triplet_multiplicity.sum())
    assert len(reduced.edge_vec) < len(full.edge_vec) or crystal is CRYSTALS["triclinic"]


def test_without_a_limit_the_graph_is_that_of_a_limit_that_no_atom_reaches(crystal: Crystal) -> None:
    free, limited = (vars(build_graph(crystal, GraphConfig(r_angle=3.0, max_neighbors=n))) for n in (None, 1000))
    for name, array in free.items():
        np.testing.assert_array_equal(array, limited[name], err_msg=name)
