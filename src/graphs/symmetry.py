"""Orbits of atoms under the space group, and the operations that connect them.

moyopy finds the operations within a tolerance. They are then verified: each must map the structure onto itself and be a
rotation, and together they must act on the atoms as a group does. If any check fails, the crystal is treated as having no
symmetry, which costs time but no accuracy.

Graphs with one atom per orbit are known from invariant networks (Ruff et al., Digital Discovery 3, 594 (2024),
doi:10.1039/D4DD00018H: asymmetric units). Equivariant features also need the operations, which rotate them.
"""

from dataclasses import dataclass, replace

import moyopy
import numpy as np
from numpy.typing import NDArray

from src.data.crystal import Crystal

SYMPREC = 1e-3  # Angstrom, how far an image may lie from the atom that it maps onto
MAX_PAIRS = 30_000_000  # operations times pairs of atoms, a few seconds; a larger cell is treated as having no symmetry
PAIRS_AT_ONCE = 30_000  # whose distances are held in memory; more are no faster


@dataclass(frozen=True, eq=False)
class Symmetry:
    """Space-group operations as they act on the atoms of one cell.

    Operation g maps atom j in the home cell to atom `image[g, j]` in cell `shift[g, j]`, and atom j in cell S to the same atom in
    cell `frac_rotation[g] @ S + shift[g, j]`.

    frac_rotation: (n_ops, 3, 3), integers, acting on fractional columns.
    translation: (n_ops, 3), fractional, applied after the rotation.
    image: (n_ops, n_atoms), index of an atom.
    shift: (n_ops, n_atoms, 3), integers, lattice vectors.
    """

    frac_rotation: NDArray[np.int64]
    translation: NDArray[np.float64]
    image: NDArray[np.int64]
    shift: NDArray[np.int64]

    @property
    def representative(self) -> NDArray[np.int64]:
        """The first atom of each atom's orbit, (n_atoms,)."""
        return self.image.min(axis=0)


def identity(n_atoms: int) -> Symmetry:
    """Return the trivial group: every atom is its own orbit."""
    shift = np.zeros((1, n_atoms, 3), dtype=np.int64)
    return Symmetry(np.eye(3, dtype=np.int64)[None], np.zeros((1, 3)), np.arange(n_atoms)[None], shift)


def find_symmetry(crystal: Crystal, symprec: float = SYMPREC) -> Symmetry:
    """Return the verified space-group operations of a crystal, or the trivial group if they cannot be verified."""
    operations = _search(crystal, symprec)
    if operations is None or len(operations[0]) * crystal.n_atoms**2 > MAX_PAIRS:
        return identity(crystal.n_atoms)
    return _verify(crystal, *operations, symprec) or identity(crystal.n_atoms)


def _search(crystal: Crystal, symprec: float) -> tuple[NDArray[np.int64], NDArray[np.float64]] | None:
    try:
        operations = moyopy.MoyoDataset(crystal.to_moyo(), symprec=symprec).operations
    except ValueError:  # moyopy raises it if its search fails, on coincident atoms for instance
        return None
    return np.array(operations.rotations, dtype=np.int64), np.array(operations.translations)


def _verify(
    crystal: Crystal, frac_rotation: NDArray[np.int64], translation: NDArray[np.float64], symprec: float
) -> Symmetry | None:
    """Return the operations as permutations of atoms, or None if one of them is not a symmetry within the tolerance."""
    lattice, frac = crystal.lattice, crystal.frac_coords
    rotation = cartesian_rotations(lattice, frac_rotation)
    moved = frac @ frac_rotation.transpose(0, 2, 1) + translation[:, None, :]  # (n_ops, n_atoms, 3)
    n_parts = -(-len(moved) * crystal.n_atoms**2 // PAIRS_AT_ONCE)
    image = np.concatenate([_nearest(points, crystal) for points in np.array_split(moved, n_parts)])
    separation = moved - frac[image]
    shift = np.round(separation)
    within = np.linalg.norm((separation - shift) @ lattice, axis=-1).max() <= 2 * symprec
    is_rotation = np.abs(rotation @ rotation.transpose(0, 2, 1) - np.eye(3)).max() <= 2 * symprec
    is_permutation = (np.sort(image, axis=1) == np.arange(crystal.n_atoms)).all()
    if not (within and is_rotation and is_permutation and _acts_as_group(image)):
        return None
    return Symmetry(frac_rotation, translation, image, shift.astype(np.int64))


def _nearest(moved: NDArray[np.float64], crystal: Crystal) -> NDArray[np.int64]:
    """Return the nearest atom of the same element for each atom that was moved, (n_ops, n_atoms). moved: (n_ops, n_atoms, 3)."""
    separation = moved[:, :, None, :] - crystal.frac_coords  # (n_ops, n_atoms, n_atoms, 3)
    separation -= np.round(separation)
    square = np.square(separation @ crystal.lattice).sum(axis=-1)
    square[:, crystal.atomic_numbers[:, None] != crystal.atomic_numbers] = np.inf
    return square.argmin(axis=-1)


def cartesian_rotations(lattice: NDArray[np.float64], frac_rotation: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the rotations as they act on Cartesian columns, (n_ops, 3, 3), possibly improper.

    They are orthogonal if the lattice has the symmetry exactly.
    """
    return lattice.T @ frac_rotation @ np.linalg.inv(lattice.T)


def symmetrize(crystal: Crystal, symmetry: Symmetry) -> Crystal:
    """Return the crystal with its lattice and positions averaged over the operations, so that they hold exactly.

    An invariant energy changes only by the square of the deviation: its gradient at the symmetric crystal is itself
    symmetric, and a deviation averages to zero over the group.
    """
    w = symmetry.frac_rotation
    metric = (w.transpose(0, 2, 1) @ (crystal.lattice @ crystal.lattice.T) @ w).mean(axis=0)
    inverse = np.linalg.inv(crystal.lattice)
    square, axes = np.linalg.eigh(inverse @ metric @ inverse.T)
    strain = (axes * np.sqrt(square)) @ axes.T  # lattice @ strain has the averaged metric, without a rotation
    moved = crystal.frac_coords @ w.transpose(0, 2, 1) + symmetry.translation[:, None, :] - symmetry.shift
    total = np.zeros_like(crystal.frac_coords)
    np.add.at(total, symmetry.image.ravel(), moved.reshape(-1, 3))
    return replace(crystal, lattice=crystal.lattice @ strain, frac_coords=total / len(w))


def _acts_as_group(image: NDArray[np.int64]) -> bool:
    """Check the orbit-stabiliser theorem for every atom: n_ops = size of its orbit x operations that leave it in place."""
    n_ops, n_atoms = image.shape
    n_hits = np.stack([np.bincount(reached, minlength=n_atoms) for reached in image.T])  # (n_atoms, n_atoms)
    is_even = n_hits * (n_hits > 0).sum(axis=1, keepdims=True) == n_ops
    representative = image.min(axis=0)
    return bool((is_even | (n_hits == 0)).all() and (representative[image] == representative).all())
