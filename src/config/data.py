"""Folds, targets, element vectors and graphs."""

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field

from src.config.schema import Seed, config_class


@config_class
class FoldConfig:
    """Assignment of crystals to folds; a task that gives folds of its own ignores it.

    scheme: `stratified` by bins of the target (the 1st place's folds), `shuffled`, `grouped` by reduced formula, `systems`:
        grouped by chemical system, the set of elements, or `elements`: see there.
    n_bins: quantile bins of the target, for `stratified`.
    elements: symbols, for `elements`: the crystals that contain one of them are scored in its fold, the last fold has those that
        contain none; of several the first counts, so rare ones come first. The model of an element's fold is trained on crystals
        without this element.
    n_train: training crystals of each fold at most, a random choice; a smaller one is part of a larger one (None: all).
    """

    scheme: Literal["stratified", "shuffled", "grouped", "systems", "elements"] = "stratified"
    n_folds: Annotated[int, Field(ge=2)] = 10
    n_bins: Annotated[int, Field(ge=1)] = 6
    seed: Seed = 0
    elements: tuple[str, ...] = ()
    n_train: Annotated[int, Field(ge=1)] | None = None

    def __post_init__(self) -> None:
        if (self.scheme == "elements") != bool(self.elements):
            raise ValueError(f"elements={self.elements}: symbols are for scheme='elements', which requires them")
        if self.elements and self.n_folds != len(self.elements) + 1:
            raise ValueError(f"n_folds={self.n_folds}: must be {len(self.elements) + 1}, one an element and one for the rest")


@config_class
class TargetConfig:
    """The quantity that the learner predicts; whatever it needs is fitted on the training fold.

    kind: `residual`: the structure's energy minus a linear regression on its atom counts (2nd place), divided by the standard
        deviation; `standardise`: minus the mean, divided by the standard deviation; `raw`: as in the table.
    base: `chgnet`: first subtract the energy that this pretrained potential predicts, and the shift of each element that brings
        it closest to the table (open track); `chgnet_mean`: the mean of its two trainings; `7net-l3i5`, `7net-0`, `7net_mean`:
        the same of SevenNet. With kind `residual` only.
    reference: `elements_and_u`: vanadium, chromium, manganese, iron, cobalt, nickel, molybdenum and tungsten have a second shift
        where oxygen or fluorine is present: there the energies of the Materials Project, and so SevenNet's, contain a Hubbard U.
        `elements_u_and_oxides`: and the base gets what the Materials Project adds to the energies of peroxides and superoxides,
        see src/features/oxides.py. Both require a base.
    transform: `log` or `log1p`, log(1 + target): what `kind` then applies to; predictions are transformed back. Requires base
        `none`.
    pure_elements: `at_zero`: the formation energy of an element is zero by definition, but for the polymorph, whatever its
        compounds have. So crystals of one element have no shift and do not take part in the regression, and their predictions
        are not below zero. `not_below_zero`: they are learned as compounds are, and only their predictions are clipped: no
        polymorph is below the ground state. For formation energies, with transform `none`; `at_zero` with kind `residual` and
        base `none` too. `median`: they are learned as compounds are, and all get the median of the training crystals of one
        element, whatever the learner predicts.
    unseen_elements: shift of an element that no training crystal has: `mean`, of all others; `predicted`, from those near it in
        the periodic table, see src/data/unseen.py. The latter with kind `residual` and reference `elements` only.
    """

    kind: Literal["residual", "standardise", "raw"] = "residual"
    base: Literal["none", "chgnet", "chgnet_mean", "7net-l3i5", "7net-0", "7net_mean"] = "none"
    transform: Literal["none", "log", "log1p"] = "none"
    pure_elements: Literal["as_compounds", "at_zero", "not_below_zero", "median"] = "as_compounds"
    reference: Literal["elements", "elements_and_u", "elements_u_and_oxides"] = "elements"
    unseen_elements: Literal["mean", "predicted"] = "mean"

    def __post_init__(self) -> None:
        if self.pure_elements == "at_zero" and (self.kind, self.base, self.transform) != ("residual", "none", "none"):
            raise ValueError("pure_elements='at_zero': requires kind='residual', base='none' and transform='none'")
        if self.pure_elements == "not_below_zero" and self.transform != "none":
            raise ValueError("pure_elements='not_below_zero': requires transform='none'")
        if self.unseen_elements == "predicted" and (self.kind, self.reference) != ("residual", "elements"):
            raise ValueError("unseen_elements='predicted': requires kind='residual' and reference='elements'")
        if self.reference != "elements" and self.base == "none":
            raise ValueError(f"reference={self.reference!r}: requires a base; without one there is no Hubbard U to refer to")
        if self.base != "none" and self.kind != "residual":
            raise ValueError(f"base={self.base!r}: requires kind='residual', not {self.kind!r}")
        if self.base != "none" and self.transform != "none":
            raise ValueError(f"base={self.base!r}: requires transform='none', not {self.transform!r}")


@config_class
class ElementConfig:
    """Element vectors. tables: names known to src/features/elements.py, `one_hot` among them; they are concatenated."""

    tables: Annotated[tuple[str, ...], Field(min_length=1)] = ("mat2vec",)


@config_class
class GraphConfig:
    """Construction of a graph from a crystal.

    r_max: Angstrom, cutoff radius.
    l_max: highest degree of spherical harmonics and of features.
    symmetry: reduce the graph by its space group (exact, see src/graphs/graph.py).
    symprec: Angstrom, tolerance of the symmetry search.
    r_angle: Angstrom, up to r_max; longest bond in the pairs whose angles the graph holds, for networks that use angles;
        0: no angles.
    max_neighbors: of an atom, the nearest ones; those as far as the last of them are all kept, see `keep_nearest` in
        src/graphs/neighbors.py (None: all within r_max).
    radius_exponent: 0: lengths are as they are; up to 1: they are divided by this power of the mean of the covalent radii of both
        ends over 1.4 Angstrom, see src/graphs/radii.py. All that is said of lengths, such as r_max, then holds for the quotient.
    formula: the graph is that of the formula, see src/graphs/formula.py: structures are not read, and no other setting matters.
    """

    r_max: Annotated[float, Field(ge=0.5, le=20)] = 5.0
    l_max: Annotated[int, Field(ge=0, le=3)] = 1
    symmetry: bool = True
    symprec: Annotated[float, Field(gt=0, le=0.1)] = 1e-3
    r_angle: Annotated[float, Field(ge=0)] = 0.0
    max_neighbors: Annotated[int, Field(ge=1)] | None = None
    radius_exponent: Annotated[float, Field(ge=0, le=1)] = 0.0
    formula: bool = False

    def __post_init__(self) -> None:
        if self.formula and replace(self, formula=False) != GraphConfig():
            raise ValueError("formula=True: no other setting of the graph matters; leave them out")
        if self.r_angle > self.r_max:
            raise ValueError(f"r_angle={self.r_angle}: must be at most r_max={self.r_max} Angstrom")
