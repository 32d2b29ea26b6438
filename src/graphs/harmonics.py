"""Real spherical harmonics, and the coefficients that couple them, in the basis and with the signs of e3nn.

Geiger, Smidt, arXiv:2207.09453: the components of degree 1 are x, y, z, and y is the polar axis. The tests compare with e3nn
itself, which is not imported here because its import takes longer than predicting a crystal.
"""

import itertools
from functools import lru_cache
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

L_MAX = 3


def harmonics(l_max: int, x: Any, y: Any, z: Any) -> list[Any]:
    """Return the (l_max + 1)^2 spherical harmonics of degrees 0 ... l_max, l_max <= L_MAX, each of the shape of x.

    x, y, z: components of unit vectors, arrays or tensors. Normalised to components: those of degree l have the sum of squares
    2 l + 1. The operations and their order are those of e3nn, so that results agree to the last bit.
    """
    found = [x * 0 + 1, sqrt(3) * x, sqrt(3) * y, sqrt(3) * z]
    if l_max >= 2:
        y2, x2z2 = y**2, x**2 + z**2
        xz, z2x2 = sqrt(15) * x * z, 0.5 * sqrt(15) * (z**2 - x**2)
        found += [xz, sqrt(15) * x * y, sqrt(5) * (y2 - 0.5 * x2z2), sqrt(15) * y * z, z2x2]
    if l_max >= 3:
        a, b, c, d = 1 / 6 * sqrt(42), sqrt(7), 1 / 8 * sqrt(168), 0.5 * sqrt(7)
        found += [a * (xz * z + z2x2 * x), b * xz * y, c * (4.0 * y2 - x2z2) * x, d * y * (2.0 * y2 - 3.0 * x2z2)]
        found += [c * z * (4.0 * y2 - x2z2), b * z2x2 * y, a * (z2x2 * z - xz * x)]
    return found[: (l_max + 1) ** 2]


def harmonics_of_degree(l: int, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the 2 l + 1 harmonics of degree l of vectors of any length, (..., 2l+1). vectors: (..., 3)."""
    unit = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.stack(harmonics(l, *np.moveaxis(unit, -1, 0))[l**2 :], axis=-1)


@lru_cache
def coupling(l_1: int, l_2: int, l_3: int) -> NDArray[np.float64]:
    """Return the Wigner 3j symbols in the basis of the harmonics, (2 l_1 + 1, 2 l_2 + 1, 2 l_3 + 1), with the norm 1.

    The sum of the degrees must be even: the symbols are then proportional to the mean of Y_1 Y_2 Y_3 over the sphere (Gaunt).
    """
    points, weights = _sphere()
    y_1, y_2, y_3 = (harmonics_of_degree(l, points) for l in (l_1, l_2, l_3))
    mean = np.einsum("p,pi,pj,pk->ijk", weights, y_1, y_2, y_3)
    mean[np.abs(mean) < 1e-12] = 0
    return mean / np.linalg.norm(mean)


@lru_cache
def _sphere() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return points on the unit sphere, (n, 3), and weights, (n,): exact means of polynomials up to degree 3 L_MAX."""
    n = 3 * L_MAX + 1
    heights, of_height = np.polynomial.legendre.leggauss(n // 2 + 1)
    angles = 2 * np.pi * np.arange(n) / n
    pairs = itertools.product(zip(heights, of_height, strict=True), angles)
    rows = [(sqrt(1 - y * y) * np.sin(a), y, sqrt(1 - y * y) * np.cos(a), w / (2 * n)) for (y, w), a in pairs]
    return np.array(rows)[:, :3], np.array(rows)[:, 3]
