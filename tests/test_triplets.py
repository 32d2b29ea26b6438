"""Laws of src/graphs/triplets.py."""

import numpy as np
import pytest
from conftest import CRYSTALS

from src.config import GraphConfig
from src.data.crystal import Crystal
from src.graphs.graph import CrystalGraph, build_graph
from src.graphs.neighbors import find_edges


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


def test_triplets_are_all_pairs_of_bonds_by_brute_force() -> None:
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


def test_no_angles_unless_asked_for(crystal: Crystal) -> None:
    assert len(build_graph(crystal, GraphConfig()).triplet_cos) == 0


def test_an_angle_beyond_the_cutoff_is_refused() -> None:
    with pytest.raises(ValueError, match=r"GraphConfig.r_angle=6.*r_max=5"):
        GraphConfig(r_max=5.0, r_angle=6.0)
