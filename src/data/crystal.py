"""Crystal: a lattice and its atoms, or only the atoms of a formula, independent of files and graphs."""

import logging
import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import moyopy
import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Composition, DummySpecies, Element, Lattice, Structure
from pymatgen.optimization.neighbors import find_points_in_spheres

from src.config.knobs import N_ELEMENTS
from src.data.cif import WHOLE, parse_cif, read_plain

MIN_THICKNESS = 0.5  # Angstrom, between opposite faces of a cell; the thinnest primitive cells of elements have 2
MIN_DISTANCE = 0.2  # Angstrom, between atoms; below half the thickness, so that the nearest image is the rounded one
ATOMS_AT_ONCE = 256  # atoms whose distances to all others are held in memory at once
MAX_LENGTH = 1_000.0  # Angstrom, of a lattice vector
MAX_VOLUME = 20_000.0  # Angstrom^3 per atom: one atom in a cube with a side of 27 Angstrom
SELF_DISTANCE = 1e-8  # Angstrom; a point closer than this is the centre itself, as in pymatgen
MAX_FORMULA = 300  # characters of a formula
MAX_QUOTED = 60  # characters of a formula in a message
MAX_FORMULA_ATOMS = 10_000
EXACT_DENOMINATOR = 100  # amounts with up to two decimals are whole numbers in their proportion
ROUNDED_DENOMINATOR, AMOUNT_TOLERANCE = 12, 5e-4  # 0.333 and 0.667 are thirds, rounded; other amounts count as written
SHARE_DECIMALS = 8  # of shares of atoms that are compared, and of occupancies
TOKENS = re.compile(r"(?:[A-Z][a-z]?+|[()\[\]{}]|\d++(?:\.\d++)?+|\.\d++)+")  # possessive: a refusal takes no longer
ISOTOPES = {"D": "deuterium", "T": "tritium"}
HYDRATE = re.compile(r"\d\.\d+H2O")
SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
Pairs = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Crystal:
    """One periodic structure, or a formula alone.

    lattice: (3, 3), Angstrom, lattice vectors as rows; (0, 3) if there is no structure.
    frac_coords: (n_atoms, 3), fractional; NaN if there is no structure.
    atomic_numbers: (n_atoms,). N_ELEMENTS + k stands for a site with mixture k: sites of one mixture are one class.
    mixtures: (n_mixtures, N_ELEMENTS), amount of each element on such a site, by atomic number; none if the crystal is ordered.
        A formula with fractional amounts is one site with all of them. If the amounts on a site of a structure sum to less
        than 1, the rest is vacant: compositions count what is present, and averages over a site's species ignore the vacancy.
    """

    lattice: NDArray[np.float64]
    frac_coords: NDArray[np.float64]
    atomic_numbers: NDArray[np.int64]
    mixtures: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, N_ELEMENTS)))

    @property
    def n_atoms(self) -> int:
        """Number of atoms in the cell; a site with a mixture counts as one."""
        return len(self.atomic_numbers)

    @property
    def reduced_formula(self) -> str:
        """Reduced chemical formula, the same for every cell."""
        counts = self.element_counts
        z = np.flatnonzero(counts)
        amounts = whole_numbers(counts[z]) if len(self.mixtures) else counts[z]
        shares = np.round(counts[z] / counts.sum(), 6) if amounts is None else amounts
        return str(Composition(dict(zip(z.tolist(), shares.tolist(), strict=True))).reduced_formula)

    @property
    def has_structure(self) -> bool:
        """False for a formula: its atoms have no positions."""
        return len(self.lattice) > 0

    @property
    def is_disordered(self) -> bool:
        """True for a structure with a site that several elements share or that is vacant in some of the cells."""
        return self.has_structure and len(self.mixtures) > 0

    @property
    def cart_coords(self) -> NDArray[np.float64]:
        """Cartesian coordinates, (n_atoms, 3), Angstrom."""
        return self.frac_coords @ self.lattice

    @property
    def volume(self) -> float:
        """Volume of the cell, Angstrom^3."""
        return abs(float(np.linalg.det(self.lattice)))

    @property
    def element_counts(self) -> NDArray[Any]:
        """Number of atoms of each element in the cell, (N_ELEMENTS,), by atomic number; floats if there are mixtures."""
        counts = np.bincount(self.atomic_numbers, minlength=N_ELEMENTS + len(self.mixtures))
        return counts[:N_ELEMENTS] + counts[N_ELEMENTS:] @ self.mixtures if len(self.mixtures) else counts

    @property
    def occupancy(self) -> NDArray[np.float64]:
        """Number of atoms on each site, (n_atoms,): 1, or less if it is vacant in some of the cells."""
        return np.concatenate([np.ones(N_ELEMENTS), self.mixtures.sum(axis=1)])[self.atomic_numbers]

    def at_sites(self, table: NDArray[Any]) -> NDArray[Any]:
        """Return the value of each site, (n_atoms, ...), the mean over its atoms. table: (N_ELEMENTS, ...), by atomic number."""
        if not len(self.mixtures):
            return table[self.atomic_numbers]
        rows = [np.average(table[one > 0], axis=0, weights=one[one > 0]) for one in self.mixtures]  # a table may have NaN
        return np.concatenate([table, rows])[self.atomic_numbers]

    @classmethod
    def from_structure(cls, structure: Structure) -> "Crystal":
        """Return the Crystal of a pymatgen Structure; occupancies from WHOLE on count as whole atoms.

        Deuterium and tritium become hydrogen, and ions become atoms, because nothing here depends on mass or charge.
        Raises ValueError for no atoms, impossible occupancies, unknown elements, or a cell or distances beyond the limits above.
        """
        if len(structure) == 0:
            raise ValueError("no atoms")
        species = [one for site in structure for one in site.species]
        if unknown := [str(one) for one in species if isinstance(one, DummySpecies)]:
            raise ValueError(f"unknown elements: {', '.join(unknown[:3])}")
        on_sites = [_on_site(site) for site in structure]
        known = {one: N_ELEMENTS + k for k, one in enumerate(sorted({one for one in on_sites if not isinstance(one, int)}))}
        numbers = np.array([one if isinstance(one, int) else known[one] for one in on_sites], dtype=np.int64)
        mixtures = np.zeros((len(known), N_ELEMENTS))
        for k, one in enumerate(known):
            mixtures[k, [z for z, _ in one]] = [amount for _, amount in one]
        lattice, frac_coords = (np.array(x, dtype=np.float64) for x in (structure.lattice.matrix, structure.frac_coords))
        return _checked(cls(lattice, frac_coords, numbers, mixtures))

    @classmethod
    def from_cif(cls, cif: str) -> "Crystal":
        """Return the Crystal in the text of a CIF, in the cell as written; raise ValueError as `parse_cif` does."""
        if (plain := read_plain(cif)) is not None:
            with suppress(ValueError):  # what is wrong is for the parser to say
                return _checked(cls(*plain))
        return cls.from_structure(parse_cif(cif))

    @classmethod
    def from_formula(cls, formula: str) -> "Crystal":
        """Return the atoms of a chemical formula, without a structure; raise ValueError as `parse_formula` does."""
        counts, mixtures = parse_formula(formula), np.zeros((0, N_ELEMENTS))
        z, amounts = np.array(list(counts), dtype=np.int64), np.array(list(counts.values()))
        if amounts.dtype.kind == "f":
            mixtures = np.zeros((1, N_ELEMENTS))
            mixtures[0, z] = amounts
            z, amounts = np.array([N_ELEMENTS]), np.ones(1, dtype=np.int64)
        numbers = np.repeat(z, amounts)
        return cls(np.zeros((0, 3)), np.full((len(numbers), 3), np.nan), numbers, mixtures)

    def to_structure(self) -> Structure:
        """Return the crystal as a pymatgen Structure."""
        return Structure(Lattice(self.lattice), self.species, self.frac_coords)

    @property
    def species(self) -> Any:
        """What is on each site, as pymatgen takes it: atomic numbers, or the amounts of elements on mixed sites."""
        if not len(self.mixtures):
            return self.atomic_numbers
        mixed = [{Element.from_Z(int(z)): float(one[z]) for z in np.flatnonzero(one)} for one in self.mixtures]
        return [z if z < N_ELEMENTS else mixed[z - N_ELEMENTS] for z in self.atomic_numbers.tolist()]

    def to_moyo(self) -> moyopy.Cell:
        """Return the same crystal for moyopy, whose warnings about cells that are not primitive are silenced."""
        logging.getLogger("moyo").setLevel(logging.ERROR)
        return moyopy.Cell(self.lattice.tolist(), self.frac_coords.tolist(), self.atomic_numbers.tolist())


def _on_site(site: Any) -> int | tuple[tuple[int, float], ...]:
    """Return the atomic number of the one whole atom on a site, or the elements of several and their amounts."""
    amounts: dict[int, float] = {}
    for one, amount in site.species.items():
        amounts[one.Z] = amounts.get(one.Z, 0.0) + amount
    total = sum(amounts.values())
    if not 0 < total <= 2 - WHOLE:
        raise ValueError(f"disordered site {site.species_string}: the occupancies sum to {total:.6g}, not to 1 or less")
    if total >= WHOLE:
        if len(amounts) == 1:
            return next(iter(amounts))
        amounts = {z: amount / total for z, amount in amounts.items()}
    return tuple((z, round(amount, SHARE_DECIMALS)) for z, amount in sorted(amounts.items()))


def _checked(crystal: Crystal) -> Crystal:
    """Return the crystal; raise ValueError for an unphysical cell, coincident atoms, or coordinates that are not finite."""
    if not np.isfinite(crystal.lattice).all() or crystal.volume < 1e-6:
        raise ValueError("the cell has no volume")
    thinnest = 1 / np.linalg.norm(np.linalg.inv(crystal.lattice), axis=0).max()
    if thinnest < MIN_THICKNESS:
        raise ValueError(f"the cell is only {thinnest:.2g} Angstrom thick; the minimum is {MIN_THICKNESS}")
    longest, room = np.linalg.norm(crystal.lattice, axis=1).max(), crystal.volume / crystal.n_atoms
    if longest > MAX_LENGTH or room > MAX_VOLUME:
        found = f"vectors of up to {longest:.4g} Angstrom and {room:.4g} Angstrom^3 per atom"
        raise ValueError(f"the cell has {found}; the limits are {MAX_LENGTH:g} and {MAX_VOLUME:g}")
    if not np.isfinite(crystal.frac_coords).all():
        raise ValueError("coordinates are not finite numbers")
    frac = crystal.frac_coords
    for start in range(0, crystal.n_atoms, ATOMS_AT_ONCE):
        separation = frac[start : start + ATOMS_AT_ONCE, None] - frac  # (chunk, n_atoms, 3)
        distance = np.linalg.norm((separation - np.round(separation)) @ crystal.lattice, axis=-1)
        distance[np.arange(len(distance)), start + np.arange(len(distance))] = np.inf
        if distance.min() < MIN_DISTANCE:
            i, j = np.unravel_index(distance.argmin(), distance.shape)
            raise ValueError(f"coincident atoms: {start + i + 1} and {j + 1} are {distance.min():.2g} Angstrom apart")
    return crystal


def points_within(
    coords: NDArray[np.float64], centers: NDArray[np.float64], lattice: NDArray[np.float64], radius: float
) -> Pairs:
    """Return centre, point, cell of the point (n_pairs, 3) and distance of each pair within a radius; a centre finds itself too.

    coords, centers: (n_points, 3), (n_centers, 3), Cartesian. lattice: (3, 3), vectors as rows. All lengths in Angstrom.
    """
    coords, centers, lattice = (np.ascontiguousarray(array) for array in (coords, centers, lattice))
    return find_points_in_spheres(coords, centers, float(radius), np.ones(len(lattice), dtype=np.int64), lattice, SELF_DISTANCE)


def parse_formula(text: str) -> dict[int, int] | dict[int, float]:
    """Return atomic number -> number of atoms of a formula such as Fe2O3, Ca(OH)2, Li0.5CoO2 or Fe0.993C0.00095.

    The numbers are those written, or the smallest whole ones in the same proportion if there are such, see `whole_numbers`;
    brackets may be nested. Raises ValueError for unknown elements, isotopes, charges, variables, and formulas that are too large
    or can be read in two ways.
    """
    if len(text) > MAX_FORMULA:
        raise ValueError(f"the formula has {len(text)} characters; the limit is {MAX_FORMULA}")
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
    amounts = {element.Z: float(amount) for element, amount in composition.items()}
    if not (total := sum(amounts.values())) <= MAX_FORMULA_ATOMS:
        raise ValueError(f"{shown} has {total:.6g} atoms; the limit is {MAX_FORMULA_ATOMS}")
    whole = whole_numbers(np.array(list(amounts.values())))
    return amounts if whole is None else dict(zip(amounts, whole.tolist(), strict=True))


def whole_numbers(amounts: NDArray[np.float64]) -> NDArray[np.int64] | None:
    """Return the smallest whole numbers in the proportion of the amounts; None if they sum to more than MAX_FORMULA_ATOMS.

    It is also None for amounts with three or more decimals, unless they are rounded simple fractions.
    """
    for largest, tolerance in ((EXACT_DENOMINATOR, 1e-9), (ROUNDED_DENOMINATOR, AMOUNT_TOLERANCE)):
        factors = np.arange(1, largest + 1)[:, None]
        counts = np.rint(amounts * factors)
        good = ((np.abs(counts / factors - amounts) <= tolerance) & (counts >= 1)).all(axis=1)
        if good.any():
            found = counts[good.argmax()].astype(np.int64)
            return found if found.sum() <= MAX_FORMULA_ATOMS else None
    return None


def reduced(element_counts: NDArray[Any]) -> NDArray[Any]:
    """Return a form that rows with equal proportions share: the smallest whole numbers, or fractions if there are mixtures.

    element_counts: (n_crystals, N_ELEMENTS).
    """
    if element_counts.dtype.kind != "f":
        return element_counts // np.gcd.reduce(element_counts, axis=1)[:, None]
    return np.round(element_counts / element_counts.sum(axis=1, keepdims=True), SHARE_DECIMALS)
