"""A crystal: lattice, atoms, and nothing else. It knows neither files nor graphs."""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifParser

N_ELEMENTS = 119  # atomic numbers are the indices of every per-element table; index 0 stays unused


@dataclass(frozen=True, eq=False)
class Crystal:
    """One ordered periodic structure.

    lattice: (3, 3), Angstrom, lattice vectors as rows.
    frac_coords: (n_atoms, 3), fractional.
    atomic_numbers: (n_atoms,).
    """

    lattice: NDArray[np.float64]
    frac_coords: NDArray[np.float64]
    atomic_numbers: NDArray[np.int64]

    @property
    def n_atoms(self) -> int:
        return len(self.atomic_numbers)

    @property
    def cart_coords(self) -> NDArray[np.float64]:
        """(n_atoms, 3), Angstrom."""
        return self.frac_coords @ self.lattice

    @property
    def volume(self) -> float:
        """Angstrom^3."""
        return abs(float(np.linalg.det(self.lattice)))

    @property
    def element_counts(self) -> NDArray[np.int64]:
        """(N_ELEMENTS,): how many atoms of each atomic number the cell holds."""
        return np.bincount(self.atomic_numbers, minlength=N_ELEMENTS)

    @classmethod
    def from_structure(cls, structure: Structure) -> "Crystal":
        """A Crystal from an ordered pymatgen Structure; ValueError for empty, disordered or flat ones."""
        if len(structure) == 0:
            raise ValueError("no atoms")
        if not structure.is_ordered:
            sites = [site.species_string for site in structure if not site.is_ordered]
            raise ValueError(f"disordered sites: {', '.join(sites[:3])}")
        lattice = np.array(structure.lattice.matrix, dtype=np.float64)
        if not np.isfinite(lattice).all() or abs(np.linalg.det(lattice)) < 1e-6:
            raise ValueError("the cell has no volume")
        numbers = np.array([site.specie.Z for site in structure], dtype=np.int64)
        return cls(lattice, np.array(structure.frac_coords, dtype=np.float64), numbers)

    @classmethod
    def from_cif(cls, cif: str) -> "Crystal":
        """A Crystal from the text of a CIF file, in the cell as written; ValueError if it does not hold just one."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Issues encountered while parsing CIF")  # 0.3333 becomes 1/3: as wanted
            structures = CifParser.from_str(cif).parse_structures(primitive=False, check_occu=True)
        if len(structures) != 1:
            raise ValueError(f"the CIF holds {len(structures)} structures, expected one")
        return cls.from_structure(structures[0])

    def to_structure(self) -> Structure:
        """The same crystal for pymatgen."""
        return Structure(Lattice(self.lattice), self.atomic_numbers, self.frac_coords)
