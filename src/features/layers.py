"""Layers of a crystal: the widest gap between lattice planes of atoms, and the atoms at its faces.

The energy that holds layers together is a surface energy: 15 to 30 meV/A^2 for most van der Waals solids (Bjorkman et al.,
Phys. Rev. Lett. 108, 235502 (2012), doi:10.1103/PhysRevLett.108.235502). Per atom, it is proportional to the area per atom, which
no volume reveals if the cell contains a vacuum.
"""

import itertools
from typing import NamedTuple

import moyopy
import numpy as np
from numpy.typing import NDArray

from src.data.crystal import Crystal
from src.features.charges import pauling
from src.features.geometry import PrimitiveCrystal, atomic_radii

LAYERS = (
    *("layer_gap", "log_layer_gap", "layer_area", "log_layer_area", "layer_thickness", "log_surface_area", "surface_share"),
    *("surface_electronegativity", "surface_radius", "surface_asymmetry"),
)
PLANES = np.array([h for h in itertools.product((-1, 0, 1), repeat=3) if h > (0, 0, 0)])  # Miller indices, up to their sign
DEPTH = 1.0  # Angstrom, below a face, within which the share of an atom in it falls to 1/e
VACUUM = 6.0  # Angstrom between the atoms of two layers, beyond any of a crystal without vacuum

Values = NDArray[np.float64]


class Layer(NamedTuple):
    """The atoms between two widest gaps. gap, height (n_atoms,): Angstrom. area: Angstrom^2, of the face of the cell."""

    gap: float
    area: float
    height: Values


def layer_of(lattice: Values, frac_coords: Values) -> Layer:
    """Return the layer of a cell; except for its area and number of atoms, it is the same for every cell of a crystal.

    Gaps are looked for between planes whose Miller indices in a reduced cell are 0, 1 or -1.
    """
    reduced, _ = moyopy.minkowski_reduce(lattice.tolist())
    frac = frac_coords @ lattice @ np.linalg.inv(reduced)
    spacing = 1 / np.linalg.norm(PLANES @ np.linalg.inv(reduced).T, axis=1)
    place = np.round(frac @ PLANES.T, 9) % 1.0  # (n_atoms, n_planes)
    ordered = np.sort(place, axis=0)
    gaps = np.diff(ordered, axis=0, append=ordered[:1] + 1) * spacing
    plane = int(gaps.max(axis=0).round(6).argmax())  # the first of several that symmetry makes equal
    widest = int(gaps[:, plane].argmax())
    start = ordered[(widest + 1) % len(ordered), plane]
    height = (place[:, plane] - start) % 1.0 * spacing[plane]
    return Layer(float(gaps[widest, plane]), float(abs(np.linalg.det(lattice)) / spacing[plane]), height)


def layers(crystal: PrimitiveCrystal) -> list[float]:
    """Return LAYERS: lengths in Angstrom, areas in Angstrom^2 per atom, and means over the atoms at the faces of the layer.

    An atom counts for a face by exp(-depth / DEPTH). surface_asymmetry: difference of both faces' electronegativities.
    """
    gap, area, height = layer_of(crystal.cell.lattice, crystal.cell.frac_coords)
    n, thickness = len(height), float(height.max())
    faces = np.exp(-np.stack([height, thickness - height]) / DEPTH)  # (2, n_atoms)
    share = faces.sum(axis=0)
    electronegativity, radius = np.nan_to_num(crystal.cell.at_sites(pauling())), crystal.cell.at_sites(atomic_radii())
    of_faces = faces @ electronegativity / faces.sum(axis=1)
    return [
        *(gap, np.log(gap), area / n, np.log(area / n), thickness, np.log(2 * area / share.sum()), share.sum() / (2 * n)),
        *(share @ electronegativity / share.sum(), share @ radius / share.sum(), abs(of_faces[0] - of_faces[1])),
    ]


def log_layer_area(crystal: Crystal) -> float:
    """Return the logarithm of the area of the layer per atom, in Angstrom^2."""
    layer = layer_of(crystal.lattice, crystal.frac_coords)
    return float(np.log(layer.area / len(layer.height)))
