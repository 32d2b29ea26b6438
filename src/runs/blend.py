"""Means over experiments, judged out of fold."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from src.runs.artifacts import Predictions


def normalized_weights(weights: Sequence[float] | None, n_members: int) -> NDArray[np.float64]:
    """(n_members,), summing to one; equal where none are given."""
    given = np.ones(n_members) if weights is None else np.array(weights, dtype=np.float64)
    if len(given) != n_members:
        raise ValueError(f"{len(given)} weights for {n_members} experiments")
    if not np.isfinite(given).all() or (given < 0).any() or given.sum() == 0:
        raise ValueError(f"weights {given.tolist()}: expected finite numbers >= 0, not all zero")
    return given / given.sum()


def stack_oof(members: Sequence[Predictions]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Truth (n_crystals,) and out-of-fold predictions (n_crystals, n_members), eV/atom, rows as in the first member."""
    first = members[0].oof
    columns = []
    for member in members:
        aligned = member.oof.set_index("id").reindex(first["id"])
        if len(member.oof) != len(first) or not np.allclose(aligned["e_form"], first["e_form"], rtol=0, atol=1e-9):
            raise ValueError(f"{member.name} ({member.source}) was trained on other rows than {members[0].name}")
        columns.append(aligned["e_form_pred"].to_numpy())
    return first["e_form"].to_numpy(), np.stack(columns, axis=1)


def stack_test(members: Sequence[Predictions], ids: Sequence[str]) -> NDArray[np.float64]:
    """(n_test, n_members), eV/atom, rows in the order of ids."""
    columns = []
    for member in members:
        test = member.test.set_index("id")["e_form_pred"]
        missing = [row_id for row_id in ids if row_id not in test.index]
        if missing or len(test) != len(ids):
            raise ValueError(
                f"{member.name} ({member.source}) predicts {len(test)} test rows where {len(ids)} are asked for; "
                f"{len(missing)} of these are missing {missing[:5]}"
            )
        columns.append(test.loc[list(ids)].to_numpy(dtype=np.float64))
    return np.stack(columns, axis=1)
