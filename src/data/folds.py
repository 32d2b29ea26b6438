"""Assignment of crystals to folds, identical for experiments with the same fold config."""

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold

from src.config import FoldConfig


def assign_folds(e_form: NDArray[np.float64], element_counts: NDArray[np.int64], config: FoldConfig) -> NDArray[np.int64]:
    """Return the fold in which each crystal is scored, (n_crystals,).

    e_form: (n_crystals,), used by `stratified`: its quantile bins are spread evenly over the folds.
    element_counts: (n_crystals, N_ELEMENTS), used by `grouped`: crystals with the same reduced formula share a fold.
    """
    n = len(e_form)
    if n < config.n_folds:
        raise ValueError(f"{n} crystals cannot fill {config.n_folds} folds")
    x = np.zeros((n, 1))
    if config.scheme == "grouped":
        reduced = element_counts // np.gcd.reduce(element_counts, axis=1)[:, None]
        _, group = np.unique(reduced, axis=0, return_inverse=True)
        splits = GroupKFold(config.n_folds, shuffle=True, random_state=config.seed).split(x, groups=group)
    elif config.scheme == "stratified":
        n_bins = min(config.n_bins, n // config.n_folds)  # so that each bin has a crystal for every fold
        edges = np.quantile(e_form, np.linspace(0, 1, n_bins + 1)[1:-1])
        bins = np.searchsorted(edges, e_form)
        splits = StratifiedKFold(config.n_folds, shuffle=True, random_state=config.seed).split(x, bins)
    else:
        splits = KFold(config.n_folds, shuffle=True, random_state=config.seed).split(x)
    fold = np.full(n, -1)
    for k, (_, valid) in enumerate(splits):
        fold[valid] = k
    return fold
