"""Folds, targets, element vectors and graphs."""

from typing import Annotated, Literal

from pydantic import Field

from src.config.schema import Seed, config_class

N_ELEMENTS = 119  # every per-element table is indexed by atomic number; index 0 is unused


@config_class
class FoldConfig:
    """Assignment of crystals to folds; a task that gives folds of its own ignores it.

    scheme: `stratified` by bins of the target (the 1st place's folds), `shuffled`, or `grouped` by reduced formula.
    """

    scheme: Literal["stratified", "shuffled", "grouped"] = "stratified"
    n_folds: Annotated[int, Field(ge=2)] = 10
    seed: Seed = 0


@config_class
class TargetConfig:
    """The quantity that the learner predicts; whatever it needs is fitted on the training fold.

    kind: `residual`: the structure's energy minus a linear regression on its atom counts (2nd place), divided by the standard
        deviation; `standardise`: minus the mean, divided by the standard deviation; `raw`: as in the table.
    base: `7net-l3i5`: first subtract the energy that this pretrained potential, a SevenNet, predicts, and the shift of each
        element that brings it closest to the table (open track). With kind `residual` only.
    transform: `log` or `log1p`, log(1 + target): what `kind` then applies to; predictions are transformed back. Requires base
        `none`.
    pure_elements: `median`: crystals of one element are learned as compounds are, and all get the median of the training
        crystals of one element, whatever the learner predicts; if there are none, they are predicted as compounds are.
    reference: `elements_and_u`: vanadium, chromium, manganese, iron, cobalt, nickel, molybdenum and tungsten have a second shift
        where oxygen or fluorine is present: there the energies of the Materials Project, and so SevenNet's, contain a Hubbard U.
        Requires a base.
    unseen_elements: shift of an element that no training crystal has: `mean`, of all others; `predicted`, from those near it in
        the periodic table, see src/data/unseen.py. The latter with kind `residual` and reference `elements` only.
    """

    kind: Literal["residual", "standardise", "raw"] = "residual"
    base: Literal["none", "7net-l3i5"] = "none"
    transform: Literal["none", "log", "log1p"] = "none"
    pure_elements: Literal["as_compounds", "median"] = "as_compounds"
    reference: Literal["elements", "elements_and_u"] = "elements"
    unseen_elements: Literal["mean", "predicted"] = "mean"

    def __post_init__(self) -> None:
        if self.unseen_elements == "predicted" and (self.kind, self.reference) != ("residual", "elements"):
            raise ValueError("unseen_elements='predicted': requires kind='residual' and reference='elements'")
        if self.reference != "elements" and self.base == "none":
            raise ValueError(f"reference={self.reference!r}: requires a base; without one there is no Hubbard U to refer to")
        if self.base != "none" and (self.kind, self.transform) != ("residual", "none"):
            raise ValueError(f"base={self.base!r}: requires kind='residual' and transform='none'")


@config_class
class ElementConfig:
    """Element vectors. tables: names known to src/features/elements.py, `one_hot` among them; they are concatenated."""

    tables: Annotated[tuple[str, ...], Field(min_length=1)] = ("mat2vec",)


@config_class
class GraphConfig:
    """Construction of a graph from a crystal.

    r_max: Angstrom, cutoff radius.
    l_max: highest degree of spherical harmonics and of features.
    r_angle: Angstrom, up to r_max; longest bond in the pairs whose angles the graph holds, for networks that use angles;
        0: no angles.
    radius_exponent: 0: lengths are as they are; up to 1: they are divided by this power of the mean of the covalent radii of both
        ends over 1.4 Angstrom, see src/graphs/radii.py. All that is said of lengths, such as r_max, then holds for the quotient.
    """

    r_max: Annotated[float, Field(ge=0.5, le=20)] = 5.0
    l_max: Annotated[int, Field(ge=0, le=3)] = 1
    r_angle: Annotated[float, Field(ge=0)] = 0.0
    radius_exponent: Annotated[float, Field(ge=0, le=1)] = 0.0

    def __post_init__(self) -> None:
        if self.r_angle > self.r_max:
            raise ValueError(f"r_angle={self.r_angle}: must be at most r_max={self.r_max} Angstrom")
