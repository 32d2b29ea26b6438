"""Chemical formula -> whole numbers of atoms, or the reason why there are none."""

import re
from fractions import Fraction
from math import lcm

import numpy as np
from pymatgen.core import Composition, DummySpecies

MAX_CHARACTERS = 300
MAX_QUOTED = 60  # characters of a formula in a message
MAX_ATOMS = 10_000  # of a formula, after its amounts have been made whole numbers
EXACT_DENOMINATOR = 100  # amounts with up to two decimals stay as they are
MAX_DENOMINATOR = 1000
TOLERANCE = 5e-4  # of other amounts: 0.333 and 0.667 are thirds
TOKENS = re.compile(r"(?:[A-Z][a-z]?+|[()\[\]{}]|\d++(?:\.\d++)?+|\.\d++)+")  # possessive: a refusal takes no longer
ISOTOPES = {"D": "deuterium", "T": "tritium"}
HYDRATE = re.compile(r"\d\.\d+H2O")
SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")


def parse_formula(text: str) -> dict[int, int]:
    """Return atomic number -> number of atoms of a formula such as Fe2O3, Ca(OH)2 or Li0.5CoO2.

    The numbers are those written, or the smallest whole ones in the same proportion; brackets may be nested. Raises ValueError
    for unknown elements, isotopes, charges, variables, and formulas that are too large or can be read in two ways.
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"the formula has {len(text)} characters; the limit is {MAX_CHARACTERS}")
    written, shown = "".join(text.translate(SUBSCRIPTS).split()), repr(text[:MAX_QUOTED])
    if not TOKENS.fullmatch(written):
        raise ValueError(f"{shown} is not a formula such as Fe2O3, Ca(OH)2 or Li0.5CoO2: elements, amounts and brackets alone")
    if isotopes := [name for name in re.findall("[A-Z][a-z]?", written) if name in ISOTOPES]:
        raise ValueError(f"{shown}: {isotopes[0]} is {ISOTOPES[isotopes[0]]}; write H if it should count as hydrogen")
    if HYDRATE.search(written):
        raise ValueError(f"{shown} can be read in two ways; write the water in brackets, as in CuSO4(H2O)5")
    try:
        composition = Composition(written)
    except Exception as error:  # pymatgen raises exceptions of several types
        raise ValueError(f"{shown} is not a formula ({error})") from error
    if unknown := [symbol for symbol in composition if isinstance(symbol, DummySpecies)]:
        raise ValueError(f"{shown}: {unknown[0].symbol} is not an element")
    if not composition:
        raise ValueError(f"{shown}: no atoms")
    return _whole(shown, {element.Z: float(amount) for element, amount in composition.items()})


def _whole(shown: str, amounts: dict[int, float]) -> dict[int, int]:
    """Return whole numbers in the proportion of the amounts."""
    values = np.array(list(amounts.values()))
    if not values.sum() <= MAX_ATOMS:
        raise ValueError(f"{shown} has {values.sum():.6g} atoms; the limit is {MAX_ATOMS}")
    exact = [Fraction(value).limit_denominator(EXACT_DENOMINATOR) for value in values.tolist()]
    factor = lcm(*(fraction.denominator for fraction in exact))
    if factor > EXACT_DENOMINATOR or max(abs(float(f) - v) for f, v in zip(exact, values, strict=True)) > 1e-9:
        factors = np.arange(1, MAX_DENOMINATOR + 1)[:, None]
        counts = np.rint(values * factors)
        good = ((np.abs(counts / factors - values) <= TOLERANCE) & (counts >= 1)).all(axis=1)
        if not good.any():
            raise ValueError(f"{shown}: amounts below {1 / MAX_DENOMINATOR} are not read")
        factor = int(factors[good.argmax(), 0])
    numbers = np.rint(values * factor).astype(int).tolist()
    if sum(numbers) > MAX_ATOMS:
        raise ValueError(f"{shown} has {sum(numbers)} atoms in whole numbers; the limit is {MAX_ATOMS}: write fewer decimals")
    return dict(zip(amounts, numbers, strict=True))
