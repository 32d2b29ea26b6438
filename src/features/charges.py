"""Charges of a crystal: electronegativity, guessed oxidation states, their Ewald energy and bond valences.

If a quantity is undefined (no electronegativity, no charge-balanced guess, no bond-valence parameters), its columns and its
`has_` column are 0. Every column is thus finite, and a model can tell zero from undefined.
"""

import warnings
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from pymatgen.analysis.bond_valence import BV_PARAMS, ELECTRONEG
from pymatgen.core import Element, IStructure

from src.data.crystal import N_ELEMENTS
from src.features.ewald import ewald_energy
from src.features.geometry import PrimitiveCrystal
from src.features.neighbors import find_pairs
from src.features.oxidation import guess_charges

BOND_RADIUS = 5.0  # Angstrom; a bond of this length has a valence below 1e-3
GGA_SCALE = 1.015  # factor on calculated distances, as in pymatgen's BVAnalyzer
BOND_SOFTNESS = 0.31  # Angstrom, over which a valence falls to 1/e, as in pymatgen
CHARGES = (
    *("has_electronegativity", "electronegativity_mean", "electronegativity_sd", "electronegativity_range"),
    *("has_charges", "log_n_guesses", "charge_max", "charge_min", "charge_mean_abs", "ewald_energy_per_atom"),
    *("has_bond_valence", "bond_valence_mean_abs", "has_instability", "global_instability", "bond_valence_deviation"),
)


def charges(crystal: PrimitiveCrystal) -> list[float]:
    """Return the features CHARGES: Pauling electronegativities, charges in e, energies in eV/atom, valences in valence units."""
    structure = crystal.structure
    z = np.array(structure.atomic_numbers)
    guess, n_guesses = guess_charges(tuple(np.sort(z).tolist()))
    charge = np.array([guess[i] for i in z.tolist()]) if guess else None
    return [*_electronegativity(z), *_ewald(structure, charge, n_guesses), *_bond_valence(structure, z, charge)]


def _electronegativity(z: NDArray[np.int64]) -> list[float]:
    x = _pauling()[z]
    return [1.0, x.mean(), x.std(), np.ptp(x)] if np.isfinite(x).all() else [0.0] * 4


@lru_cache
def _pauling() -> NDArray[np.float64]:
    """Return the electronegativity of each element, (N_ELEMENTS,), NaN if it has none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pymatgen's on elements without one, which has_electronegativity encodes
        return np.array([np.nan, *(float(Element.from_Z(z).X) for z in range(1, N_ELEMENTS))])


def _ewald(structure: IStructure, charge: NDArray[np.float64] | None, n_guesses: int) -> list[float]:
    """Return statistics of the charges and the electrostatic energy of point charges, eV/atom."""
    if charge is None:
        return [0.0] * 6
    energy = ewald_energy(structure, charge) / len(charge) if charge.any() else 0.0
    return [1.0, np.log(n_guesses), charge.max(), charge.min(), np.abs(charge).mean(), energy]


def _bond_valence(structure: IStructure, z: NDArray[np.int64], charge: NDArray[np.float64] | None) -> list[float]:
    """Return the mean bond-valence sum and its deviation from the charges: rms (the global instability index) and mean.

    Source: O'Keeffe, Brese, J. Am. Chem. Soc. 113, 3226 (1991), doi:10.1021/ja00009a002; Salinas-Sanchez et al., J. Solid State
    Chem. 100, 201 (1992), doi:10.1016/0022-4596(92)90094-C.
    """
    length, sign = _bond_table()
    if np.isnan(length[z, z]).any():
        return [0.0] * 5
    centre, neighbor, _, distance = find_pairs(structure, BOND_RADIUS)
    pair = z[centre], z[neighbor]
    bond = sign[pair] * np.exp((length[pair] - distance * GGA_SCALE) / BOND_SOFTNESS)
    valence = np.bincount(centre, bond, len(z))
    known = [1.0, np.abs(valence).mean()]
    if charge is None:
        return [*known, 0.0, 0.0, 0.0]
    return [*known, 1.0, np.sqrt(((valence - charge) ** 2).mean()), (np.abs(valence) - np.abs(charge)).mean()]


@lru_cache
def _bond_table() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the length of a bond of valence 1 (Angstrom) and the sign of its valence, (N_ELEMENTS, N_ELEMENTS) each.

    The first index is the centre: the more electronegative atom of a bond has a negative valence. The length is NaN if an element
    has no parameters; the sign is 0 if two elements form no bond.
    """
    parameters = np.full((3, N_ELEMENTS), np.nan)
    for element, values in BV_PARAMS.items():
        parameters[:, element.Z] = values["r"], values["c"], element.X
    r, c, x = parameters[:, :, None]
    length = r + r.T - r * r.T * (np.sqrt(c) - np.sqrt(c.T)) ** 2 / (c * r + c.T * r.T)
    is_anion = np.isin(np.arange(N_ELEMENTS), [element.Z for element in ELECTRONEG])
    is_bond = (is_anion[:, None] | is_anion) & ~np.eye(N_ELEMENTS, dtype=bool)
    return length, np.where(is_bond, np.where(x < x.T, 1.0, -1.0), 0.0)
