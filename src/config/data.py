"""Folds, target, elements, graphs."""

from dataclasses import dataclass
from typing import Literal

from src.config.checks import MAX_SEED, require


@dataclass(frozen=True)
class FoldConfig:
    """How crystals are assigned to folds.

    scheme: `stratified` on bins of the target (the 1st place's folds), `shuffled`, or `grouped` by reduced formula.
    n_bins: quantile bins of the target, for `stratified`.
    """

    scheme: Literal["stratified", "shuffled", "grouped"] = "stratified"
    n_folds: int = 10
    n_bins: int = 6
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.scheme in ("stratified", "shuffled", "grouped"), f"unknown folds.scheme={self.scheme!r}")
        require(self.n_folds >= 2, f"folds.n_folds={self.n_folds}, at least 2")
        require(self.n_bins >= 1, f"folds.n_bins={self.n_bins}, at least 1")
        require(0 <= self.seed <= MAX_SEED, f"folds.seed={self.seed}, 0 to {MAX_SEED}")


@dataclass(frozen=True)
class TargetConfig:
    """What the learner is asked for; always fitted on the training fold.

    kind: `residual` of a linear regression of the structure's energy on its atom counts (2nd place), over its standard deviation;
        `standardise`: minus mean, over standard deviation; `raw`: as in the table.
    base: `chgnet`: the energy that this pretrained potential gives, and the shift of each element that brings it closest to the
        table, are taken off first (open track); `chgnet_mean`: the mean of its two trainings; with kind `residual` only.
    """

    kind: Literal["residual", "standardise", "raw"] = "residual"
    base: Literal["none", "chgnet", "chgnet_mean"] = "none"

    def __post_init__(self) -> None:
        require(self.kind in ("residual", "standardise", "raw"), f"unknown target.kind={self.kind!r}")
        require(self.base in ("none", "chgnet", "chgnet_mean"), f"unknown target.base={self.base!r}")
        require(
            self.base == "none" or self.kind == "residual", f"target.base={self.base!r} goes with target.kind='residual' only"
        )


@dataclass(frozen=True)
class ElementConfig:
    """Element vectors. tables: names known to src/features/elements.py, concatenated; `one_hot` among them."""

    tables: tuple[str, ...] = ("mat2vec",)

    def __post_init__(self) -> None:
        require(len(self.tables) > 0, "elements.tables is empty")


@dataclass(frozen=True)
class GraphConfig:
    """From a crystal to a graph.

    r_max: Angstrom, cutoff radius.
    l_max: highest degree of spherical harmonics and of features, 0 to 3.
    symmetry: reduce the graph by its space group (exact, see src/graphs/graph.py).
    symprec: Angstrom, tolerance of the symmetry search.
    r_angle: Angstrom, longest bond of a pair whose angle the graph holds, for networks that see angles; 0: no angles.
    """

    r_max: float = 5.0
    l_max: int = 1
    symmetry: bool = True
    symprec: float = 1e-3
    r_angle: float = 0.0

    def __post_init__(self) -> None:
        require(0.5 <= self.r_max <= 20, f"graph.r_max={self.r_max}, 0.5 to 20 Angstrom")
        require(0 <= self.r_angle <= self.r_max, f"graph.r_angle={self.r_angle}, 0 to r_max={self.r_max} Angstrom")
        require(0 <= self.l_max <= 3, f"graph.l_max={self.l_max}, 0 to 3")
        require(0 < self.symprec <= 0.1, f"graph.symprec={self.symprec}, up to 0.1 Angstrom")
