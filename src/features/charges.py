"""Charges of a crystal: electronegativity, guessed oxidation states, their Ewald energy and bond valences.

If a quantity is undefined (no electronegativity, no charge-balanced guess, no bond-valence parameters), its columns and its
`has_` column are 0. Every column is thus finite, and a model can tell zero from undefined. In a disordered crystal charges and
bond valences are undefined, and a mixed site has the mean electronegativity of its atoms.

The oxidation states are those that pymatgen's `Composition.oxi_state_guesses` ranks first. pymatgen tries every combination of
the states of all atoms. Here atoms, then elements, are added one by one, and only the best way to reach each total charge is
kept. Likelihoods are whole numbers (how often a state occurs in the ICSD), so sums and ties are exact. Among equally likely
guesses, pymatgen's first one wins.
"""

import math
import warnings
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from pymatgen.analysis.bond_valence import BV_PARAMS, ELECTRONEG, PRIOR_PROB
from pymatgen.core import Composition, Element, IStructure, Species
from pymatgen.core.ewald import EwaldSummation
from scipy.special import erfc

from src.data.crystal import N_ELEMENTS
from src.features.geometry import PrimitiveCrystal, find_pairs

BOND_RADIUS = 5.0  # Angstrom; a bond of this length has a valence below 1e-3
GGA_SCALE = 1.015  # factor on calculated distances, as in pymatgen's BVAnalyzer
BOND_SOFTNESS = 0.31  # Angstrom, over which a valence falls to 1/e, as in pymatgen
DIGITS = 8  # significant ones, to which both sums of the Ewald energy converge
REAL_SPACE_WEIGHT = 2**-0.5  # relative cost of a term in real space, as in pymatgen
MAX_COMBINATIONS = 1_000_000  # of oxidation states, summed over elements; a composition with more has no guess
CHARGES = (
    *("has_electronegativity", "electronegativity_mean", "electronegativity_sd", "electronegativity_range"),
    *("has_charges", "log_n_guesses", "charge_max", "charge_min", "charge_mean_abs", "ewald_energy_per_atom"),
    *("has_bond_valence", "bond_valence_mean_abs", "has_instability", "global_instability", "bond_valence_deviation"),
)


def charges(crystal: PrimitiveCrystal) -> list[float]:
    """Return the features CHARGES: Pauling electronegativities, charges in e, energies in eV/atom, valences in valence units."""
    structure, x = crystal.structure, crystal.cell.at_sites(pauling())
    of_atoms = [1.0, x.mean(), x.std(), np.ptp(x)] if np.isfinite(x).all() else [0.0] * 4
    if crystal.cell.is_disordered:
        return [*of_atoms, *[0.0] * (len(CHARGES) - len(of_atoms))]
    z = crystal.cell.atomic_numbers
    guess, n_guesses = guess_charges(tuple(np.sort(z).tolist()))
    charge = np.array([guess[i] for i in z.tolist()]) if guess else None
    return [*of_atoms, *_ewald(structure, charge, n_guesses), *_bond_valence(structure, z, charge)]


@lru_cache
def pauling() -> NDArray[np.float64]:
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


def ewald_energy(structure: IStructure, charge: NDArray[np.float64]) -> float:
    """Return the electrostatic energy of a neutral crystal of point charges, eV per cell.

    It equals that of pymatgen's EwaldSummation, with its screening and cutoffs, but needs no matrices of pairs.
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


@lru_cache(maxsize=1024)
def guess_charges(atomic_numbers: tuple[int, ...]) -> tuple[dict[int, float] | None, int]:
    """Return atomic number -> mean oxidation state in the likeliest charge-balanced guess, and the number of such guesses.

    Returns (None, 0) if there is none.
    atomic_numbers: sorted, so that ties between guesses do not depend on the order of the atoms.
    """
    composition = Composition({Element.from_Z(z): atomic_numbers.count(z) for z in sorted(set(atomic_numbers))})
    counts = {element: int(n) for element, n in composition.reduced_composition.items()}
    if len(counts) == 1:
        return {element.Z: 0.0 for element in counts}, 1
    states = {element: _states(element) for element in counts}
    if sum(math.comb(n + len(states[e]) - 1, n) for e, n in counts.items() if states[e]) > MAX_COMBINATIONS:
        return None, 0
    totals, n_guesses = _balance([_totals(element, n) for element, n in counts.items()])
    guess = {e.Z: total / n for (e, n), total in zip(counts.items(), totals, strict=True)} if n_guesses else None
    return guess, n_guesses


def _states(element: Element) -> tuple[int, ...]:
    return tuple(element.icsd_oxidation_states or element.common_oxidation_states)


@lru_cache(maxsize=4096)
def _totals(element: Element, n: int) -> dict[int, int]:
    """Return each total charge of n atoms of an element with its greatest likelihood.

    The order is that in which itertools.combinations_with_replacement, over the states, first reaches the totals.
    """
    totals = [{0: 0}, *({} for _ in range(n))]  # of 0 to n atoms
    for state in reversed(_states(element)):
        occurrence = PRIOR_PROB.get(Species(element.symbol, state), 0)
        extended: list[dict[int, int]] = [{} for _ in totals]
        for m, best in enumerate(extended):
            for k in range(m, -1, -1):  # atoms in this state
                for total, likelihood in totals[m - k].items():
                    charge, likelihood = total + k * state, likelihood + k * occurrence
                    best[charge] = max(likelihood, best.get(charge, 0))
        totals = extended
    return totals[n]


def _balance(options: list[dict[int, int]]) -> tuple[tuple[int, ...], int]:
    """Return the likeliest choice of one total for each element that adds up to zero, and the number of such choices.

    The first in the order of itertools.product wins a tie. Without any choice, the result is ((), 0).
    """
    found: dict[int, tuple[int, tuple[int, ...], int]] = {0: (0, (), 1)}  # charge -> likelihood, choice, number of choices
    for i, totals in reversed(list(enumerate(options))):
        extended: dict[int, tuple[int, tuple[int, ...], int]] = {}
        for total, likelihood in totals.items():
            for charge in found if i else {-total} & found.keys():
                rest, choice, n = found[charge]
                known = extended.get(charge + total, (-1, (), 0))
                candidate = (likelihood + rest, (total, *choice))
                extended[charge + total] = (*(candidate if candidate[0] > known[0] else known[:2]), n + known[2])
        found = extended
    _, choice, n_choices = found.get(0, (0, (), 0))
    return choice, n_choices
