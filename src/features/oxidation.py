"""Oxidation states: what pymatgen's `Composition.oxi_state_guesses` ranks first, and how many guesses it finds.

pymatgen tries every combination of the states of all atoms. Here atoms, then elements, are added one by one, and only the best
way to reach each total charge is kept. Likelihoods are whole numbers, how often a state occurs in the ICSD, so that sums and ties
are exact; among guesses that are equally likely pymatgen's first one wins.
"""

import math
from functools import lru_cache

from pymatgen.analysis.bond_valence import PRIOR_PROB
from pymatgen.core import Composition, Element, Species

MAX_COMBINATIONS = 1_000_000  # of oxidation states, summed over elements; a composition with more has no guess


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
