"""Shape and symmetry of a crystal, the same for every cell that describes it."""

import itertools
import warnings
from dataclasses import dataclass
from functools import cached_property, lru_cache

import moyopy
import numpy as np
from numpy.typing import ArrayLike, NDArray
from pymatgen.core import Element, IStructure

from src.data.crystal import N_ELEMENTS, SELF_DISTANCE, Crystal, Pairs, points_within

FEATURE_SYMPREC = 1e-3  # Angstrom, as for graphs
SYSTEMS = ("triclinic", "monoclinic", "orthorhombic", "tetragonal", "trigonal", "hexagonal", "cubic")
GEOMETRY = (
    *("log_n_atoms", "volume_per_atom", "log_volume_per_atom", "density", "packing_fraction", "min_distance"),
    *(f"lattice_length_{i}" for i in range(7)),
)
SYMMETRY = (
    *(f"is_{name}" for name in SYSTEMS),
    *("is_centrosymmetric", "log_point_group_order", "orbits_per_atom", "space_group"),
)

STEPS = np.array(list(itertools.product(range(-2, 3), repeat=3)))  # lattice vectors, in multiples of those of a reduced cell
COSETS = (STEPS % 2) @ [4, 2, 1]  # of lattice vectors that agree modulo 2


@dataclass(frozen=True, eq=False)
class PrimitiveCrystal:
    """A crystal in a primitive cell, averaged over its space group: the only input of the features, for any given cell.

    n_orbits: classes of symmetry-equivalent atoms.
    symmetry_found: False if the search failed; the space group is then P1, and nothing is averaged.
    """

    cell: Crystal
    space_group: int
    n_orbits: int
    symmetry_found: bool = True

    @cached_property
    def structure(self) -> IStructure:
        """The cell as pymatgen takes it."""
        return IStructure(self.cell.lattice, self.cell.species, self.cell.frac_coords)


def crystal_system(space_group: int) -> str:
    """Return the crystal system, one of SYSTEMS, of a space group given by its number."""
    return str(moyopy.SpaceGroupType(space_group).crystal_system).lower()


def primitive_crystal(crystal: Crystal) -> PrimitiveCrystal:
    """Return the crystal in moyopy's standardised primitive cell."""
    cell, found = primitive_cell(crystal)
    if found is None:
        return PrimitiveCrystal(cell, 1, cell.n_atoms, symmetry_found=False)
    return PrimitiveCrystal(cell, found.number, len(set(found.orbits)))


def primitive_cell(crystal: Crystal) -> tuple[Crystal, moyopy.MoyoDataset | None]:
    """Return the cell of `primitive_crystal`, its coordinates in [0, 1), and the symmetry; None if the search for it failed."""
    try:
        found = moyopy.MoyoDataset(crystal.to_moyo(), symprec=FEATURE_SYMPREC)
    except ValueError:  # moyopy raises it if its search fails, on coincident atoms for instance
        if len(crystal.mixtures):
            return _inside(crystal.lattice, crystal.frac_coords, crystal.atomic_numbers, crystal), None
        structure = crystal.to_structure().get_primitive_structure()
        return _inside(structure.lattice.matrix, structure.frac_coords, structure.atomic_numbers, crystal), None
    primitive = found.prim_std_cell
    return _inside(primitive.basis, primitive.positions, primitive.numbers, crystal), found


def _inside(lattice: ArrayLike, frac_coords: ArrayLike, numbers: ArrayLike, crystal: Crystal) -> Crystal:
    inside = np.round(np.asarray(frac_coords), 10) % 1.0  # pymatgen's Voronoi cells want [0, 1), and -1e-17 % 1 is 1
    return Crystal(np.array(lattice), inside, np.array(numbers, dtype=np.int64), crystal.mixtures)


@lru_cache
def atomic_radii() -> NDArray[np.float64]:
    """Return pymatgen's atomic radius of each element, (N_ELEMENTS,), Angstrom; the calculated one, or zero, if it has none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pymatgen's on elements without one
        elements = [Element.from_Z(z) for z in range(1, N_ELEMENTS)]
        return np.array([0.0, *(float(one.atomic_radius or one.atomic_radius_calculated or 0) for one in elements)])


def find_pairs(structure: IStructure, radius: float) -> Pairs:
    """Return centre and neighbour (indices of atoms), cell of the neighbour (n_pairs, 3) and distance (Angstrom) of each pair.

    These are the pairs that IStructure.get_neighbor_list finds within a radius (Angstrom), without its loops.
    """
    coords = structure.cart_coords
    centre, neighbor, cell, distance = points_within(coords, coords, structure.lattice.matrix, radius)
    keep = np.flatnonzero(distance > SELF_DISTANCE)  # an atom is no neighbour of itself
    return centre[keep], neighbor[keep], cell[keep], distance[keep]


def geometry(crystal: PrimitiveCrystal) -> list[float]:
    """Return GEOMETRY: atoms in the primitive cell, volumes (Angstrom^3), density (g/cm^3), packing, distances (Angstrom).

    packing_fraction: volume of spheres of pymatgen's atomic radii over that of the cell; a radius that was not measured is the
    calculated one, or zero if there is neither. min_distance: the shortest between two atoms. lattice_length_i: see
    `lattice_lengths`.
    """
    structure = crystal.structure
    volume = structure.volume / len(structure)
    packing = 4 / 3 * np.pi * (crystal.cell.at_sites(atomic_radii()) ** 3).sum() / structure.volume
    return [
        *(np.log(len(structure)), volume, np.log(volume), float(structure.density), packing, min_distance(structure)),
        *lattice_lengths(crystal.cell.lattice),
    ]


def lattice_lengths(lattice: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sorted square roots of the vonorms of a lattice, over the cube root of its volume, (7,).

    A vonorm is the least squared length among the lattice vectors that agree modulo 2. The seven of them do not depend on the
    basis, change continuously with the lattice, and determine it; lengths and angles of a reduced cell jump.
    Source: Conway, Sloane, Proc. R. Soc. Lond. A 436, 55 (1992), doi:10.1098/rspa.1992.0004.
    lattice: (3, 3), vectors as rows.
    """
    reduced = np.array(moyopy.minkowski_reduce(lattice.tolist())[0])
    length = np.linalg.norm(STEPS @ reduced, axis=1)
    shortest = [length[c == COSETS].min() for c in range(1, 8)]
    return np.sort(shortest) / abs(np.linalg.det(lattice)) ** (1 / 3)


def min_distance(structure: IStructure) -> float:
    """Return the shortest distance between two atoms, periodic images included, Angstrom."""
    distance = np.array(structure.distance_matrix)
    np.fill_diagonal(distance, np.inf)
    shortest_vector = lattice_lengths(np.array(structure.lattice.matrix))[0] * structure.volume ** (1 / 3)
    return float(min(distance.min(), shortest_vector))


def symmetry(crystal: PrimitiveCrystal) -> list[float]:
    """Return SYMMETRY: crystal system (one-hot), inversion, order of the point group, orbits per atom, space group / 230."""
    system = crystal_system(crystal.space_group)
    rotations = np.array(moyopy.operations_from_number(crystal.space_group, primitive=True).rotations)
    centrosymmetric = (rotations == -np.eye(3)).all(axis=(1, 2)).any()
    return [
        *(float(system == name) for name in SYSTEMS),
        *(float(centrosymmetric), np.log(len(rotations)), crystal.n_orbits / len(crystal.structure), crystal.space_group / 230),
    ]
