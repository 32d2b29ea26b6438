"""Convex polygons cut by planes, compiled for CPUs by numba.

A polygon is the first n rows of an array of corners, (capacity, 3), Angstrom, in order around it.
"""

import math

import numba
import numpy as np

TOUCH = 1e-10  # Angstrom; a corner so close to a plane is not cut off: far above rounding, far below any length that matters
jit = numba.njit(cache=True)


@jit
def cut_faces(start, vector, squares):  # type: ignore[no-untyped-def]
    """Return the area of the face towards each neighbour, and the distance of the furthest corner from each atom.

    The distance is infinite for an atom without neighbours.
    start: (n_atoms + 1,), index of the first neighbour of each atom.
    vector: (n_neighbors, 3), Angstrom, from the atom; those of one atom from the nearest to the furthest.
    squares: (n_neighbors, 4, 3), Angstrom, relative to the atom, in the plane halfway, from which the faces are cut.
    """
    area, furthest = np.zeros(len(vector)), np.zeros(len(start) - 1)
    length = np.sqrt((vector**2).sum(axis=1))
    capacity = squares.size  # more than enough: a cut adds one corner, even if rounding adds another
    corners, kept, depth = np.empty((capacity, 3)), np.empty((capacity, 3)), np.empty(capacity)
    for atom in range(len(furthest)):
        first, last = start[atom], start[atom + 1]
        if first == last:
            furthest[atom] = np.inf
        for face in range(first, last):
            n = 4
            corners[:n] = squares[face]
            reach = _reach(corners, n)
            for other in range(first, last):
                if length[other] > 2 * reach:
                    break  # no further plane can cut the polygon
                if other != face and _depths(corners, n, vector[other], length[other], depth) > TOUCH:
                    n = _cut(corners, n, depth, kept)
                    corners, kept = kept, corners
                    reach = _reach(corners, n)
            area[face] = _area(corners, n)
            furthest[atom] = max(furthest[atom], reach)
    return area, furthest


@jit
def _reach(corners, n):  # type: ignore[no-untyped-def]
    """Return the distance of the furthest corner from the origin; 0 if there is none."""
    square = 0.0
    for a in range(n):
        square = max(square, corners[a, 0] ** 2 + corners[a, 1] ** 2 + corners[a, 2] ** 2)
    return math.sqrt(square)


@jit
def _depths(corners, n, vector, length, depth):  # type: ignore[no-untyped-def]
    """Set depth[:n] to how far each corner lies beyond the plane halfway along a vector, and return the greatest."""
    greatest = -np.inf
    for a in range(n):
        along = corners[a, 0] * vector[0] + corners[a, 1] * vector[1] + corners[a, 2] * vector[2]
        depth[a] = along / length - length / 2
        greatest = max(greatest, depth[a])
    return greatest


@jit
def _cut(corners, n, depth, kept):  # type: ignore[no-untyped-def]
    """Set `kept` to the part of a polygon that is not beyond a plane, and return its number of corners."""
    m = 0
    for a in range(n):
        b = a + 1 if a + 1 < n else 0
        if depth[a] <= TOUCH:
            for k in range(3):
                kept[m, k] = corners[a, k]
            m += 1
        if (depth[a] <= TOUCH) != (depth[b] <= TOUCH):
            share = min(max(depth[a] / (depth[a] - depth[b]), 0.0), 1.0)
            for k in range(3):
                kept[m, k] = corners[a, k] + share * (corners[b, k] - corners[a, k])
            m += 1
    return m


@jit
def _area(corners, n):  # type: ignore[no-untyped-def]
    """Return the area of a polygon."""
    x, y, z = 0.0, 0.0, 0.0
    for a in range(1, n - 1):
        ax, ay, az = corners[a, 0] - corners[0, 0], corners[a, 1] - corners[0, 1], corners[a, 2] - corners[0, 2]
        bx, by, bz = corners[a + 1, 0] - corners[0, 0], corners[a + 1, 1] - corners[0, 1], corners[a + 1, 2] - corners[0, 2]
        x, y, z = x + ay * bz - az * by, y + az * bx - ax * bz, z + ax * by - ay * bx
    return math.sqrt(x * x + y * y + z * z) / 2
