"""Laws of src/graphs/symmetry.py and harmonics.py; over the whole data set, the reduction is exact with trained weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import CRYSTALS, random_rotation
from e3nn import o3
from e3nn.math import normalize2mom

from src.data.crystal import Crystal
from src.data.load import load_task_data
from src.data.target import TargetNormalizer
from src.graphs import symmetry
from src.graphs.batch import batch_from_graphs
from src.graphs.dataset import build_store
from src.graphs.graph import build_graph, wigner_d
from src.graphs.harmonics import L_MAX, coupling, harmonics_of_degree
from src.graphs.symmetry import cartesian_rotations, find_symmetry, symmetrize
from src.learners.gnn import GnnLearner, GraphInputs
from src.models.nequip import SILU_SCALE, edge_harmonics
from src.models.tensor_product import find_paths
from src.paths import DEFAULT_TASK, EXPERIMENTS
from src.runs.train import load_config


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


@pytest.mark.parametrize(("distance", "n_ops"), [(1.5e-3, 16), (2.5e-3, 1), (0.2, 1)])
def test_images_may_be_off_by_twice_the_tolerance(distance: float, n_ops: int, monkeypatch: pytest.MonkeyPatch) -> None:
    search = symmetry._search

    def with_a_false_translation(crystal: Crystal, symprec: float) -> tuple:
        rotations, translations = search(crystal, symprec)
        return rotations, translations + np.where(np.arange(len(rotations))[:, None] == 1, [distance / 4.594, 0, 0], 0)

    monkeypatch.setattr(symmetry, "_search", with_a_false_translation)
    assert len(find_symmetry(CRYSTALS["rutile"], 1e-3).image) == n_ops


@pytest.mark.parametrize(("strain", "n_ops"), [(0.7e-3, 4), (1.2e-3, 1)])  # the square of a length changes by twice as much
def test_rotations_may_be_off_by_twice_the_tolerance(strain: float, n_ops: int, monkeypatch: pytest.MonkeyPatch) -> None:
    turns = np.array([np.linalg.matrix_power([[0, -1, 0], [1, 0, 0], [0, 0, 1]], n) for n in range(4)])
    monkeypatch.setattr(symmetry, "_search", lambda *_: (turns, np.zeros((4, 3))))
    strained = Crystal(np.diag([4.0, 4.0 * (1 + strain), 5.0]), np.zeros((1, 3)), np.array([11]))
    assert len(find_symmetry(strained, 1e-3).image) == n_ops


def test_an_operation_that_takes_two_atoms_to_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    moves = np.array([np.eye(3, dtype=int)] * 2), np.array([[0, 0, 0], [-1e-4, 0, 0]])
    monkeypatch.setattr(symmetry, "_search", lambda *_: moves)
    close = Crystal(np.eye(3) * 10, np.array([[0, 0, 0], [1e-4, 0, 0]]), np.array([11, 11]))
    assert len(find_symmetry(close, 1e-3).image) == 1


@pytest.mark.parametrize(
    ("image", "is_group"),
    [
        ([[0, 1], [1, 0]], True),
        ([[0, 1], [0, 1]], True),  # two operations, neither of which moves an atom
        ([[0, 1, 2], [1, 2, 0], [2, 0, 1]], True),
        ([[0, 1, 2], [1, 2, 0]], False),  # the second one twice is missing
        ([[0, 1, 2], [1, 0, 2], [0, 1, 2]], False),  # three operations, and two atoms in an orbit
    ],
)
def test_operations_reach_every_atom_of_an_orbit_equally_often(image: list[list[int]], is_group: bool) -> None:
    assert symmetry._acts_as_group(np.array(image)) == is_group


def test_a_set_that_is_not_a_group_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    search = symmetry._search
    monkeypatch.setattr(symmetry, "_search", lambda c, s: tuple(part[:-1] for part in search(c, s)))
    assert len(find_symmetry(CRYSTALS["rutile"], 1e-3).image) == 1


@pytest.mark.parametrize(("most", "n_ops"), [(16 * 6 * 6, 16), (16 * 6 * 6 - 1, 1)])
def test_operations_on_too_many_pairs_count_as_no_symmetry(most: int, n_ops: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(symmetry, "MAX_PAIRS", most)
    assert len(find_symmetry(CRYSTALS["rutile"], 1e-3).image) == n_ops


@pytest.mark.parametrize(("n", "are_tried"), [(30_000_000, True), (30_000_001, False)])
def test_operations_are_tried_on_up_to_thirty_million_pairs(n: int, are_tried: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = symmetry.identity(5)
    monkeypatch.setattr(symmetry, "_search", lambda *_: (range(n), None))
    monkeypatch.setattr(symmetry, "_verify", lambda *_: tried)
    assert (find_symmetry(Crystal(np.eye(3), np.zeros((1, 3)), np.array([11]))) is tried) == are_tried


def test_coincident_atoms_count_as_no_symmetry() -> None:
    twice = Crystal(np.eye(3) * 4, np.zeros((2, 3)), np.array([11, 11]))
    assert len(find_symmetry(twice, 1e-3).image) == 1


@pytest.mark.parametrize("l", [1, 2, 3])
def test_wigner_d_is_that_of_e3nn_parity_included(l: int) -> None:
    for rotation in (random_rotation(3), -random_rotation(4)):
        expected = o3.Irrep(l, (-1) ** l).D_from_matrix(torch.from_numpy(rotation)).numpy()
        np.testing.assert_allclose(wigner_d(rotation[None], l)[0], expected, atol=1e-6)


@pytest.mark.slow
def test_reduced_and_full_graphs_agree_over_the_data_set_with_trained_weights(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    config = load_config(EXPERIMENTS / "exp000")
    data = load_task_data(DEFAULT_TASK, tmp_path, skip_bad_rows=False, n_jobs=2)
    counts = data.train.crystals.element_counts
    normalizer = TargetNormalizer.fit(counts, data.train.targets, config.target)
    store = build_store(data.train.crystals, config.learner.graph, n_jobs=2)
    learner = GnnLearner(config.learner, seed=0)
    learner.fit(GraphInputs(store, np.arange(len(store))), normalizer.normalize(counts, data.train.targets), tmp_path)
    crystals = [table.crystals[i] for table in (data.train, data.test) for i in range(len(table.crystals))]
    reduced, full = (predict_double(learner, crystals, symmetry) for symmetry in (True, False))
    difference = normalizer.scale * np.abs(reduced - full)  # eV/atom
    quantiles = np.quantile(difference, [0.5, 0.99, 1.0])
    print("median, 99th percentile, maximum (eV/atom):", quantiles)
    assert len(difference) == 3938
    assert (quantiles <= [1e-7, 2e-5, 1e-3]).all()


@torch.no_grad()
def predict_double(learner: GnnLearner, crystals: list[Crystal], symmetry: bool) -> np.ndarray:
    """Return unitless predictions (n_crystals,), computed in double precision."""
    config = learner.config.graph
    model = learner.model.double()
    parts = []
    for i in range(0, len(crystals), 64):
        parts.append(model(batch_from_graphs([build_graph(crystal, config, symmetry) for crystal in crystals[i : i + 64]])))
    return torch.cat(parts).numpy()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("l_max", range(L_MAX + 1))
def test_harmonics_are_those_of_e3nn_to_the_last_bit_with_their_derivatives(l_max: int, dtype: torch.dtype) -> None:
    torch.manual_seed(l_max)
    vectors, found = torch.randn(50, 3, dtype=dtype), []
    weight = torch.randn(50, (l_max + 1) ** 2, dtype=dtype)
    for function in (
        lambda x: edge_harmonics(l_max, x),
        lambda x: o3.spherical_harmonics(list(range(l_max + 1)), x, normalize=True, normalization="component"),
    ):
        x = vectors.clone().requires_grad_()
        values = function(x)
        gradient = torch.autograd.grad((values * weight).sum(), x)[0] if l_max else torch.zeros_like(x)
        found.append((values.detach(), gradient))
    assert torch.equal(found[0][0], found[1][0])
    torch.testing.assert_close(*[gradient for _, gradient in found])


@pytest.mark.parametrize("l", range(L_MAX + 1))
def test_harmonics_of_arrays_are_those_of_tensors(l: int) -> None:
    vectors = np.random.default_rng(l).normal(size=(4, 5, 3))
    expected = edge_harmonics(L_MAX, torch.from_numpy(vectors)).numpy()[..., l**2 : (l + 1) ** 2]
    np.testing.assert_allclose(harmonics_of_degree(l, vectors), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("path", find_paths(L_MAX, L_MAX, L_MAX), ids=lambda p: f"{p.l_in}{p.l_edge}{p.l_out}")
def test_the_coupling_is_e3nns_with_its_sign_and_the_same_in_single_precision(path: object) -> None:
    degrees = (path.l_in, path.l_edge, path.l_out)
    expected = o3.wigner_3j(*degrees, dtype=torch.float64).numpy()
    np.testing.assert_allclose(coupling(*degrees), expected, rtol=0, atol=1e-14)
    norm = (2 * path.l_out + 1) ** 0.5
    np.testing.assert_array_equal((coupling(*degrees) * norm).astype(np.float32), (expected * norm).astype(np.float32))


def test_the_scale_of_silu_is_that_of_e3nn() -> None:
    assert normalize2mom(torch.nn.functional.silu).cst == SILU_SCALE
