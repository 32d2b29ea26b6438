"""The electrostatic energy of point charges, as pymatgen's EwaldSummation computes it, without its matrices of pairs."""

import math

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import IStructure
from pymatgen.core.ewald import EwaldSummation
from scipy.special import erfc

from src.features.neighbors import find_pairs

DIGITS = 8  # significant ones, to which both sums converge
REAL_SPACE_WEIGHT = 2**-0.5  # relative cost of a term in real space, as in pymatgen


def ewald_energy(structure: IStructure, charge: NDArray[np.float64]) -> float:
    """Return the energy of a neutral crystal, eV per cell, with the screening and cutoffs of EwaldSummation.

    Source: Toukmaji, Board, Comput. Phys. Commun. 95, 73 (1996), doi:10.1016/0010-4655(96)00016-1.
    charge: (n_atoms,), in e.
    """
    eta = (len(charge) * REAL_SPACE_WEIGHT / structure.volume**2) ** (1 / 3) * math.pi  # 1/Angstrom^2
    n_widths = math.sqrt(math.log(10**DIGITS))
    centre, neighbor, _, distance = find_pairs(structure, n_widths / math.sqrt(eta))
    real = (charge[centre] * charge[neighbor] * erfc(math.sqrt(eta) * distance) / distance).sum() / 2
    reciprocal = _reciprocal_sum(structure, charge, eta, 2 * math.sqrt(eta) * n_widths)
    own = (charge**2).sum() * math.sqrt(eta / math.pi)
    return float(EwaldSummation.CONV_FACT * (real + reciprocal - own))


def _reciprocal_sum(structure: IStructure, charge: NDArray[np.float64], eta: float, g_max: float) -> float:
    """Return the sum over reciprocal lattice vectors up to g_max (1/Angstrom), e^2/Angstrom."""
    lattice = np.array(structure.lattice.matrix)
    most = np.floor(g_max * np.linalg.norm(lattice, axis=1) / (2 * math.pi)).astype(int)
    h, k, l = np.mgrid[0 : most[0] + 1, -most[1] : most[1] + 1, -most[2] : most[2] + 1].reshape(3, -1)
    half = (h > 0) | (k > 0) | ((k == 0) & (l > 0))  # of the vectors without zero: g and -g contribute the same
    indices = np.stack([h, k, l], axis=1)[half]
    g = 2 * math.pi * indices @ np.linalg.inv(lattice).T
    g_squared = (g**2).sum(axis=1)
    g, g_squared = g[g_squared <= g_max**2], g_squared[g_squared <= g_max**2]
    phase = g @ structure.cart_coords.T  # (n_g, n_atoms)
    structure_factor = (np.cos(phase) @ charge) ** 2 + (np.sin(phase) @ charge) ** 2
    return float(4 * math.pi / structure.volume * (np.exp(-g_squared / (4 * eta)) / g_squared * structure_factor).sum())
