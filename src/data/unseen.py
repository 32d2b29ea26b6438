"""What an element that no training crystal has adds to the energy, by those that resemble it."""

import warnings
from functools import cache

import numpy as np
from numpy.typing import NDArray

from src.config.knobs import N_ELEMENTS

MIN_CRYSTALS = 10  # with an element, for its shift to teach something


def predicted_shifts(shift: NDArray[np.float64], element_counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the shifts with those of absent elements predicted from the others, (N_ELEMENTS,).

    A Gaussian process (Rasmussen, Williams, MIT Press 2006, algorithm 2.1) on electronegativity, group and row of the periodic
    table, whose length and noise maximise the marginal likelihood.
    shift: (N_ELEMENTS,), eV/atom. element_counts: (n_crystals, N_ELEMENTS), of the crystals that they were fitted to.
    """
    n_crystals = (element_counts > 0).sum(axis=0)
    known, absent = n_crystals >= MIN_CRYSTALS, n_crystals == 0
    if known.sum() < MIN_CRYSTALS:
        return shift
    from sklearn.gaussian_process import GaussianProcessRegressor  # predictions do without
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    x = _periodic_table()
    process = GaussianProcessRegressor(ConstantKernel() * RBF() + WhiteKernel(0.1), normalize_y=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a length at the end of its range
        process.fit(x[known], shift[known])
    found = shift.copy()
    found[absent] = process.predict(x[absent])
    return found


@cache
def _periodic_table() -> NDArray[np.float64]:
    """Return Pauling's electronegativity, group and row, standardised, (N_ELEMENTS, 3); what is unknown is the mean."""
    from pymatgen.core import Element  # takes long to import, and commands that look at results do without

    table = np.full((N_ELEMENTS, 3), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pymatgen warns of electronegativities that it does not have
        for z in range(1, N_ELEMENTS):
            element = Element.from_Z(z)
            table[z] = element.X, element.group, element.row
    return np.nan_to_num((table - np.nanmean(table, axis=0)) / np.nanstd(table, axis=0))
