"""TargetNormalizer: formation energy per atom <-> the unitless residual that learners see."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from src.config import TargetConfig
from src.data.crystal import N_ELEMENTS
from src.data.domain import TRANSFORMS
from src.data.unseen import predicted_shifts

OXYGEN, FLUORINE = 8, 9
NOBLE_GASES = np.array([2, 10, 18, 36, 54, 86])  # whose crystals have nearly the energy of their atoms: a cohesion below 0.2 eV
WITH_U = np.array([23, 24, 25, 26, 27, 28, 42, 74])  # V, Cr, Mn, Fe, Co, Ni, Mo, W: metals to which MP gives a Hubbard U
DOES_NOTHING = {"transform": "none", "pure_elements": "as_compounds", "pure_energy": 0.0}


@dataclass(frozen=True, eq=False)
class TargetNormalizer:
    """Map: residual = (transform(e_form) - base - mean over the crystal's atoms of shift[element]) / scale.

    With `pure_elements` of `median`, all crystals of one element have the same energy, whatever the residual.

    Without a transform, the MAE in eV/atom is scale x MAE of the residual; with one, shift and scale have the unit of what it
    returns.
    shift: (N_ELEMENTS,), eV/atom; with reference `elements_and_u` there follow those that WITH_U has on top beside O or F.
    scale: eV/atom.
    base: name of the model whose energies are the `base` argument of every method, (n_crystals,), eV/atom; `none`: zeros.
    transform: a key of TRANSFORMS, or `none`.
    pure_elements: as in TargetConfig.
    pure_energy: eV/atom, of crystals of one element with `median`.
    """

    shift: NDArray[np.float64]
    scale: float
    base: str = "none"
    transform: str = "none"
    pure_elements: str = "as_compounds"
    pure_energy: float = 0.0

    @classmethod
    def fit(
        cls,
        element_counts: NDArray[np.int64],
        e_form: NDArray[np.float64],
        config: TargetConfig,
        base: NDArray[np.float64] | float = 0.0,
    ) -> "TargetNormalizer":
        """Fit the normaliser to training rows.

        Kind `residual` follows the 2nd-place solution of the Nishika 2023 competition (mi-212, Qiita items/694124649d2848a6b559,
        2023): the structure's energy, e_form x n_atoms, is regressed on the atom counts without intercept. With a base the
        shifts minimise the absolute error per atom instead: a potential is far off for a few crystals, and these must not
        affect the reference of the others. Elements absent from these rows get the mean shift, or a predicted one. With
        `elements_and_u`, metals that are not there both with and without a Hubbard U get the mean U: what they are there with,
        the two shifts share. The base is then an energy relative to atoms, near zero for a noble gas, so one that is absent
        gets no shift.
        element_counts: (n_crystals, N_ELEMENTS). e_form: (n_crystals,), eV/atom.
        """
        without = cls(np.zeros(N_ELEMENTS), 1.0, config.base, config.transform)
        if config.pure_elements == "median" and (pure := is_pure(element_counts)).any():  # else they are as compounds
            without = replace(without, pure_elements="median", pure_energy=float(np.median(e_form[pure])))
        if config.kind == "raw":
            return without
        e_form = without.transformed(e_form)
        left = e_form - without.baseline(element_counts, base)
        shift = np.full(N_ELEMENTS, left.mean())
        if config.kind == "residual":
            fit_shifts = _shifts if config.reference == "elements" else _shifts_with_u
            shift = fit_shifts(element_counts, left, config.base != "none")
            if config.unseen_elements == "predicted":
                shift = predicted_shifts(shift, element_counts)
        scale = float(np.std(e_form - replace(without, shift=shift).baseline(element_counts, base)))
        return replace(without, shift=shift, scale=scale if scale > 1e-9 else 1.0)

    def transformed(self, e_form: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the transform of targets."""
        return e_form if self.transform == "none" else TRANSFORMS[self.transform].forward(e_form)

    def baseline(self, element_counts: NDArray[np.int64], base: NDArray[np.float64] | float = 0.0) -> NDArray[np.float64]:
        """Return what atom counts and base predict without a learner, (n_crystals,), eV/atom or the unit of the transform."""
        if self.base != "none" and np.ndim(base) == 0:
            raise ValueError(f"target: the energies of the base {self.base!r} are missing; see src/features/sevennet.py")
        counts = element_counts if len(self.shift) == N_ELEMENTS else _with_u(element_counts)
        return base + counts @ self.shift / element_counts.sum(axis=1)

    def normalize(
        self, element_counts: NDArray[np.int64], e_form: NDArray[np.float64], base: NDArray[np.float64] | float = 0.0
    ) -> NDArray[np.float64]:
        """Return the unitless residual of formation energies in eV/atom."""
        return (self.transformed(e_form) - self.baseline(element_counts, base)) / self.scale

    def denormalize(
        self, element_counts: NDArray[np.int64], residual: NDArray[np.float64], base: NDArray[np.float64] | float = 0.0
    ) -> NDArray[np.float64]:
        """Return the formation energies, eV/atom, of unitless residuals; with a transform, always in its domain."""
        e_form = self.baseline(element_counts, base) + self.scale * residual
        e_form = e_form if self.transform == "none" else TRANSFORMS[self.transform].back(e_form)
        return np.where((self.pure_elements == "median") & is_pure(element_counts), self.pure_energy, e_form)

    def mean_and_spread(
        self, element_counts: NDArray[np.int64], residuals: NDArray[np.float64], base: NDArray[np.float64] | float = 0.0
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the mean and the standard deviation of the formation energies of members, (n_crystals,) each, eV/atom.

        residuals: (n_members, n_crystals), unitless. The mean is of energies: a transform is undone before.
        """
        e_form = self.denormalize(element_counts, residuals, base)
        return e_form.mean(axis=0), e_form.std(axis=0)

    def to_json(self) -> dict:
        """Return the normaliser as JSON-serialisable values; what came later is left out where it does nothing."""
        values = asdict(self) | {"shift": self.shift.tolist()}
        return {name: value for name, value in values.items() if value != DOES_NOTHING.get(name)}

    @classmethod
    def from_json(cls, data: dict) -> "TargetNormalizer":
        """Return the normaliser that `to_json` wrote."""
        return cls(
            np.array(data["shift"]),
            float(data["scale"]),
            data.get("base", "none"),
            **{k: data.get(k, v) for k, v in DOES_NOTHING.items()},
        )


def is_pure(element_counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which crystals consist of one element, (n_crystals,). element_counts: (n_crystals, N_ELEMENTS)."""
    return (element_counts > 0).sum(axis=1) == 1


def check_domain(config: TargetConfig, path: Path, ids: Sequence[str], targets: NDArray[np.float64]) -> None:
    """Raise ValueError, which names the file and the rows, if the transform is not defined for some of the targets."""
    if config.transform != "none":
        TRANSFORMS[config.transform].domain.check(path, ids, targets, f"target.transform = {config.transform!r}")


def _with_u(element_counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return (n_crystals, N_ELEMENTS + len(WITH_U)): the counts, and those of the metals of WITH_U beside O or F, else zeros."""
    has_anion = element_counts[:, [OXYGEN, FLUORINE]].any(axis=1, keepdims=True)
    return np.concatenate([element_counts, element_counts[:, WITH_U] * has_anion], axis=1)


def _shifts(element_counts: NDArray[np.int64], left: NDArray[np.float64], robust: bool) -> NDArray[np.float64]:
    """Return the shift of each element, (N_ELEMENTS,); those that are absent get the mean."""
    present, n_atoms = element_counts.any(axis=0), element_counts.sum(axis=1)
    shift = np.full(N_ELEMENTS, 0.0)
    shift[present] = _regression(element_counts[:, present], n_atoms, left, robust)
    shift[~present] = shift[present].mean()
    return shift


def _shifts_with_u(element_counts: NDArray[np.int64], left: NDArray[np.float64], robust: bool) -> NDArray[np.float64]:
    """Return the shifts of the elements and of the Hubbard U of WITH_U, (N_ELEMENTS + len(WITH_U),).

    A U needs its metal both beside O or F and without them; the others get the mean U. If the metal is there beside O or F
    alone, its own shift is what is left of theirs.
    """
    counts, n_atoms = _with_u(element_counts), element_counts.sum(axis=1)
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


def _regression(
    columns: NDArray[np.int64], n_atoms: NDArray[np.int64], left: NDArray[np.float64], robust: bool
) -> NDArray[np.float64]:
    """Return a shift per column: least squares of left x n_atoms, or, if robust, least absolute deviations per atom."""
    from sklearn.linear_model import LinearRegression, QuantileRegressor  # predictions do without

    if not robust:
        return LinearRegression(fit_intercept=False).fit(columns, left * n_atoms).coef_
    regressor = QuantileRegressor(quantile=0.5, alpha=0, fit_intercept=False, solver="highs")
    return regressor.fit(columns / n_atoms[:, None], left).coef_
