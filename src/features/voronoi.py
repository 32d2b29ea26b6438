"""Statistics of Voronoi cells, weighted by face area: coordination, bond lengths, ordering, differences between neighbours.

Formulas: Ward et al., Phys. Rev. B 96, 024104 (2017), doi:10.1103/PhysRevB.96.024104, as matminer implements them.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Element

from src.data.crystal import N_ELEMENTS
from src.features.geometry import PrimitiveCrystal
from src.features.tessellation import tessellate

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
    z = np.array(structure.atomic_numbers)
    start = np.searchsorted(centre, np.arange(len(z)))

    def at_each_atom(values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return sums over the faces of each atom, (n_atoms, ...)."""
        return np.add.reduceat(values, start)

    weight = area / at_each_atom(area)[centre]
    bond = at_each_atom(weight * length)
    variation = at_each_atom(weight * np.abs(length - bond[centre])) / bond
    cell = at_each_atom(volume)
    nearest = np.minimum.reduceat(length, start) / 2
    table = _property_table()
    difference = at_each_atom(weight[:, None] * np.abs(table[z[centre]] - table[z[neighbor]]))  # (n_atoms, n_properties)
    of_cells = np.stack([1 / at_each_atom(weight**2), bond / bond.mean(), variation], axis=1)
    return [
        *_statistics(of_cells),
        *_average_deviation(cell[:, None]) / cell.mean(),
        4 / 3 * np.pi * (nearest**3).sum() / structure.volume,
        _ordering(z, at_each_atom(weight[:, None] * (z[neighbor][:, None] == np.unique(z)))),
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
    """Return Magpie's PROPERTIES, (N_ELEMENTS, n_properties), with missing values imputed by matminer; row 0 is NaN."""
    from matminer.utils.data import MagpieData

    source = MagpieData(impute_nan=True)
    rows = [[source.get_elemental_property(Element.from_Z(z), name) for name in PROPERTIES] for z in range(1, N_ELEMENTS)]
    return np.array([[np.nan] * len(PROPERTIES), *rows], dtype=np.float64)
