"""Voronoi cells are those of qhull, however degenerate they are, and no neighbour is missing."""

import numpy as np
import pytest
from pymatgen.analysis.local_env import VoronoiNN
from pymatgen.core import IStructure, Lattice, Structure
from scipy.spatial import Voronoi
from test_structure_features import STRUCTURES

from src.features import voronoi as module
from src.features.geometry import PrimitiveCrystal, find_pairs
from src.features.voronoi import tessellate, voronoi

SMALL = 1e-6  # Angstrom^2: faces that qhull's rounding makes of an edge or a vertex are smaller


def random_cell(n_atoms: int, seed: int) -> Structure:
    """Return atoms at random places of a random cell, far from reduced."""
    rng = np.random.default_rng(seed)
    basis = np.array([[1, 2, 0], [0, 1, -1], [1, 0, 1]])
    lattice = basis @ (np.eye(3) * (12 * n_atoms) ** (1 / 3) + rng.normal(scale=0.4, size=(3, 3)))
    return Structure(lattice, rng.choice(["O", "Fe", "K"], n_atoms), rng.random((n_atoms, 3)))


KINDS = {
    **STRUCTURES,
    "fcc in a cubic cell": Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.05), ["Al"], [[0, 0, 0]]),
    "bcc in a cubic cell": Structure.from_spacegroup("Im-3m", Lattice.cubic(3.16), ["W"], [[0, 0, 0]]),
    "hexagonal": Structure.from_spacegroup("P6_3/mmc", Lattice.hexagonal(3.2, 5.2), ["Mg"], [[1 / 3, 2 / 3, 0.25]]),
    "one atom in a skewed cell": Structure([[3, 0, 0], [8.9, 3.1, 0], [-6, 5.8, 3.3]], ["Po"], [[0.2, 0.3, 0.4]]),
    "a chain": Structure(Lattice.orthorhombic(2.5, 14, 15), ["C"], [[0, 0, 0]]),
    "almost symmetric": Structure(Lattice.cubic(4), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5 + 1e-9]]),
    **{f"{n} random atoms": random_cell(n, seed=n) for n in (2, 7, 30)},
}
SPARSE = {"slab": 24.0, "a chain": 16.0, "dilute helium": 20.0}  # Angstrom, where neighbours with a face are further away than 8


def faces(found: tuple[np.ndarray, ...]) -> np.ndarray:
    """Return sorted rows of atom, neighbour, distance and area, those of faces with an area alone."""
    centre, neighbor, area, distance = found[:4]
    table = np.column_stack([centre, neighbor, distance.round(6), area.round(6)])[area > SMALL]
    return table[np.lexsort(table.T[::-1])]


def with_qhull(structure: Structure, cutoff: float) -> np.ndarray:
    """Return `faces` of a tessellation of all atoms and of all their neighbours within the cutoff, Angstrom."""
    _, near, shift, _ = find_pairs(structure, cutoff)
    images = np.unique(np.column_stack([near, shift.astype(int)]), axis=0)
    images = images[images[:, 1:].any(axis=1)]
    atom = np.concatenate([np.arange(len(structure)), images[:, 0]])
    home = np.array(structure.cart_coords)
    points = np.concatenate([home, home[images[:, 0]] + images[:, 1:] @ structure.lattice.matrix])
    cells, rows = Voronoi(points), []
    for pair, corners in zip(cells.ridge_points, cells.ridge_vertices, strict=True):
        if -1 not in corners:
            polygon = cells.vertices[corners[1:]] - cells.vertices[corners[0]]
            area = np.linalg.norm(np.cross(polygon[:-1], polygon[1:]).sum(axis=0)) / 2
            distance = np.linalg.norm(points[pair[0]] - points[pair[1]])
            rows += [(a, atom[b], area, distance) for a, b in (pair, pair[::-1]) if a < len(structure)]
    return faces(tuple(np.array(column) for column in zip(*rows, strict=True)))


@pytest.mark.parametrize("name", KINDS)
def test_faces_are_those_of_qhull(name: str) -> None:
    structure = KINDS[name]
    np.testing.assert_allclose(faces(tessellate(structure)), with_qhull(structure, SPARSE.get(name, 8.0)), atol=2e-6)


@pytest.mark.parametrize("name", ["rutile", "7 random atoms"])
def test_faces_are_those_of_pymatgen(name: str) -> None:
    structure = KINDS[name]
    rows = []
    for i, polyhedron in enumerate(VoronoiNN(cutoff=8).get_all_voronoi_polyhedra(structure)):
        rows += [(i, face["site"].specie.Z, face["area"], 2 * face["face_dist"]) for face in polyhedron.values()]
    centre, neighbor, area, distance, _ = tessellate(structure)
    ours = faces((centre, np.array(structure.atomic_numbers)[neighbor], area, distance))
    np.testing.assert_allclose(ours, faces(tuple(map(np.array, zip(*rows, strict=True)))), atol=2e-6)


@pytest.mark.parametrize(("name", "n_faces"), [("alloy", 12), ("bcc iron", 14), ("rock salt", 6), ("diamond", 16)])
def test_known_numbers_of_faces(name: str, n_faces: int) -> None:
    structure = KINDS[name]
    assert len(faces(tessellate(structure))) == n_faces * len(structure)


@pytest.mark.parametrize("first", [0.3, 6.0])
@pytest.mark.parametrize("name", ["slab", "a chain", "one atom in a skewed cell", "30 random atoms"])
def test_the_first_cutoff_does_not_matter(name: str, first: float, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = faces(tessellate(KINDS[name]))
    monkeypatch.setattr(module, "FIRST_CUTOFF", first)
    np.testing.assert_allclose(faces(tessellate(KINDS[name])), expected, atol=2e-6)


@pytest.mark.parametrize("name", ["fcc in a cubic cell", "rock salt", "perovskite"])
def test_many_faces_in_one_vertex_are_the_limit_of_few(name: str) -> None:
    exact = KINDS[name].copy()
    moved = exact.copy().perturb(1e-9)
    rows = [voronoi(PrimitiveCrystal(IStructure.from_sites(s), 1, len(s))) for s in (moved, exact)]
    np.testing.assert_allclose(*rows, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("lattice", [Lattice.cubic(60), Lattice.tetragonal(4, 90)])
def test_cells_that_no_neighbour_bounds_are_refused(lattice: Lattice) -> None:
    with pytest.raises(ValueError, match=r"do not fill the volume, even with neighbours within 40"):
        tessellate(Structure(lattice, ["Ar"], [[0, 0, 0]]))


@pytest.mark.parametrize("radius", [1.0, 4.0, 9.0])
@pytest.mark.parametrize("name", ["diamond", "slab", "30 random atoms"])
def test_pairs_are_those_of_pymatgen(name: str, radius: float) -> None:
    for found, expected in zip(find_pairs(KINDS[name], radius), KINDS[name].get_neighbor_list(radius), strict=True):
        np.testing.assert_array_equal(found, expected)
