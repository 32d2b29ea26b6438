"""Laws of src/graphs/symmetry.py."""

import numpy as np
import pytest
from conftest import CRYSTALS, random_rotation

from src.data.crystal import Crystal
from src.graphs import symmetry
from src.graphs.graph import wigner_d
from src.graphs.symmetry import cartesian_rotations, find_symmetry, symmetrize


@pytest.mark.parametrize(
    ("name", "n_ops", "n_orbits"),
    [("diamond", 48, 1), ("rock salt", 192, 2), ("bcc iron", 96, 1), ("rutile", 16, 2), ("quartz", 6, 2), ("triclinic", 1, 5)],
)
def test_operations_and_orbits_of_known_crystals(name: str, n_ops: int, n_orbits: int) -> None:
    found = find_symmetry(CRYSTALS[name], 1e-3)
    assert len(found.image) == n_ops
    assert len(set(found.representative)) == n_orbits


def test_every_operation_maps_the_structure_onto_itself(crystal: Crystal) -> None:
    found = find_symmetry(crystal, 1e-3)
    frac, lattice = crystal.frac_coords, crystal.lattice
    rotations = cartesian_rotations(lattice, found.frac_rotation)
    for g in range(len(found.image)):
        # distances between atoms are kept: |x_j - x_0| = |R (x_j - x_0)| = |image of j minus image of 0|
        vec = (frac - frac[0]) @ lattice @ rotations[g].T
        image = (frac[found.image[g]] + found.shift[g]) @ lattice
        np.testing.assert_allclose(image - image[0], vec, atol=1e-5)
        np.testing.assert_array_equal(crystal.atomic_numbers[found.image[g]], crystal.atomic_numbers)


def test_a_symmetrised_crystal_is_exactly_symmetric_and_close() -> None:
    rng, crystal = np.random.default_rng(0), CRYSTALS["rutile"]
    lattice = crystal.lattice + 3e-4 * rng.normal(size=(3, 3))
    distorted = Crystal(lattice, crystal.frac_coords + 5e-5 * rng.normal(size=(6, 3)), crystal.atomic_numbers)
    found = find_symmetry(distorted, 5e-3)
    assert len(found.image) == 16

    def deviation(c: Crystal) -> float:
        moved = c.frac_coords @ found.frac_rotation.transpose(0, 2, 1) + found.translation[:, None] - found.shift
        rotation = cartesian_rotations(c.lattice, found.frac_rotation)
        skew = np.abs(rotation @ rotation.transpose(0, 2, 1) - np.eye(3)).max()
        return max(np.abs((moved - c.frac_coords[found.image]) @ c.lattice).max(), skew)

    symmetric = symmetrize(distorted, found)
    assert deviation(distorted) > 1e-5 > 1e-12 > deviation(symmetric)
    assert np.abs(symmetric.cart_coords - distorted.cart_coords).max() < 5e-3


def test_an_operation_that_is_not_a_symmetry_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    search = symmetry._search

    def with_a_false_translation(crystal: Crystal, symprec: float) -> tuple:
        rotations, translations = search(crystal, symprec)
        return rotations, translations + np.where(np.arange(len(rotations))[:, None] == 1, 0.05, 0)

    monkeypatch.setattr(symmetry, "_search", with_a_false_translation)
    assert len(find_symmetry(CRYSTALS["rutile"], 1e-3).image) == 1


def test_a_set_that_is_not_a_group_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    search = symmetry._search
    monkeypatch.setattr(symmetry, "_search", lambda c, s: tuple(part[:-1] for part in search(c, s)))
    assert len(find_symmetry(CRYSTALS["rutile"], 1e-3).image) == 1


def test_coincident_atoms_count_as_no_symmetry() -> None:
    twice = Crystal(np.eye(3) * 4, np.zeros((2, 3)), np.array([11, 11]))
    assert len(find_symmetry(twice, 1e-3).image) == 1


@pytest.mark.parametrize("l", [1, 2, 3])
def test_wigner_d_is_that_of_e3nn_parity_included(l: int) -> None:
    import torch
    from e3nn import o3

    for rotation in (random_rotation(3), -random_rotation(4)):
        expected = o3.Irrep(l, (-1) ** l).D_from_matrix(torch.from_numpy(rotation)).numpy()
        np.testing.assert_allclose(wigner_d(rotation[None], l)[0], expected, atol=1e-6)
