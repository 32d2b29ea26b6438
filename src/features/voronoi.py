"""Voronoi cells of a crystal and their statistics, weighted by face area: coordination, bond lengths, ordering, differences.

A face is the part of the plane halfway to a neighbour that lies on the near side of the planes of all other neighbours. Cutting
a convex polygon by one plane after another needs no topology, so it does not matter how many faces meet at a vertex.
Formulas: Ward et al., Phys. Rev. B 96, 024104 (2017), doi:10.1103/PhysRevB.96.024104, as matminer implements them.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Element, IStructure

from src.data.crystal import N_ELEMENTS
from src.features.geometry import PrimitiveCrystal, find_pairs

FIRST_CUTOFF = 2.5  # cube roots of the volume per atom; simple cubic needs 1.7
MAX_CUTOFF = 40.0  # Angstrom; spans the vacuum of a slab
SITE_PROPERTIES = (
    *("Number", "MendeleevNumber", "AtomicWeight", "MeltingT", "Column", "Row", "CovalentRadius", "Electronegativity"),
    *("NsValence", "NpValence", "NdValence", "NfValence", "NValence", "NsUnfilled", "NpUnfilled", "NdUnfilled", "NfUnfilled"),
    *("NUnfilled", "GSvolume_pa", "GSbandgap", "GSmagmom", "SpaceGroupNumber"),
)
STATISTICS = ("mean", "avg_dev", "min", "max")
VORONOI = (
    *(f"{name}_{s}" for name in ("coordination", "bond_length", "bond_length_variation") for s in STATISTICS),
    *("cell_volume_variation", "packing_efficiency", "ordering"),
    *(f"neighbor_difference_{name}_{s}" for name in SITE_PROPERTIES for s in STATISTICS),
)
Faces = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def voronoi(crystal: PrimitiveCrystal) -> list[float]:
    """Return VORONOI, with lengths and volumes divided by their means; raise ValueError if no tessellation fills the cell."""
    structure = crystal.structure
    centre, neighbor, area, length, volume = tessellate(structure)
    kinds = crystal.cell.atomic_numbers  # a mixed site is an atom of a kind of its own
    start = np.searchsorted(centre, np.arange(len(kinds)))

    def at_each_atom(values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return sums over the faces of each atom, (n_atoms, ...)."""
        return np.add.reduceat(values, start)

    weight = area / at_each_atom(area)[centre]
    bond = at_each_atom(weight * length)
    variation = at_each_atom(weight * np.abs(length - bond[centre])) / bond
    cell = at_each_atom(volume)
    nearest = np.minimum.reduceat(length, start) / 2
    properties = crystal.cell.at_sites(_property_table())
    difference = at_each_atom(weight[:, None] * np.abs(properties[centre] - properties[neighbor]))  # (n_atoms, n_properties)
    of_cells = np.stack([1 / at_each_atom(weight**2), bond / bond.mean(), variation], axis=1)
    return [
        *_statistics(of_cells),
        *_average_deviation(cell[:, None]) / cell.mean(),
        4 / 3 * np.pi * (nearest**3).sum() / structure.volume,
        _ordering(kinds, at_each_atom(weight[:, None] * (kinds[neighbor][:, None] == np.unique(kinds)))),
        *_statistics(difference),
    ]


def _ordering(z: NDArray[np.int64], share: NDArray[np.float64]) -> float:
    """Return the mean magnitude of the first-shell Warren-Cowley parameter over atoms and elements; 0 in an elemental solid.

    z: (n_atoms,). share: (n_atoms, n_elements), fraction of each atom's face area shared with each element.
    """
    _, counts = np.unique(z, return_counts=True)
    return float(np.abs(1 - share * len(z) / counts).mean()) if len(counts) > 1 else 0.0


def _statistics(values: NDArray[np.float64]) -> list[float]:
    """Return STATISTICS of each column, one column after another. values: (n_atoms, n_columns)."""
    found = [values.mean(axis=0), _average_deviation(values), values.min(axis=0), values.max(axis=0)]
    return np.stack(found, axis=1).ravel().tolist()


def _average_deviation(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean deviation from the mean of each column. values: (n_atoms, n_columns)."""
    return np.abs(values - values.mean(axis=0)).mean(axis=0)


@lru_cache
def _property_table() -> NDArray[np.float64]:
    """Return Magpie's SITE_PROPERTIES, (N_ELEMENTS, n_properties), with missing values imputed by matminer; row 0 is NaN."""
    from matminer.utils.data import MagpieData

    source = MagpieData(impute_nan=True)
    rows = [[source.get_elemental_property(Element.from_Z(z), name) for name in SITE_PROPERTIES] for z in range(1, N_ELEMENTS)]
    return np.array([[np.nan] * len(SITE_PROPERTIES), *rows], dtype=np.float64)


def tessellate(structure: IStructure) -> Faces:
    """Return the faces of all Voronoi cells, (n_faces,) each, in the order of the atoms.

    These are the atom, its neighbour, the area (Angstrom^2), the neighbour's distance (Angstrom) and the volume of the pyramid
    between atom and face (Angstrom^3). A plane further from an atom than all vertices of its cell cannot cut it: the cutoff
    grows to twice the distance of the furthest vertex, and then no neighbour is missing.
    Raises ValueError if neighbours within MAX_CUTOFF do not bound the cells.
    """
    cutoff, needed = 0.0, FIRST_CUTOFF * (structure.volume / len(structure)) ** (1 / 3)
    while cutoff < min(needed, MAX_CUTOFF):
        cutoff = min(needed, 2 * cutoff or needed, MAX_CUTOFF)
        (centre, neighbor, area, distance), furthest = _faces(structure, cutoff)
        needed = 2 * furthest * (1 - 1e-9)  # a cell that just fits may seem larger by rounding
    volume = area * distance / 6
    if abs(volume.sum() - structure.volume) > 1e-6 * structure.volume:
        raise ValueError(f"the Voronoi cells do not fill the volume, even with neighbours within {MAX_CUTOFF} Angstrom")
    return centre, neighbor, area, distance, volume


def _faces(structure: IStructure, cutoff: float) -> tuple[tuple[NDArray, NDArray, NDArray, NDArray], float]:
    """Return atom, neighbour, area and distance of all faces, and the distance of the furthest vertex from its atom, Angstrom.

    If neighbours within the cutoff do not bound the cells, this distance exceeds the cutoff.
    """
    from src.features.polygons import cut_faces  # numba takes a while to import

    centre, neighbor, cell, distance = find_pairs(structure, cutoff)
    order = np.lexsort((distance, centre))
    centre, neighbor, distance = centre[order], neighbor[order], distance[order]
    coords = np.array(structure.cart_coords)
    vector = coords[neighbor] + cell[order] @ structure.lattice.matrix - coords[centre]
    start = np.searchsorted(centre, np.arange(len(structure) + 1))
    area, furthest = cut_faces(start, vector, _squares(vector, cutoff))
    is_face = area > 0
    return (centre[is_face], neighbor[is_face], area[is_face], distance[is_face]), float(furthest.max())


def _squares(vector: NDArray[np.float64], side: float) -> NDArray[np.float64]:
    """Return the corners of a square in the plane halfway along each vector, (n, 4, 3). side: half its length, Angstrom."""
    axis = np.eye(3)[np.abs(vector).argmin(axis=1)]  # not along the vector
    u = np.cross(vector, axis)
    v = np.cross(vector, u)
    u, v = (side * w / np.linalg.norm(w, axis=1, keepdims=True) for w in (u, v))
    return vector[:, None, :] / 2 + np.stack([u + v, v - u, -u - v, u - v], axis=1)
