"""Charges of a crystal: electronegativity, guessed oxidation states, their Ewald energy and bond valences.

If a quantity is undefined (no electronegativity, no charge-balanced guess, no bond-valence parameters), its columns and its
`has_` column are 0. Every column is thus finite, and a model can tell zero from undefined.
"""

import math
import warnings
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from pymatgen.analysis.bond_valence import BV_PARAMS, calculate_bv_sum
from pymatgen.analysis.ewald import EwaldSummation
from pymatgen.core import Composition, Element, IStructure, Structure

from src.features.geometry import PrimitiveCrystal

MAX_COMBINATIONS = 1_000_000  # of oxidation states tried in a guess; takes about ten seconds
BOND_RADIUS = 5.0  # Angstrom; a bond of this length has a valence below 1e-3
GGA_SCALE = 1.015  # factor on calculated distances, as in pymatgen's BVAnalyzer
CHARGES = (
    *("has_electronegativity", "electronegativity_mean", "electronegativity_sd", "electronegativity_range"),
    *("has_charges", "log_n_guesses", "charge_max", "charge_min", "charge_mean_abs", "ewald_energy_per_atom"),
    *("has_bond_valence", "bond_valence_mean_abs", "has_instability", "global_instability", "bond_valence_deviation"),
)


def charges(crystal: PrimitiveCrystal) -> list[float]:
    """Return the features CHARGES: Pauling electronegativities, charges in e, energies in eV/atom, valences in valence units."""
    structure = crystal.structure
    guess, n_guesses = _guess_charges(tuple(sorted(structure.atomic_numbers)))
    charge = np.array([guess[site.specie.symbol] for site in structure]) if guess else None
    return [*_electronegativity(structure), *_ewald(structure, charge, n_guesses), *_bond_valence(structure, charge)]


def _electronegativity(structure: IStructure) -> list[float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pymatgen's on elements without one, which has_electronegativity encodes
        x = np.array([float(site.specie.X) for site in structure])
    return [1.0, x.mean(), x.std(), np.ptp(x)] if np.isfinite(x).all() else [0.0] * 4


@lru_cache(maxsize=1024)
def _guess_charges(atomic_numbers: tuple[int, ...]) -> tuple[dict[str, float] | None, int]:
    """Return the mean oxidation state of each element in the likeliest charge-balanced guess, and the number of such guesses.

    Returns (None, 0) if there is none.
    atomic_numbers: sorted, so that ties between guesses do not depend on the order of the atoms.
    """
    composition = Composition({Element.from_Z(z): atomic_numbers.count(z) for z in sorted(set(atomic_numbers))})
    reduced = composition.reduced_composition
    states = {e: e.icsd_oxidation_states or e.common_oxidation_states for e in reduced}
    combinations = sum(math.comb(int(n) + len(states[e]) - 1, int(n)) for e, n in reduced.items() if states[e])
    if len(reduced) > 1 and combinations > MAX_COMBINATIONS:
        return None, 0
    guesses = reduced.oxi_state_guesses()
    return (dict(guesses[0]), len(guesses)) if guesses else (None, 0)


def _ewald(structure: IStructure, charge: NDArray[np.float64] | None, n_guesses: int) -> list[float]:
    """Return statistics of the charges and the electrostatic energy of point charges, eV/atom."""
    if charge is None:
        return [0.0] * 6
    energy = 0.0
    if charge.any():
        charged = Structure(structure.lattice, structure.species, structure.frac_coords)
        charged.add_oxidation_state_by_site(charge.tolist())
        energy = float(EwaldSummation(charged, acc_factor=8.0).total_energy) / len(structure)
    return [1.0, np.log(n_guesses), charge.max(), charge.min(), np.abs(charge).mean(), energy]


def _bond_valence(structure: IStructure, charge: NDArray[np.float64] | None) -> list[float]:
    """Return the mean bond-valence sum and its deviation from the charges: rms (the global instability index) and mean.

    Source: O'Keeffe, Brese, J. Am. Chem. Soc. 113, 3226 (1991), doi:10.1021/ja00009a002; Salinas-Sanchez et al., J. Solid State
    Chem. 100, 201 (1992), doi:10.1016/0022-4596(92)90094-C.
    """
    if any(site.specie not in BV_PARAMS for site in structure):
        return [0.0] * 5
    neighbors = structure.get_all_neighbors(BOND_RADIUS)
    valence = np.array([calculate_bv_sum(site, near, GGA_SCALE) for site, near in zip(structure, neighbors, strict=True)])
    known = [1.0, np.abs(valence).mean()]
    if charge is None:
        return [*known, 0.0, 0.0, 0.0]
    return [*known, 1.0, np.sqrt(((valence - charge) ** 2).mean()), (np.abs(valence) - np.abs(charge)).mean()]
