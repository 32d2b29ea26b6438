"""How new crystals differ from those that a model was trained on: unseen elements, distance, duplicates, short bonds."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Element, Lattice

from src.data.crystal import N_ELEMENTS
from src.data.table import Crystals, CrystalTable
from src.features.geometry import atomic_radii, lattice_lengths, primitive_cell
from src.storage.cache import cache_key, cached, in_chunks
from src.storage.files import damaged, npz_bytes, read_npz, write_atomic

SHAPES_PER_TASK = 64  # crystals
N_SHAPE = 12  # columns of `shape` and `bond` together
# of log_n_atoms, log_volume_per_atom, seven lattice lengths, and the mean distances to the nearest atom and to all others: file
# formats round by 1e-6 or less and the symmetry search moves atoms by 1e-3 Angstrom, while polymorphs differ by percents
SAME_SHAPE = 2e-3
FAR_QUANTILE = 0.99  # of the distances between training crystals: one crystal in a hundred of their kind is called far
N_JUDGED = 2000  # training crystals whose nearest neighbours give that quantile: its error is then a fraction of a percent
SHORT = 0.6  # of the sum of two atomic radii; the shortest bond in FLLA has 0.64. It holds if training has odd crystals itself
UNKNOWN_RADIUS = 1.5  # Angstrom, a typical one, for the heaviest elements
FIELDS = ("ids", "fractions", "shape", "bond", "far")


@dataclass(frozen=True, eq=False)
class Likeness:
    """The quantities by which crystals are compared, the same for every cell; formulas are compared by `fractions` alone.

    fractions: (n, N_ELEMENTS), atomic fractions by atomic number.
    shape: (n, 11), the quantities that SAME_SHAPE lists; lengths are divided by the cube root of the primitive cell's volume.
    bond: (n,), the shortest distance between two atoms, divided by the sum of their atomic radii.
    For a formula, shape and bond are NaN.
    """

    fractions: NDArray[np.float32]
    shape: NDArray[np.float32]
    bond: NDArray[np.float32]

    @property
    def has_structure(self) -> bool:
        """True if none of the crystals is a formula alone."""
        return not bool(np.isnan(self.bond).any())

    @property
    def point(self) -> NDArray[np.float32]:
        """Coordinates for distances: a tenth of the composition, of the log volume and of the lattice lengths count alike."""
        return np.concatenate([self.fractions, self.shape[:, 1:2], self.shape[:, 2:9] / np.sqrt(7)], axis=1)


def likeness(crystals: Crystals, n_jobs: int = 1) -> Likeness:
    """Return the description of each crystal."""
    n = len(crystals)
    rows = in_chunks(partial(_shapes, crystals), range(n), n, SHAPES_PER_TASK, "comparing with training", n_jobs)
    shape = np.concatenate([np.zeros((0, N_SHAPE)), *rows])
    counts = crystals.element_counts
    fractions = counts / counts.sum(axis=1, keepdims=True)
    return Likeness(*(x.astype(np.float32) for x in (fractions, shape[:, :-1], shape[:, -1])))


def _shapes(crystals: Crystals, chunk: list[int]) -> NDArray[np.float64]:
    """Return `shape` and `bond` side by side, (len(chunk), N_SHAPE)."""
    rows, radius = [], np.where(atomic_radii() > 0, atomic_radii(), UNKNOWN_RADIUS)
    for i in chunk:
        if not crystals[i].has_structure:
            rows.append([np.nan] * N_SHAPE)
            continue
        cell, _ = primitive_cell(crystals[i])
        volume, n = cell.volume, cell.n_atoms
        lengths = lattice_lengths(cell.lattice)
        distance = Lattice(cell.lattice).get_all_distances(cell.frac_coords, cell.frac_coords) / volume ** (1 / 3)
        others = distance.sum() / max(1, n * (n - 1))
        np.fill_diagonal(distance, lengths[0])  # the nearest image of an atom itself
        radii = cell.at_sites(radius)
        bond = (distance / (radii[:, None] + radii)).min() * volume ** (1 / 3)
        rows.append([np.log(n), np.log(volume / n), *lengths, distance.min(axis=1).mean(), others, bond])
    return np.array(rows)


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """The crystals that a model was trained on, in a form that is published with it.

    ids: (n,). far: the distance between points beyond which a crystal is called far from all of them.
    """

    ids: NDArray[np.str_]
    known: Likeness
    far: float

    @classmethod
    def of(cls, ids: NDArray[np.str_], crystals: Crystals, n_jobs: int = 1) -> "TrainingSet":
        """Return the description of a training table."""
        known = likeness(crystals, n_jobs)
        judged = np.random.default_rng(0).permutation(len(ids))[:N_JUDGED]
        point = cls(ids, known, np.inf).coordinates(known)
        nearest = _nearest(point, point[judged], rank=min(1, len(ids) - 1))  # the first is the crystal itself
        return cls(ids, known, float(np.quantile(nearest, FAR_QUANTILE)))

    @classmethod
    def cached(cls, table: CrystalTable, key: str, cache: Path, n_jobs: int = 1) -> "TrainingSet":
        """Return the description of a training table, from `cache` if it is there. key: identifies the table."""
        path = cache / f"training-{cache_key(key, None, __name__)}.npz"
        build = lambda: cls.of(table.ids, table.crystals, n_jobs).save(path)
        return cached(path, lambda file: cls.load(file, "remove it, and it will be rebuilt"), build)

    def save(self, path: Path) -> None:
        """Write the description as a compressed .npz file."""
        write_atomic(path, npz_bytes({"ids": self.ids, "far": self.far, **vars(self.known)}))

    @classmethod
    def load(cls, path: Path, remedy: str) -> "TrainingSet":
        """Return what `save` wrote. Raises ValueError if the file is damaged. remedy: what to do then."""
        ids, fractions, shape, bond, far = read_npz(path, FIELDS, remedy)
        if {len(x) for x in (fractions, shape, bond)} != {len(ids)} or fractions.shape[1:] != (N_ELEMENTS,):
            raise damaged(path, "its arrays do not belong together", remedy)
        return cls(ids, Likeness(fractions, shape, bond), float(far))

    def coordinates(self, found: Likeness) -> NDArray[np.float32]:
        """Return the coordinates in which crystals are compared with these, (n, n_coordinates).

        If these are formulas, the coordinates are the composition alone; a formula among crystals has their mean shape.
        """
        if not self.known.has_structure:
            return found.fractions
        return np.where(np.isnan(found.point), self.known.point.mean(axis=0), found.point)

    def remarks(self, found: Likeness, elements_are_alike: bool = False) -> list[str]:
        """Return what is unusual about each crystal compared with these; an empty text if nothing is.

        elements_are_alike: the model predicts one value for all crystals of a single element, which gets a remark.
        """
        unseen = (found.fractions > 0) & ~(self.known.fractions > 0).any(axis=0)
        has_structure = self.known.has_structure
        distance = _nearest(self.coordinates(self.known), self.coordinates(found))
        least = max(SHORT, float(self.known.bond.min())) if has_structure else 0.0
        same_what = "duplicate of the training crystal" if has_structure else "same composition as the training row"
        notes: list[list[str]] = [[] for _ in found.bond]
        for i, note in enumerate(notes):
            if unseen[i].any():
                symbols = " ".join(Element.from_Z(int(z)).symbol for z in np.flatnonzero(unseen[i]))
                note.append(f"never seen in training: {symbols}")
            elif distance[i] > self.far:
                note.append("far from all training crystals")
            if elements_are_alike and (found.fractions[i] > 0).sum() == 1:
                note.append("one element: its value is a constant, the median of such training crystals")
            if found.bond[i] < least:
                shortest = f"its shortest bond is {found.bond[i]:.2f} of the atomic radii"
                note.append(f"unrelaxed? {shortest}, expected {least:.2f} or more")
            if distance[i] <= 2 * SAME_SHAPE and len(same := self._same(found, i)):
                note.append(f"{same_what} {', '.join(self.ids[same[:3]])}")
        return ["; ".join(note) for note in notes]

    def _same(self, found: Likeness, i: int) -> NDArray[np.int64]:
        """Return the training crystals that equal crystal i of `found` within the tolerance in all quantities."""
        alike = np.arange(len(self.ids))
        if self.known.has_structure:
            alike = np.flatnonzero((np.abs(self.known.shape - found.shape[i]) <= SAME_SHAPE).all(axis=1))
        return alike[(np.abs(self.known.fractions[alike] - found.fractions[i]) <= 1e-6).all(axis=1)]


def _nearest(known: NDArray[np.float32], points: NDArray[np.float32], rank: int = 0) -> NDArray[np.float64]:
    """Return the distance of each point to its nearest known point, or to the next ones by `rank`, (n_points,)."""
    others = known.astype(np.float64)
    square, parts = (others**2).sum(axis=1), [np.zeros(0)]
    for i in range(0, len(points), SHAPES_PER_TASK):
        own = points[i : i + SHAPES_PER_TASK].astype(np.float64)
        squares = (own**2).sum(axis=1)[:, None] + square - 2 * own @ others.T  # (SHAPES_PER_TASK, n_known)
        parts.append(np.sqrt(np.maximum(np.partition(squares, rank, axis=1)[:, rank], 0)))
    return np.concatenate(parts)
