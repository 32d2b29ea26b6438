"""TargetNormalizer: formation energy per atom <-> the unitless residual that learners see."""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LinearRegression

from src.config import TargetConfig
from src.data.crystal import N_ELEMENTS


@dataclass(frozen=True, eq=False)
class TargetNormalizer:
    """residual = (e_form - mean over the crystal's atoms of shift[element]) / scale, so MAE in eV/atom = scale x MAE of the
    residual.

    shift: (N_ELEMENTS,), eV/atom.
    scale: eV/atom.
    """

    shift: NDArray[np.float64]
    scale: float

    @classmethod
    def fit(cls, element_counts: NDArray[np.int64], e_form: NDArray[np.float64], config: TargetConfig) -> "TargetNormalizer":
        """The normaliser of training rows.

        `residual` is the 2nd-place solution of the Nishika 2023 competition: the structure's energy, e_form x n_atoms,
        regressed on the atom counts without intercept. Elements absent from these rows get the mean shift.
        element_counts: (n_crystals, N_ELEMENTS). e_form: (n_crystals,), eV/atom.
        """
        shift = np.zeros(N_ELEMENTS)
        if config.kind == "raw":
            return cls(shift, 1.0)
        if config.kind == "residual":
            n_atoms = element_counts.sum(axis=1)
            present = element_counts.sum(axis=0) > 0
            regression = LinearRegression(fit_intercept=False).fit(element_counts[:, present], e_form * n_atoms)
            shift[present] = regression.coef_
            shift[~present] = regression.coef_.mean()
        else:
            shift[:] = e_form.mean()
        scale = float(np.std(e_form - cls(shift, 1.0).baseline(element_counts)))
        return cls(shift, scale if scale > 1e-9 else 1.0)

    def baseline(self, element_counts: NDArray[np.int64]) -> NDArray[np.float64]:
        """(n_crystals,), eV/atom: what the atom counts alone predict."""
        return element_counts @ self.shift / element_counts.sum(axis=1)

    def normalize(self, element_counts: NDArray[np.int64], e_form: NDArray[np.float64]) -> NDArray[np.float64]:
        """e_form, eV/atom -> residual, unitless."""
        return (e_form - self.baseline(element_counts)) / self.scale

    def denormalize(self, element_counts: NDArray[np.int64], residual: NDArray[np.float64]) -> NDArray[np.float64]:
        """residual, unitless -> e_form, eV/atom."""
        return self.baseline(element_counts) + self.scale * residual

    def to_json(self) -> dict:
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, data: dict) -> "TargetNormalizer":
        return cls(np.array(data["shift"]), float(data["scale"]))
