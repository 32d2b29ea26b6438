"""Crystals to time: some of FLLA, the same without any symmetry, and large cells made of them."""

import numpy as np

from src.data.crystal import Crystal
from src.data.table import Crystals

STRAIN = 0.01  # standard deviation of a component
DISPLACEMENT = 0.02  # Angstrom, standard deviation of a coordinate
LARGE = range(40, 81)  # atoms
N_LARGE = 8


def choose(crystals: Crystals, n: int) -> list[Crystal]:
    """Return n crystals, always the same."""
    rows = np.random.default_rng(0).choice(len(crystals), n, replace=False)
    return [crystals[int(i)] for i in rows]


def without_symmetry(crystal: Crystal, seed: int) -> Crystal:
    """Return the crystal with a random strain and random displacements: its space group is P1, unless it has one element only."""
    rng = np.random.default_rng([1, seed])
    strain = rng.normal(0, STRAIN, (3, 3))
    lattice = crystal.lattice @ (np.eye(3) + (strain + strain.T) / 2)
    moves = rng.normal(0, DISPLACEMENT, (crystal.n_atoms, 3)) @ np.linalg.inv(lattice)
    return Crystal(lattice, crystal.frac_coords + moves, crystal.atomic_numbers)


def supercell(crystal: Crystal) -> Crystal | None:
    """Return the crystal in a cell of 40 to 80 atoms, its shortest lattice vector repeated until it is; None if it never is."""
    repeats = np.ones(3, dtype=int)
    while crystal.n_atoms * repeats.prod() < LARGE.start:
        repeats[np.argmin(repeats * np.linalg.norm(crystal.lattice, axis=1))] += 1
    if crystal.n_atoms * repeats.prod() not in LARGE:
        return None
    shifts = np.indices(repeats).reshape(3, -1).T  # (n_cells, 3)
    frac = (crystal.frac_coords + shifts[:, None]) / repeats  # (n_cells, n_atoms, 3)
    return Crystal(crystal.lattice * repeats[:, None], frac.reshape(-1, 3), np.tile(crystal.atomic_numbers, len(shifts)))


def make_samples(crystals: Crystals, n: int) -> dict[str, list[Crystal]]:
    """Return n crystals of a table, the same without symmetry, and large cells of some of them without symmetry."""
    chosen = choose(crystals, n)
    large = [cell for crystal in chosen if (cell := supercell(crystal)) is not None][:N_LARGE]
    return {
        "flla": chosen,
        "p1": [without_symmetry(crystal, i) for i, crystal in enumerate(chosen)],
        "cells": [without_symmetry(crystal, i) for i, crystal in enumerate(large)],
    }
