"""TargetNormalizer: formation energy per atom <-> the unitless residual that learners see."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.config import TargetConfig
from src.config.knobs import N_ELEMENTS

Values = NDArray[np.float64]
Counts = NDArray[Any]  # whole numbers, but for mixtures
OXYGEN, FLUORINE = 8, 9
NOBLE_GASES = np.array([2, 10, 18, 36, 54, 86])  # whose crystals have nearly the energy of their atoms: a cohesion below 0.2 eV
WITH_U = np.array([23, 24, 25, 26, 27, 28, 42, 74])  # V, Cr, Mn, Fe, Co, Ni, Mo, W: metals to which MP gives a Hubbard U
MIN_CRYSTALS = 10  # with an element, for its shift to teach something about those that no crystal has
MAX_NAMED = 10  # rows in a message


@dataclass(frozen=True)
class Domain:
    """A set of numbers, in words and as a test of each number."""

    text: str
    holds: Callable[[Values], NDArray[np.bool_]]

    def check(self, path: Path, ids: Sequence[str], targets: Values, setting: str) -> None:
        """Raise ValueError, which names the file and the rows, if targets lie outside. setting: what requires the domain."""
        bad = np.flatnonzero(~self.holds(targets))
        if len(bad):
            named = ", ".join(f"{str(ids[i])!r}: {targets[i]:g}" for i in bad[:MAX_NAMED])
            more = f" and {len(bad) - MAX_NAMED} more" if len(bad) > MAX_NAMED else ""
            what = f"{path}: {setting} requires targets {self.text}, not those of {named}{more}"
            raise ValueError(f"{what}; correct or remove these rows, or choose another setting")


@dataclass(frozen=True)
class Transform:
    """A monotone function of the target and its inverse.

    smallest: the least number of the domain that can be told from its bound in double precision.
    """

    forward: np.ufunc
    inverse: np.ufunc
    domain: Domain
    smallest: float

    def back(self, transformed: Values) -> Values:
        """Return the targets, which are finite and in the domain whatever the argument is."""
        low, high = (self.forward(bound) for bound in (self.smallest, np.finfo(np.float64).max / 2))
        return self.inverse(np.clip(transformed, low, high))


POSITIVE = Domain("above 0", lambda target: target > 0)
ABOVE_MINUS_ONE = Domain("above -1", lambda target: target > -1)
TRANSFORMS = {
    "log": Transform(np.log, np.exp, POSITIVE, float(np.finfo(np.float64).tiny)),
    "log1p": Transform(np.log1p, np.expm1, ABOVE_MINUS_ONE, float(np.nextafter(-1, 0))),
}


def _shifts(element_counts: Counts, left: Values, config: TargetConfig) -> Values:
    """Return what an atom of each element contributes to the energy in any surroundings, see TargetNormalizer.shifts.

    left: (n_crystals,), eV/atom, the energies to which the shifts are fitted.
    """
    if config.kind == "raw":
        return np.zeros(N_ELEMENTS)
    if config.kind == "classes":
        share = share_of_ones(left)
        return np.full(N_ELEMENTS, np.log(share / (1 - share)))
    if config.kind == "standardise":
        return np.full(N_ELEMENTS, left.mean())
    robust = config.base != "none"
    if config.reference == "elements_and_u":
        return _shifts_with_u(element_counts, left, robust)
    present = element_counts.any(axis=0)
    shift = np.full(N_ELEMENTS, 0.0)
    shift[present] = _regression(element_counts[:, present], element_counts.sum(axis=1), left, robust)
    shift[~present] = shift[present].mean()
    return predicted_shifts(shift, element_counts) if config.unseen_elements == "predicted" else shift


def _shifts_with_u(element_counts: Counts, left: Values, robust: bool) -> Values:
    """Return the shifts of the elements, then the additional ones of the metals in WITH_U in oxides and fluorides.

    There the energies of the Materials Project contain a Hubbard U. A metal's U can be fitted only if some of its crystals
    contain O or F and others do not. All other metals get the mean U, which is subtracted from the shifts of those that only
    occur with O or F. Absent elements get the mean shift, but noble gases none: energies are relative to atoms, and near zero
    for them.
    """
    counts, n_atoms = _columns(element_counts, with_u=True), element_counts.sum(axis=1)
    with_u = counts[:, N_ELEMENTS:] > 0
    is_there = with_u.any(axis=0)
    has_both = is_there & ((element_counts[:, WITH_U] > 0) & ~with_u).any(axis=0)
    present = np.concatenate([element_counts.any(axis=0), has_both])
    fitted = np.zeros(len(present))
    fitted[present] = _regression(counts[:, present], n_atoms, left, robust)
    shift, u = fitted[:N_ELEMENTS], fitted[N_ELEMENTS:]
    u[~has_both] = u[has_both].mean() if has_both.any() else 0.0
    alone = is_there & ~has_both
    shift[WITH_U[alone]] -= u[alone]
    absent = ~present[:N_ELEMENTS]
    shift[absent] = shift[~absent].mean()
    shift[NOBLE_GASES] = np.where(absent[NOBLE_GASES], 0.0, shift[NOBLE_GASES])
    return fitted


def _columns(element_counts: Counts, with_u: bool) -> Counts:
    """Return the number of atoms that each shift counts for, (n_crystals, n_shifts)."""
    if not with_u:
        return element_counts
    has_anion = element_counts[:, [OXYGEN, FLUORINE]].any(axis=1, keepdims=True)
    return np.concatenate([element_counts, element_counts[:, WITH_U] * has_anion], axis=1)


def _regression(columns: Counts, n_atoms: Counts, left: Values, robust: bool) -> Values:
    """Return a shift per column: least squares of left x n_atoms, or, if robust, least absolute deviations per atom.

    The former is the 2nd-place solution of the Nishika 2023 competition (mi-212, Qiita items/694124649d2848a6b559, 2023): the
    structure's energy is regressed on the atom counts without intercept.
    """
    from sklearn.linear_model import LinearRegression, QuantileRegressor  # predictions do without

    if not robust:
        return LinearRegression(fit_intercept=False).fit(columns, left * n_atoms).coef_
    regressor = QuantileRegressor(quantile=0.5, alpha=0, fit_intercept=False, solver="highs")
    return regressor.fit(columns / n_atoms[:, None], left).coef_


def predicted_shifts(shift: Values, element_counts: Counts) -> Values:
    """Return the shifts with those of absent elements predicted from the others, (N_ELEMENTS,).

    A Gaussian process (Rasmussen, Williams, MIT Press 2006, algorithm 2.1) on electronegativity, group and row of the periodic
    table, whose length and noise maximise the marginal likelihood.
    shift: (N_ELEMENTS,), eV/atom. element_counts: (n_crystals, N_ELEMENTS), of the crystals that they were fitted to.
    """
    n_crystals = (element_counts > 0).sum(axis=0)
    known, absent = n_crystals >= MIN_CRYSTALS, n_crystals == 0
    if known.sum() < MIN_CRYSTALS:
        return shift
    from pymatgen.core import Element  # commands that look at results do without
    from sklearn.gaussian_process import GaussianProcessRegressor  # predictions do without
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    process = GaussianProcessRegressor(ConstantKernel() * RBF() + WhiteKernel(0.1), normalize_y=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of electronegativities that pymatgen does not have, and of a length at its limit
        elements = [Element.from_Z(z) for z in range(1, N_ELEMENTS)]
        table = np.array([(np.nan,) * 3, *((element.X, element.group, element.row) for element in elements)])
        x = np.nan_to_num((table - np.nanmean(table, axis=0)) / np.nanstd(table, axis=0))  # what is unknown is the mean
        process.fit(x[known], shift[known])
    found = shift.copy()
    found[absent] = process.predict(x[absent])
    return found


@dataclass(frozen=True, eq=False)
class TargetNormalizer:
    """Map: residual = (transform(target) - base - mean over the crystal's atoms of their shifts) / scale.

    Without a transform, the MAE in eV/atom is scale x MAE of the residual; with one, shift and scale are in its unit.
    shifts: (N_ELEMENTS,), eV/atom, by atomic number; further ones are those of `_shifts_with_u`. scale: eV/atom.
    base: name of the model whose energies are the `base` argument of every method, (n_crystals,), eV/atom; `none`: zeros.
    transform: a key of TRANSFORMS, or `none`.
    pure_energy: eV/atom, of all crystals of one element, whatever the residual; None: they are predicted like compounds.
    of_classes: the target is 0 or 1, and residual = target - share of ones in training, from which `class_of` recovers both.
        All shifts are the log-odds of this share; the learner's prediction plus these log-odds gives the probability of 1.
    """

    shifts: Values
    scale: float
    base: str = "none"
    transform: str = "none"
    pure_energy: float | None = None
    of_classes: bool = False

    @classmethod
    def fit(cls, element_counts: Counts, target: Values, config: TargetConfig, base: Values | float = 0.0) -> "TargetNormalizer":
        """Fit the normaliser to training rows.

        With a base the shifts minimise absolute errors: a potential is far off for a few crystals, and these must not affect the
        reference of the others.
        element_counts: (n_crystals, N_ELEMENTS). target: (n_crystals,), eV/atom.
        """
        pure = is_pure(element_counts) & (config.pure_elements == "median")
        pure_energy = float(np.median(target[pure])) if pure.any() else None
        transformed = _transformed(config.transform, target)
        shifts = _shifts(element_counts, transformed - base, config)
        unscaled = cls(shifts, 1.0, config.base, config.transform, pure_energy, config.kind == "classes")
        scale = float(np.std(transformed - unscaled.baseline(element_counts, base)))
        is_raw = config.kind == "classes" or (config.kind == "raw" and 1e-6 < scale < 1e6)
        return unscaled if is_raw or scale <= 1e-9 * np.abs(transformed).max() else replace(unscaled, scale=scale)

    def baseline(self, element_counts: Counts, base: Values | float = 0.0) -> Values:
        """Return what atom counts and base predict without a learner, (n_crystals,), eV/atom or the unit of the transform."""
        if self.base != "none" and np.ndim(base) == 0:
            raise ValueError(f"target: the energies of the base {self.base!r} are missing; see src/features/bases.py")
        counts = _columns(element_counts, with_u=len(self.shifts) > N_ELEMENTS)
        return base + counts @ self.shifts / element_counts.sum(axis=1)

    def normalize(self, element_counts: Counts, target: Values, base: Values | float = 0.0) -> Values:
        """Return the unitless residual of formation energies in eV/atom."""
        if self.of_classes:
            from scipy.special import expit  # commands that look at results do without

            return target - expit(self.baseline(element_counts))
        return (_transformed(self.transform, target) - self.baseline(element_counts, base)) / self.scale

    def denormalize(self, element_counts: Counts, residual: Values, base: Values | float = 0.0) -> Values:
        """Return the formation energies, eV/atom, of unitless residuals; with a transform, always in its domain.

        For classes: the probabilities of 1, given the predictions of learners.
        """
        if self.of_classes:
            from scipy.special import expit

            return expit(self.baseline(element_counts) + residual)
        target = self.baseline(element_counts, base) + self.scale * residual
        target = target if self.transform == "none" else TRANSFORMS[self.transform].back(target)
        return target if self.pure_energy is None else np.where(is_pure(element_counts), self.pure_energy, target)

    def mean_and_spread(self, element_counts: Counts, residuals: Values, base: Values | float = 0.0) -> tuple[Values, Values]:
        """Return the mean and the standard deviation of the formation energies of members, (n_crystals,) each, eV/atom.

        residuals: (n_members, n_crystals), unitless. The mean is of energies: a transform is undone before.
        """
        target = self.denormalize(element_counts, residuals, base)
        return target.mean(axis=0), target.std(axis=0)

    def to_json(self) -> dict:
        """Return the normaliser as JSON-serialisable values; settings without effect are left out."""
        data: dict = {"shift": self.shifts.tolist(), "scale": self.scale, "base": self.base}
        transform = {} if self.transform == "none" else {"transform": self.transform}
        pure = {} if self.pure_energy is None else {"pure_elements": "median", "pure_energy": self.pure_energy}
        return data | transform | pure | ({"of_classes": True} if self.of_classes else {})

    @classmethod
    def from_json(cls, data: dict) -> "TargetNormalizer":
        """Return the normaliser that `to_json` wrote."""
        pure_energy = data.get("pure_energy", 0.0) if data.get("pure_elements") == "median" else None
        named = data.get("base", "none"), data.get("transform", "none")
        return cls(np.array(data["shift"]), float(data["scale"]), *named, pure_energy, data.get("of_classes", False))


def share_of_ones(classes: NDArray[Any]) -> float:
    """Return Laplace's estimate of the share of ones, which is neither 0 nor 1 even if a class is missing."""
    return float((classes.sum() + 1) / (len(classes) + 2))


def class_of(residual: Values) -> tuple[Values, Values]:
    """Return the classes, 0 or 1, of residuals that `TargetNormalizer.normalize` gave, and the log-odds of 1 in training."""
    from scipy.special import logit

    classes = (residual > 0).astype(np.float64)
    return classes, logit(classes - residual)


def is_pure(element_counts: Counts) -> NDArray[np.bool_]:
    """Return which crystals consist of one element, (n_crystals,). element_counts: (n_crystals, N_ELEMENTS)."""
    return (element_counts > 0).sum(axis=1) == 1


def _transformed(transform: str, target: Values) -> Values:
    return target if transform == "none" else TRANSFORMS[transform].forward(target)
