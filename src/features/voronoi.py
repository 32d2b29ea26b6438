"""Statistics of Voronoi cells, weighted by face area: coordination, bond lengths, ordering, differences between neighbours.

Formulas: Ward et al., Phys. Rev. B 96, 024104 (2017), doi:10.1103/PhysRevB.96.024104. matminer implements them with
tessellations out to 13 Angstrom, 0.2 s per crystal; here a crystal is tessellated once, no further out than needed.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Element, IStructure
from scipy.spatial import Voronoi

from src.data.crystal import N_ELEMENTS
from src.features.geometry import PrimitiveCrystal

CUTOFFS = (8.0, 13.0, 40.0)  # Angstrom; the last spans the vacuum of a slab
PROPERTIES = (
    *("Number", "MendeleevNumber", "AtomicWeight", "MeltingT", "Column", "Row", "CovalentRadius", "Electronegativity"),
    *("NsValence", "NpValence", "NdValence", "NfValence", "NValence", "NsUnfilled", "NpUnfilled", "NdUnfilled", "NfUnfilled"),
    *("NUnfilled", "GSvolume_pa", "GSbandgap", "GSmagmom", "SpaceGroupNumber"),
)
STATISTICS = ("mean", "avg_dev", "min", "max")
VORONOI = (
    *(f"{name}_{s}" for name in ("coordination", "bond_length", "bond_length_variation") for s in STATISTICS),
    *("cell_volume_variation", "packing_efficiency", "ordering"),
    *(f"neighbor_difference_{name}_{s}" for name in PROPERTIES for s in STATISTICS),
)


def voronoi(crystal: PrimitiveCrystal) -> list[float]:
    """Return VORONOI, with lengths and volumes divided by their means; raise ValueError if no tessellation fills the cell."""
    structure = crystal.structure
    centre, neighbor, area, length, volume = tessellate(structure)
    n, z = len(structure), np.array(structure.atomic_numbers)

    def at_each_atom(values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return sums over the faces of each atom, (n_atoms, n_columns)."""
        return np.stack([np.bincount(centre, column, n) for column in np.atleast_2d(values.T)], axis=-1)

    weight = area / at_each_atom(area)[centre, 0]
    coordination = 1 / at_each_atom(weight**2)[:, 0]
    bond = at_each_atom(weight * length)[:, 0]
    variation = at_each_atom(weight * np.abs(length - bond[centre]))[:, 0] / bond
    cell = at_each_atom(volume)[:, 0]
    nearest = np.full(n, np.inf)
    np.minimum.at(nearest, centre, length / 2)
    table = _property_table()
    difference = at_each_atom(weight[:, None] * np.abs(table[z[centre]] - table[z[neighbor]]))  # (n_atoms, n_properties)
    return [
        *(_statistics(coordination) + _statistics(bond / bond.mean()) + _statistics(variation)),
        _average_deviation(cell) / cell.mean(),
        4 / 3 * np.pi * (nearest**3).sum() / structure.volume,
        _ordering(z, at_each_atom(weight[:, None] * (z[neighbor][:, None] == np.unique(z)))),
        *(value for column in difference.T for value in _statistics(column)),
    ]


def tessellate(structure: IStructure) -> tuple[NDArray, NDArray, NDArray, NDArray, NDArray]:
    """Return the faces of all Voronoi cells, (n_faces,) each.

    These are the atom, its neighbour, the area (Angstrom^2), the neighbour's distance (Angstrom) and the volume of the pyramid
    between atom and face (Angstrom^3). The cutoff grows until the cells fill the crystal's volume: then no neighbour is missing.
    """
    for cutoff in CUTOFFS:
        centre, neighbor, area, distance = _faces(structure, cutoff)
        volume = area * distance / 6
        if abs(volume.sum() - structure.volume) < 1e-6 * structure.volume:
            return centre, neighbor, area, distance, volume
    raise ValueError(f"the Voronoi cells do not fill the volume, even with neighbours within {CUTOFFS[-1]} Angstrom")


def _faces(structure: IStructure, cutoff: float) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Return the bounded faces between atoms and neighbours within the cutoff: atom, neighbour, area, distance."""
    _, near, shift, _ = structure.get_neighbor_list(cutoff)
    images = np.unique(np.column_stack([near, shift.astype(np.int64)]), axis=0)
    images = images[images[:, 1:].any(axis=1)]
    atom = np.concatenate([np.arange(len(structure)), images[:, 0]])
    home = np.array(structure.cart_coords)
    points = np.concatenate([home, home[images[:, 0]] + images[:, 1:] @ structure.lattice.matrix])
    if len(points) < 5:  # the minimum for a tessellation in 3D
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0)
    cells = Voronoi(points)
    centre, neighbor, area, distance = [], [], [], []
    for (i, j), corners in zip(cells.ridge_points, cells.ridge_vertices, strict=True):
        if -1 in corners or min(i, j) >= len(structure):
            continue
        polygon = cells.vertices[corners[1:]] - cells.vertices[corners[0]]
        size = np.linalg.norm(np.cross(polygon[:-1], polygon[1:]).sum(axis=0)) / 2
        for a, b in ((i, j), (j, i)):
            if a < len(structure):
                centre.append(a)
                neighbor.append(atom[b])
                area.append(size)
                distance.append(np.linalg.norm(points[i] - points[j]))
    return np.array(centre, dtype=np.int64), np.array(neighbor, dtype=np.int64), np.array(area), np.array(distance)


def _ordering(z: NDArray[np.int64], share: NDArray[np.float64]) -> float:
    """Return the mean magnitude of the first-shell Warren-Cowley parameter over atoms and elements; 0 in an elemental solid.

    z: (n_atoms,). share: (n_atoms, n_elements), fraction of each atom's face area shared with each element.
    """
    _, counts = np.unique(z, return_counts=True)
    return float(np.abs(1 - share * len(z) / counts).mean()) if len(counts) > 1 else 0.0


def _statistics(values: NDArray[np.float64]) -> list[float]:
    return [values.mean(), _average_deviation(values), values.min(), values.max()]


def _average_deviation(values: NDArray[np.float64]) -> float:
    return float(np.abs(values - values.mean()).mean())


@lru_cache
def _property_table() -> NDArray[np.float64]:
    """Return Magpie's PROPERTIES, (N_ELEMENTS, n_properties), with missing values imputed by matminer; row 0 is NaN."""
    from matminer.utils.data import MagpieData

    source = MagpieData(impute_nan=True)
    rows = [[source.get_elemental_property(Element.from_Z(z), name) for name in PROPERTIES] for z in range(1, N_ELEMENTS)]
    return np.array([[np.nan] * len(PROPERTIES), *rows], dtype=np.float64)
