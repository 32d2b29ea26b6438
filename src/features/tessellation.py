"""Faces of the Voronoi cells of a crystal, each cut out of its plane.

A face is the part of the plane halfway to a neighbour that lies on the near side of the planes of all other neighbours. Cutting
a convex polygon by one plane after another needs no topology, so that it does not matter how many faces meet in a vertex.
"""

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import IStructure

from src.features.neighbors import find_pairs

FIRST_CUTOFF = 2.5  # cube roots of the volume per atom; simple cubic needs 1.7
MAX_CUTOFF = 40.0  # Angstrom; spans the vacuum of a slab
Faces = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


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

    Where the cells are not bounded by neighbours within the cutoff, that is more than the cutoff.
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
