"""Electrons that a formula has and that closed shells need: they tell metals from insulators without a structure.

In an insulator the electrons of the cations fill the octets of the anions (the 8 - N rule of Zintl phases: Schaefer, Eisenmann,
Mueller, Angew. Chem. Int. Ed. 12, 694 (1973)), and their number in a cell is even. Statistics over fractions, such as Magpie's,
see neither the number nor the balance.
"""

import itertools
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pymatgen.core import Element

from src.data.crystal import N_ELEMENTS
from src.features.charges import guess_charges, pauling
from src.storage.cache import in_chunks

ELECTRONS = (
    *("whole_amounts", "formula_atoms"),
    *("guess_exists", "guess_log_n", "guess_max", "guess_min", "guess_mean_abs", "guess_ionicity"),
    *("electrons_are_odd", "valence_electrons_are_odd", "valence_per_atom", "valence_sp_per_atom"),
    *("valence_per_anion", "valence_sp_per_anion", "octet_excess", "octet_excess_sp", "octet_distance", "octet_share"),
    *("octet_share_sp", "octet_is_full"),
)
LARGEST = 60  # atoms of a reduced formula whose numbers mean something
LEAST_OF_ANIONS = 1.9  # electronegativity, that of silicon
FORMULAS_PER_TASK = 64
OF_AMOUNTS = 1e-6  # difference between amounts, within which they are the same

Values = NDArray[np.float64]


def electrons(element_counts: NDArray[np.number], n_jobs: int, word2vec: Path | None) -> pd.DataFrame:
    """Return ELECTRONS, one row for each formula; what is undefined is zero. element_counts: (n_crystals, N_ELEMENTS).

    whole_amounts: 1 if the proportions are those of small whole numbers; otherwise there are no charges, nor even or odd numbers.
    guess_*: the likeliest charge-balanced oxidation states, in e; ionicity is their mean product with the electronegativity.
    valence: s, p and d electrons; sp: without d. Anions are the most electronegative element and those of groups 14 to 18 from
    1.9 on. octet_excess: valence electrons of the cations minus the holes of the anions, per atom; octet_share: their ratio.
    """
    whole = (np.abs(element_counts - np.round(element_counts)) < OF_AMOUNTS).all(axis=1)
    unit = np.where(whole, np.gcd.reduce(np.round(element_counts).astype(np.int64), axis=1), element_counts.sum(axis=1))
    amounts = element_counts / unit[:, None]
    n_atoms, present = amounts.sum(axis=1), amounts > 0
    whole &= n_atoms <= LARGEST
    number, valence, sp, electronegativity, holes, may_be_anion = _table()
    strongest = np.where(present, electronegativity, -1).argmax(axis=1)
    anion = present & ((may_be_anion > 0) | (np.arange(N_ELEMENTS) == strongest[:, None]))
    n_anions, needed = (amounts * anion).sum(axis=1), (amounts * anion) @ holes
    given, given_sp = (amounts * ~anion) @ valence, (amounts * ~anion) @ sp

    def odd(number: Values) -> Values:
        return np.where(whole, np.round(number) % 2, 0.5)

    def share(given: Values) -> Values:
        return np.divide(given, needed, out=np.zeros_like(given), where=needed > 0)

    shell = [(given - needed) / n_atoms, (given_sp - needed) / n_atoms, np.abs(given_sp - needed) / n_atoms]
    of_all = [amounts @ valence / n_atoms, amounts @ sp / n_atoms, amounts @ valence / n_anions, amounts @ sp / n_anions]
    columns = [
        *(whole, np.where(whole, n_atoms, 0), *_guessed(amounts, whole, electronegativity, n_jobs).T, odd(amounts @ number)),
        *(odd(amounts @ valence), *of_all, *shell, share(given), share(given_sp), np.abs(given_sp - needed) < OF_AMOUNTS),
    ]
    return pd.DataFrame(np.stack(columns, axis=1, dtype=np.float64), columns=list(ELECTRONS))


def _guessed(amounts: Values, whole: NDArray[np.bool_], electronegativity: Values, n_jobs: int) -> Values:
    """Return the columns guess_* of ELECTRONS, from the likeliest oxidation states, (n_crystals, 6)."""
    found = np.zeros((len(amounts), 6))
    some = np.flatnonzero(whole)
    different, row = np.unique(np.round(amounts[some]).astype(np.int64), axis=0, return_inverse=True)
    parts = in_chunks(_guess_rows, different, len(different), FORMULAS_PER_TASK, "guessing charges", n_jobs)
    guesses = list(itertools.chain.from_iterable(parts))
    for i, (charge, n_guesses) in zip(some, (guesses[k] for k in row.ravel()), strict=True):
        if charge is not None:
            z, q = np.array(list(charge)), np.array(list(charge.values()))
            weight = amounts[i, z] / amounts[i].sum()
            found[i] = 1, np.log(n_guesses), q.max(), q.min(), np.abs(q) @ weight, (electronegativity[z] * q) @ weight
    return found


def _guess_rows(amounts: list[NDArray[np.int64]]) -> list[tuple[dict[int, float] | None, int]]:
    return [guess_charges(tuple(np.repeat(np.arange(N_ELEMENTS), row).tolist())) for row in amounts]


@lru_cache
def _table() -> Values:
    """Return the properties of each element, (6, N_ELEMENTS): its number, valence electrons, those in s and p,
    electronegativity, holes in its octet, and whether it is an anion with any other element.
    """
    found = np.zeros((6, N_ELEMENTS))
    found[3] = np.nan_to_num(pauling())
    for z in range(1, N_ELEMENTS):
        element = Element.from_Z(z)
        is_f = element.is_lanthanoid or element.is_actinoid
        main = element.group - 10 if element.group > 12 else element.group
        valence = 2 if z == 2 else 3 if is_f else main
        sp = valence if element.group > 12 or element.group < 3 or is_f else 2
        holes = 1 if z == 1 else 8 - sp if element.group > 12 else 0
        found[:3, z], found[4:, z] = (z, valence, sp), (holes, element.group > 13 and found[3, z] >= LEAST_OF_ANIONS)
    return found
