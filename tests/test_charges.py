"""Charges, their energy and bond valences are those of pymatgen, whose loops src/features replaces."""

from collections import Counter

import numpy as np
import pytest
from pymatgen.analysis.bond_valence import BV_PARAMS, calculate_bv_sum
from pymatgen.core import Composition, Element, Structure
from pymatgen.core.ewald import EwaldSummation
from test_tessellation import KINDS

from src.features import charges as module
from src.features.charges import BOND_RADIUS, CHARGES, DIGITS, GGA_SCALE, charges, ewald_energy, guess_charges
from src.features.geometry import PrimitiveCrystal

COMPOSITIONS = (  # many states of an element; peroxides, whose formula pymatgen does not reduce; no balance; no states; metals
    *("Fe3O4", "LiFePO4", "Mn3Fe2O9", "C6H12N2O4S", "Cr7N3S5Cl2", "Al13Ga11In8O48", "Fe10Mn6Co4O30", "Li2O2", "H4O4", "Na4Cl"),
    *("Cu3Au", "HeO", "XeF4", "Si", "O2", "U3O8", "Pb3O4", "Sb2O4", "Eu3S4"),
    *("Re1Ag4B5At3", "At4Xe1", "Po4Te3Xe6N5", "Tc4Po4Se1S6"),  # two guesses are equally likely
)


def by_pymatgen(formula: str) -> tuple[dict[int, float] | None, int]:
    guesses = Composition(formula).oxi_state_guesses()
    return ({Element(e).Z: state for e, state in guesses[0].items()} if guesses else None), len(guesses)


def in_order(formula: str) -> tuple[Composition, tuple[int, ...]]:
    """Return the composition with its elements by atomic number, reduced, and the numbers of its atoms."""
    counts = sorted((element.Z, int(n)) for element, n in Composition(formula).items())
    composition = Composition({Element.from_Z(z): n for z, n in counts})
    return composition.reduced_composition, tuple(z for z, n in counts for _ in range(n))


def features(structure: Structure) -> dict[str, float]:
    return dict(zip(CHARGES, charges(PrimitiveCrystal(structure, 1, len(structure))), strict=True))


@pytest.mark.parametrize("formula", COMPOSITIONS)
def test_guesses_are_those_of_pymatgen(formula: str) -> None:
    reduced, numbers = in_order(formula)
    assert guess_charges(numbers) == by_pymatgen(reduced)


def test_guesses_of_random_compositions_are_those_of_pymatgen() -> None:
    rng = np.random.default_rng(5)
    several = [e.symbol for e in Element if e.Z < 104 and len(e.icsd_oxidation_states or e.common_oxidation_states) > 1]
    found = Counter[int]()
    for _ in range(150):
        elements = rng.choice(several, rng.integers(2, 5), replace=False)
        reduced, numbers = in_order("".join(f"{e}{rng.integers(1, 6)}" for e in elements))
        expected = by_pymatgen(reduced)
        assert guess_charges(numbers) == expected, reduced.formula
        found[expected[1]] += 1
    assert found[0] > 10 and sum(n > 1 for n in found) > 5  # without a guess, and with many


def test_a_composition_with_too_many_combinations_has_no_guess(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = in_order("Fe3O4")[1]
    guess_charges.cache_clear()
    monkeypatch.setattr(module, "MAX_COMBINATIONS", 4)  # four of Fe2+ and Fe3+ and one of O2-
    assert guess_charges(numbers) == (None, 0)
    guess_charges.cache_clear()


@pytest.mark.parametrize("name", KINDS)
def test_the_ewald_energy_is_that_of_pymatgen(name: str) -> None:
    structure = KINDS[name].copy()
    charge = np.random.default_rng(2).normal(size=len(structure))
    charge -= charge.mean()
    if len(structure) == 1:
        structure, charge = structure * (2, 1, 1), np.array([1.5, -1.5])
    charged = structure.copy().add_oxidation_state_by_site(charge.tolist())
    expected = EwaldSummation(charged, acc_factor=DIGITS).total_energy
    assert ewald_energy(structure, charge) == pytest.approx(expected, rel=1e-9, abs=1e-9)


PARAMETERS = [name for name, structure in KINDS.items() if all(site.specie in BV_PARAMS for site in structure)]


@pytest.mark.parametrize("name", PARAMETERS)
def test_bond_valences_are_those_of_pymatgen(name: str) -> None:
    structure = KINDS[name]
    near = structure.get_all_neighbors(BOND_RADIUS)
    valence = np.array([calculate_bv_sum(site, sites, GGA_SCALE) for site, sites in zip(structure, near, strict=True)])
    guess, _ = guess_charges(tuple(sorted(structure.atomic_numbers)))
    found = features(structure)
    assert found["bond_valence_mean_abs"] == pytest.approx(np.abs(valence).mean(), rel=1e-9, abs=1e-12)
    assert found["has_instability"] == (guess is not None)
    if guess is not None:
        deviation = valence - [guess[z] for z in structure.atomic_numbers]
        assert found["global_instability"] == pytest.approx(np.sqrt((deviation**2).mean()), rel=1e-9)


@pytest.mark.parametrize("name", [name for name in KINDS if name not in PARAMETERS])
def test_there_are_no_bond_valences_without_parameters(name: str) -> None:
    assert not any(value for column, value in features(KINDS[name]).items() if column in CHARGES[-5:])
