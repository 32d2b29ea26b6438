"""Laws of src/graphs/graph.py, dataset.py and triplets.py."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from conftest import CRYSTALS, make_batch

from src.config import GraphConfig
from src.data.crystal import Crystal
from src.data.table import Crystals
from src.graphs import dataset
from src.graphs.batch import batch_from_store
from src.graphs.dataset import cached_graphs
from src.graphs.graph import INDEX_OF, LEVELS, CrystalGraph, build_graph, formula_graph
from src.graphs.neighbors import Edges, find_edges
from src.graphs.symmetry import identity
from src.graphs.triplets import find_triplets
from src.learners import gnn
from src.learners.gnn import GraphInputs


def test_weights_of_the_orbits_sum_to_one(crystal: Crystal) -> None:
    assert build_graph(crystal, GraphConfig()).orbit_weight.sum() == pytest.approx(1)


def test_a_graph_without_symmetry_has_every_atom_and_identity_rotations(crystal: Crystal) -> None:
    graph = build_graph(crystal, GraphConfig(l_max=2), reduce=False)
    np.testing.assert_array_equal(graph.atom_orbit_index, np.arange(crystal.n_atoms))
    identity = np.concatenate([np.eye(3).ravel(), np.eye(5).ravel()])
    np.testing.assert_allclose(graph.atom_rotation, np.tile(identity, (crystal.n_atoms, 1)), atol=1e-12)
    assert (graph.edge_multiplicity == 1).all()


def test_lengths_are_those_of_the_edges(crystal: Crystal) -> None:
    graph = build_graph(crystal, GraphConfig())
    np.testing.assert_allclose(graph.length[graph.edge_length_index], np.linalg.norm(graph.edge_vec, axis=1), atol=1e-5)


def test_lengths_that_agree_to_five_decimals_are_one() -> None:
    crystal = Crystal(np.diag([3.0, 3.00004, 3.000004]), np.zeros((1, 3)), np.array([11]))
    graph = build_graph(crystal, GraphConfig(r_max=3.5), reduce=False)
    np.testing.assert_allclose(graph.length, [3.0, 3.00004], rtol=0, atol=5e-6)


def test_a_graph_of_a_formula_has_arrays_like_that_of_a_structure() -> None:
    of_structure = build_graph(CRYSTALS["rutile"], GraphConfig(l_max=0))
    for formula, n_edges in (("TiO2", 2), ("LiFePO4", 12), ("C", 1)):
        graph, sizes = formula_graph(Crystal.from_formula(formula)), dict[str, int]()
        for name, level in LEVELS.items():
            values = getattr(graph, name)
            assert values.shape[1:] == getattr(of_structure, name).shape[1:], name
            assert sizes.setdefault(level, len(values)) == len(values), name
        sizes.pop("orbit")
        assert sizes == {"mixture": 0, "atom": len(graph.orbit_z), "edge": n_edges, "length": 1, "triplet": 0}
        assert not graph.edge_vec.any() and not graph.length.any() and (graph.edge_multiplicity == 1).all()
        n = len(graph.orbit_z)
        pairs = {(i, j) for i in range(n) for j in range(n) if i != j or n == 1}
        assert set(zip(graph.edge_src_index, graph.edge_dst_index, strict=True)) == pairs
    titania = formula_graph(Crystal.from_formula("TiO2"))
    assert titania.orbit_z.tolist() == [8, 22] and titania.orbit_weight.tolist() == pytest.approx([2 / 3, 1 / 3])
    with pytest.raises(ValueError, match="graphs"):
        dataset.build_store(Crystals.from_list([Crystal.from_formula("TiO2")]), GraphConfig())


def test_a_batch_keeps_every_crystal_apart() -> None:
    crystals = list(CRYSTALS.values())
    graph = {"r_max": 4.0, "r_angle": 2.5}
    whole, single = make_batch(crystals, **graph), [make_batch([crystal], **graph) for crystal in crystals]
    for name, level in LEVELS.items():
        start = 0
        parts = []
        for batch in single:
            parts.append(getattr(batch, name).numpy() + start)
            rows = {"orbit": "orbit_z", "atom": "atom_orbit_index", "edge": "edge_vec", "length": "length"}
            start += len(getattr(batch, rows[INDEX_OF[name]])) if name in INDEX_OF else 0
        np.testing.assert_array_equal(getattr(whole, name).numpy(), np.concatenate(parts), err_msg=f"{name} of level {level}")
    assert (np.diff(whole.edge_dst_index.numpy()) >= 0).all()


def test_average_number_of_neighbours_does_not_depend_on_symmetry(monkeypatch: pytest.MonkeyPatch) -> None:
    known = [CRYSTALS[name] for name in ("diamond", "rock salt", "bcc iron")]  # 2, 8 and 2 atoms
    alone = [Crystal(np.eye(3) * 20, np.zeros((1, 3)), np.array([36]))]
    build = dataset.graph.build_graph

    def average(crystals: list[Crystal], r_max: float, reduce: bool) -> float:
        monkeypatch.setattr(dataset.graph, "build_graph", partial(build, reduce=reduce))
        store = dataset.build_store(Crystals.from_list(crystals), GraphConfig(r_max=r_max))
        return GraphInputs(store, np.arange(len(store))).avg_n_neighbors

    of_all, of_known, of_one = (
        [average(crystals, r_max, reduce) for reduce in (True, False)]
        for crystals, r_max in ((list(CRYSTALS.values()), 4.83), (known, 2.9), (alone, 2.9))
    )
    assert of_all[0] == pytest.approx(of_all[1], rel=1e-6)
    assert of_known == pytest.approx([(2 * (4 + 12) + 8 * 6 + 2 * (8 + 6)) / 12] * 2) and of_one == [1, 1]


def test_neighbours_counted_some_crystals_at_a_time_are_the_same_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    store = dataset.build_store(Crystals.from_list(list(CRYSTALS.values())), GraphConfig())
    inputs = GraphInputs(store, np.array([5, 2, 7, 0, 1]))
    at_once = inputs.avg_n_neighbors
    monkeypatch.setattr(gnn, "EDGES_AT_ONCE", 2)
    assert inputs.avg_n_neighbors == at_once


def test_the_cache_gives_back_what_was_built_and_is_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crystals = Crystals.from_list(list(CRYSTALS.values()))
    built = dataset.build_store(crystals, GraphConfig())
    cached_graphs(crystals, "key", GraphConfig(), tmp_path)
    monkeypatch.setattr(dataset, "build_store", lambda *_: pytest.fail("built again"))
    read = cached_graphs(crystals, "key", GraphConfig(), tmp_path)
    for name in LEVELS:
        np.testing.assert_array_equal(read.arrays[name], built.arrays[name])
        assert isinstance(read.arrays[name], np.memmap)


def test_everything_that_shapes_a_graph_is_in_the_key(tmp_path: Path) -> None:
    crystals = Crystals.from_list([CRYSTALS["diamond"]])
    changes = [{}, {"r_max": 4.0}, {"l_max": 2}, {"r_angle": 3.0}, {"radius_exponent": 0.5}]
    for key, change in [("b", {}), *(("a", change) for change in changes)]:
        cached_graphs(crystals, key, GraphConfig(**change), tmp_path)
    assert len(list(tmp_path.glob("graphs-*"))) == len(changes) + 1


def test_a_batch_from_a_store_does_not_depend_on_the_other_crystals_of_the_store() -> None:
    crystals = list(CRYSTALS.values())
    many = dataset.build_store(Crystals.from_list(crystals), GraphConfig())
    few = dataset.build_store(Crystals.from_list([crystals[5], crystals[2]]), GraphConfig())
    a, b = batch_from_store(many, np.array([5, 2])), batch_from_store(few, np.array([0, 1]))
    for name in (*LEVELS, "orbit_batch"):
        np.testing.assert_array_equal(getattr(a, name).numpy(), getattr(b, name).numpy())


def angles_per_atom(graph: CrystalGraph) -> dict[int, float]:
    """Return the number of ordered pairs of bonds k -> j -> i per angle in degrees, averaged over the atoms i."""
    receiver = graph.triplet_dst_index
    share = graph.orbit_weight[graph.edge_dst_index[receiver]] * graph.edge_multiplicity[receiver] * graph.triplet_multiplicity
    degrees = np.degrees(np.arccos(graph.triplet_cos)).round().astype(int)
    return {int(angle): float(share[degrees == angle].sum().round(6)) for angle in np.unique(degrees)}


@pytest.mark.parametrize("symmetry", [True, False])
@pytest.mark.parametrize(
    ("name", "r_angle", "expected"),
    [
        ("diamond", 2.0, {0: 4, 109: 12}),
        ("rock salt", 3.0, {0: 6, 90: 24, 180: 6}),
        ("bcc iron", 2.6, {0: 8, 71: 24, 109: 24, 180: 8}),
        ("perovskite", 2.0, {0: 12 / 5, 90: 24 / 5, 180: 12 / 5}),  # six around Ti, two around each O
    ],
)
def test_angles_of_known_structures(name: str, r_angle: float, expected: dict[int, float], symmetry: bool) -> None:
    graph = build_graph(CRYSTALS[name], GraphConfig(r_max=4.0, r_angle=r_angle), symmetry)
    assert angles_per_atom(graph) == pytest.approx(expected)


def test_the_reduced_graph_has_the_angles_of_the_full_one(crystal: Crystal) -> None:
    reduced, full = (build_graph(crystal, GraphConfig(r_angle=3.1), symmetry) for symmetry in (True, False))
    assert angles_per_atom(reduced) == pytest.approx(angles_per_atom(full))
    if crystal is not CRYSTALS["triclinic"]:
        assert len(reduced.triplet_cos) < len(full.triplet_cos)


def test_triplets_are_all_pairs_of_bonds_by_brute_force(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference finds the middle atom from the atoms and cells of both edges."""
    crystal = CRYSTALS["quartz"]
    graph = build_graph(crystal, GraphConfig(r_max=3.5, r_angle=3.2), reduce=False)
    edges = find_edges(crystal, np.arange(crystal.n_atoms), 3.5)
    expected = []
    for e in np.flatnonzero(np.linalg.norm(edges.vec, axis=1) <= 3.2):
        for f in np.flatnonzero((edges.dst == edges.src[e]) & (np.linalg.norm(edges.vec, axis=1) <= 3.2)):
            ends = edges.vec[f] + edges.vec[e]  # from i to k
            a, b = np.linalg.norm(edges.vec[f]), np.linalg.norm(edges.vec[e])
            expected.append((f, e, (a**2 + b**2 - ends @ ends) / (2 * a * b)))  # law of cosines
    got = sorted(zip(graph.triplet_src_index, graph.triplet_dst_index, graph.triplet_cos, strict=True))
    np.testing.assert_allclose(got, sorted(expected), atol=1e-9)
    assert (graph.triplet_multiplicity == 1).all()
    monkeypatch.setattr("src.graphs.triplets.MAX_TRIPLETS", len(expected))
    again = lambda: build_graph(crystal, GraphConfig(r_max=3.5, r_angle=3.2), reduce=False)
    assert len(again().triplet_cos) == len(expected)
    monkeypatch.setattr("src.graphs.triplets.MAX_TRIPLETS", len(expected) - 1)
    with pytest.raises(ValueError, match=f"{len(expected)} pairs of bonds within r_angle 3.2 Angstrom, more than the limit"):
        again()


def test_angles_that_agree_to_six_decimals_of_their_cosine_are_one_if_their_bonds_are() -> None:
    x = np.array([1.0, 0.4999997, 0.5000012, 0.5000003])
    none, vec = np.zeros(4, dtype=np.int64), np.stack([x, np.sqrt(1 - x**2), 0 * x], axis=1)
    every = Edges(none, none, np.zeros((4, 3), dtype=np.int64), vec, none + 1)
    first = Edges(*(values[:1] for values in every))
    found = find_triplets(every, first, none, identity(1), np.eye(3)[None], 1.0)
    np.testing.assert_allclose(found[2], [-1, -0.5000012, -0.4999997], rtol=1e-9)
    np.testing.assert_array_equal(found[3], [1, 1, 2])
    assert not found[0].any() and not found[1].any()


def test_no_angles_unless_asked_for(crystal: Crystal) -> None:
    assert len(build_graph(crystal, GraphConfig()).triplet_cos) == 0


def test_an_angle_beyond_the_cutoff_is_refused() -> None:
    with pytest.raises(ValueError, match=r"GraphConfig.r_angle=6.*r_max=5"):
        GraphConfig(r_max=5.0, r_angle=6.0)
