"""The facts about a table that decide which recipes are tried. Of the outer fold they use one target, if it is the least."""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import skew, spearmanr

from src.config import FoldConfig
from src.data.crystal import N_ELEMENTS, Crystal, points_within, reduced
from src.data.load import TaskData, load_folds
from src.data.table import Crystals
from src.data.target import is_pure
from src.data.task import CLASS_METRICS
from src.features.layers import VACUUM, layer_of
from src.results.metrics import METRICS
from src.runs.inner import OUTER_FOLD

SAME_VOLUME, SAME_SURROUNDINGS = 1e-3, 1e-5  # relative differences between two cells of one crystal, by rounding
R_SURROUNDINGS = 5.0  # Angstrom
MANY_DUPLICATES = 0.01  # share of the rows, from which on folds keep them together
MANY_DECADES = 1.0  # decades between the 5% and the 95% quantile, from which on a logarithm is tried
SKEWED = 1.5  # from which on too
FOLDS, FEW_FOLDS = 10, 5  # few: of tables with few rows, or for a budget that is small for ten
MANY_ZEROS = 0.2  # share of the rows, from which on a recipe first judges whether a target is zero
GROWS = 0.8  # rank correlation of the target's size with the number of atoms
SMALL_TABLE = 1000  # rows; fewer are judged on three splits
N_STEPS, MIN_EPOCHS, MAX_EPOCHS = 3400, 20, 400  # of FLLA's 40 epochs in batches of 32
BATCH = 32
N_LAYERS = 200  # crystals at most, in which layers are looked for
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Look:
    """Facts about a table and one of its targets.

    bad_train, bad_test: rows that cannot be read. n_disordered: structures in both tables with mixed sites. atoms: median and
    largest number. n_formulas: that differ. duplicates: share of the training rows that repeat another one. layers: share of
    crystals that are layers in a vacuum. n_folds: see `folds_for`. given_folds: number of the task's own folds; 0: none.
    low: the least target of all rows, those of the outer fold included: each has to have a logarithm. high: of the target. zeros:
    share of rows with a target of zero. decades: of its magnitude, between the 5% and the 95% quantile; infinite if it has both
    signs or many zeros. growth: rank correlation of its magnitude with the number of atoms.
    """

    task: str
    target: str
    unit: str
    metric: str
    n_train: int
    n_test: int
    bad_train: int
    bad_test: int
    has_structure: bool
    n_disordered: int
    atoms: tuple[float, int]
    n_elements: int
    n_pure: int
    n_formulas: int
    duplicates: float
    layers: float
    n_folds: int
    given_folds: int
    columns: tuple[str, ...]
    low: float
    high: float
    zeros: float
    decades: float
    skew: float
    growth: float

    @property
    def folds(self) -> FoldConfig:
        """The folds of all recipes; a task's own count if it has some."""
        folds = folds_for(self.n_train, self.n_formulas, self.duplicates, self.n_folds)
        return replace(folds, n_folds=self.given_folds) if self.given_folds else folds

    @property
    def inner(self) -> FoldConfig:
        """Five splits of the training rows of the outer fold, drawn with another seed than the folds."""
        return FoldConfig(self.folds.scheme, 5, seed=1000)

    @property
    def transform(self) -> Literal["none", "log", "log1p"]:
        """The logarithm to try: for a positive target that is skewed or spans decades, or one scored by ratios."""
        if self.metric == "rmsle" or (self.low >= 0 and self.zeros > 0 and self.high > 1 and self.skew > SKEWED):
            return "log1p"
        return "log" if self.low > 0 and (self.decades > MANY_DECADES or self.skew > SKEWED) else "none"

    @property
    def of_classes(self) -> bool:
        """True if the target is one of two classes."""
        return self.metric in CLASS_METRICS

    @property
    def absolute(self) -> bool:
        """True if absolute errors count."""
        return self.metric in ("mae", "mape")

    @property
    def shares_zero(self) -> bool:
        """True if the target is zero in many rows, like the band gap of metals, and absolute errors count."""
        return self.zeros >= MANY_ZEROS and self.absolute

    @property
    def grows(self) -> bool:
        """True if the target grows with the number of atoms, as a total energy does."""
        return self.growth > GROWS and not self.of_classes

    @property
    def layered(self) -> bool:
        """True if most crystals are layers in a vacuum."""
        return self.layers > 0.5

    @property
    def per_area(self) -> bool:
        """True if the target is also tried per area of the layers, like an exfoliation energy."""
        return self.layered and self.transform == "log"

    @property
    def epochs(self) -> int:
        """Epochs of a network: they give the same number of steps for any number of rows, within limits."""
        return min(MAX_EPOCHS, max(MIN_EPOCHS, round(N_STEPS / self._steps)))

    @property
    def _steps(self) -> float:
        """Steps of an epoch in ten folds."""
        return 0.9 * self.n_train / BATCH

    @property
    def n_splits(self) -> int:
        """Splits on which a recipe is judged."""
        return 3 if self.n_train < SMALL_TABLE else 1

    def to_json(self) -> dict[str, Any]:
        """Return the facts and what follows from them."""
        decided = {name: getattr(self, name) for name in ("transform", "shares_zero", "grows", "per_area", "epochs", "n_splits")}
        return {**asdict(self), "decided": {**decided, "folds": asdict(self.folds)}}

    def lines(self) -> list[str]:
        """Return the facts and what follows from them as text."""
        atoms = f"{self.atoms[0]:.0f} atoms in the median, {self.atoms[1]} at most"
        kind = f"structures of {atoms}" if self.has_structure else "formulas"
        vacuum = f"; {self.layers:.0%} are layers in a vacuum{', tried per area' * self.per_area}" if self.layered else ""
        disorder = f"; {self.n_disordered} rows are disordered" if self.n_disordered else ""
        folds = f"{self.given_folds} given ones" if self.given_folds else f"{self.folds.n_folds}, {self.folds.scheme}"
        log = f"; {self.transform} is tried" if self.transform != "none" else ""
        hurdle = "; zeros are judged first" if self.shares_zero else ""
        shape = f"target      {self.target}: {self.low:g} to {self.high:g} {self.unit}, {self.zeros:.0%} zeros{hurdle}"
        if self.of_classes:
            shape = f"target      {self.target}: two classes, {1 - self.zeros:.1%} of the rows are of the second"
        return [
            f"rows        {self.n_train} training, {self.n_test} test; {self.bad_train} and {self.bad_test} cannot be read",
            f"crystals    {kind}; {self.n_elements} elements; {self.n_pure} pure elements{disorder}{vacuum}",
            f"duplicates  {self.duplicates:.1%} of the training rows",
            f"folds       {folds}; choices are made without fold {OUTER_FOLD}, on {self.n_splits} of 5 inner splits",
            f"columns     {', '.join(self.columns) or 'none besides'}",
            shape,
            f"shape       {self.decades:.1f} decades, skewness {self.skew:.1f}{log}",
            f"size        rank correlation with the atoms {self.growth:.2f}{'; a sum over atoms is tried' * self.grows}",
            f"metric      {METRICS[self.metric].text}",  # type: ignore[index]
            f"epochs      {self.epochs} of a network, about {self.epochs * self._steps:.0f} steps",
        ]


def folds_for(n_train: int, n_formulas: int, duplicates: float, n_folds: int = FOLDS) -> FoldConfig:
    """Return the folds, at most five for fewer than 50 rows; if many rows are duplicates, formulas stay together if they can."""
    n = n_folds if n_train >= 50 else FEW_FOLDS
    return FoldConfig("grouped" if duplicates >= MANY_DUPLICATES and n_formulas >= 2 * n else "stratified", n)


def look_at(data: TaskData, n_folds: int = FOLDS, repeated: float | None = None) -> Look:
    """Return the facts about the tables of a task and the target that is being predicted in so many folds.

    repeated: share of duplicates; None: it is computed.
    """
    task, crystals, counts = data.task, data.train.crystals, data.train.crystals.element_counts
    n_atoms = counts.sum(axis=1)
    repeated = float(duplicated(crystals).mean()) if repeated is None else repeated
    n_formulas = len(np.unique(reduced(counts), axis=0))
    rows = np.flatnonzero(load_folds(data, folds_for(len(counts), n_formulas, repeated, n_folds)) != OUTER_FOLD)
    target = data.train.targets[rows]
    return Look(
        task=task.name,
        target=task.target_column,
        unit=task.unit,
        metric=task.metric,
        n_train=len(counts),
        n_test=len(data.test.ids),
        bad_train=len(data.left_out),
        bad_test=len(data.unread),
        has_structure=bool(crystals.has_structure),
        n_disordered=sum(int(table.crystals.is_disordered.sum()) for table in (data.train, data.test)),
        atoms=(float(np.median(n_atoms)), int(n_atoms.max())),
        n_elements=int(counts.any(axis=0).sum()),
        n_pure=int(is_pure(counts).sum()),
        n_formulas=n_formulas,
        duplicates=repeated,
        layers=_layers(crystals) if crystals.has_structure else 0.0,
        n_folds=n_folds,
        given_folds=0 if data.given_folds is None else int(data.given_folds.max()) + 1,
        columns=task.columns.all,
        low=float(data.train.targets.min()),
        high=float(target.max()),
        zeros=float((target == 0).mean()),
        decades=_decades(target),
        skew=float(skew(target)) if np.ptp(target) else 0.0,
        growth=_growth(np.abs(target), n_atoms[rows]),
    )


def _layers(crystals: Crystals) -> float:
    """Return the share of crystals that are layers in a vacuum."""
    chosen = [crystals[int(i)] for i in np.linspace(0, len(crystals) - 1, min(N_LAYERS, len(crystals)))]
    return float(np.mean([layer_of(one.lattice, one.frac_coords).gap > VACUUM for one in chosen]))


def duplicated(crystals: Crystals) -> NDArray[np.bool_]:
    """Return which rows repeat another one: the same reduced formula and, for structures, volume per atom and surroundings."""
    counts = crystals.element_counts
    _, formula = np.unique(reduced(counts), axis=0, return_inverse=True)
    found = _repeated(formula, np.ones(len(counts)), SAME_VOLUME)
    if crystals.has_structure:
        volume = np.array([crystals[i].volume for i in range(len(crystals))]) / counts.sum(axis=1)
        rows = np.flatnonzero(_repeated(formula, volume, SAME_VOLUME))
        found = np.zeros(len(counts), dtype=bool)
        found[rows] = _repeated(formula[rows], np.array([surroundings(crystals[int(i)]) for i in rows]), SAME_SURROUNDINGS)
    return found


def _repeated(group: NDArray[np.int64], value: Values, tolerance: float) -> NDArray[np.bool_]:
    """Return which rows have the value of another one of their group, within a relative tolerance."""
    order = np.lexsort((value, group))
    same = (np.diff(group[order]) == 0) & (np.diff(np.log(value[order])) < tolerance)
    found = np.zeros(len(group), dtype=bool)
    found[order[1:][same]] = found[order[:-1][same]] = True
    return found


def surroundings(crystal: Crystal) -> float:
    """Return a number that differs between arrangements of the same atoms, and not between cells of one crystal.

    It is the mean over atoms of the products of their atomic numbers and those of their neighbours, weighted by a cosine cutoff.
    """
    coords, z = crystal.frac_coords @ crystal.lattice, crystal.at_sites(np.arange(N_ELEMENTS))
    center, other, _, distance = points_within(coords, coords, crystal.lattice, R_SURROUNDINGS)
    weight = (1 + np.cos(np.pi * distance / R_SURROUNDINGS)) / 2
    return float((z[center] * z[other] * weight).sum() / len(z))


def _decades(target: Values) -> float:
    low, high = np.quantile(target, [0.05, 0.95])
    return math.log10(high / low) if low > 0 else math.inf if high > 0 else 0.0


def _growth(size: Values, n_atoms: NDArray[np.int64]) -> float:
    return float(spearmanr(size, n_atoms).statistic) if np.ptp(size) and np.ptp(n_atoms) else 0.0
