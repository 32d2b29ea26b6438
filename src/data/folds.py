"""Assignment of crystals to folds, identical for experiments with the same fold config."""

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold

from src.config import FoldConfig
from src.data.rows import read_rows

N_BINS = 6  # quantiles of the target, for `stratified`
N_FIRST = 5


def assign_folds(target: NDArray[np.float64], element_counts: NDArray[np.int64], config: FoldConfig) -> NDArray[np.int64]:
    """Return the fold in which each crystal is scored, (n_crystals,).

    target: (n_crystals,), used by `stratified`: its quantile bins are spread evenly over the folds.
    element_counts: (n_crystals, N_ELEMENTS), used by `grouped`: crystals with the same reduced formula share a fold.
    """
    n = len(target)
    if n < config.n_folds:
        raise ValueError(f"{n} crystals cannot fill {config.n_folds} folds")
    x = np.zeros((n, 1))
    if config.scheme == "grouped":
        reduced = element_counts // np.gcd.reduce(element_counts, axis=1)[:, None]
        _, group = np.unique(reduced, axis=0, return_inverse=True)
        splits = GroupKFold(config.n_folds, shuffle=True, random_state=config.seed).split(x, groups=group)
    elif config.scheme == "stratified":
        n_bins = min(N_BINS, n // config.n_folds)  # so that each bin has a crystal for every fold
        edges = np.quantile(target, np.linspace(0, 1, n_bins + 1)[1:-1])
        bins = np.searchsorted(edges, target)
        splits = StratifiedKFold(config.n_folds, shuffle=True, random_state=config.seed).split(x, bins)
    else:
        splits = KFold(config.n_folds, shuffle=True, random_state=config.seed).split(x)
    fold = np.full(n, -1)
    for k, (_, valid) in enumerate(splits):
        fold[valid] = k
    return fold


def read_folds(path: Path, id_column: str, ids: Sequence[str], left_out: Collection[str]) -> NDArray[np.int64]:
    """Return the given fold of each training crystal, (n_train,), from a table with the columns of ids and `fold`.

    ids: of the training crystals, each of which must be in the table once. left_out: further ids that it may have.
    Raises ValueError, which names the file, the row and the remedy, if it is not such a table, or if a fold is empty.
    """
    found: dict[str, int] = {}
    known = set(ids)
    for record, row in enumerate(read_rows(path), start=2):
        if not {id_column, "fold"} <= set(row):
            raise ValueError(f"{path}: expected the columns {id_column!r} and 'fold', found {list(row)[:N_FIRST]}")
        own, fold = row[id_column], row["fold"]
        place = f"{path}: record {record}, {own[:80]!r}"
        if own not in known and own not in left_out:
            raise ValueError(f"{place}: the training table has no such row; give the folds of its rows alone")
        if own in found:
            raise ValueError(f"{place} is duplicated; give each training row one fold")
        if not (fold.isascii() and fold.isdigit() and int(fold[:9]) < len(ids)):
            raise ValueError(f"{place}: fold is {fold[:80]!r}; number the folds 0, 1, 2, ...")
        found[own] = int(fold)
    if missing := [row_id for row_id in ids if row_id not in found]:
        raise ValueError(f"{path}: {len(missing)} training rows have no fold: {missing[:N_FIRST]}; give each of them one")
    fold_of_crystal = np.array([found[row_id] for row_id in ids])
    n_folds = max(int(fold_of_crystal.max()) + 1, 2)
    if empty := sorted(set(range(n_folds)) - set(fold_of_crystal.tolist())):
        raise ValueError(f"{path}: fold {empty[0]} of {n_folds} has no training row; number the folds 0, 1, 2, ... without gaps")
    return fold_of_crystal
