"""Structure statistics: crystals -> columns, for LightGBM and as global features of networks."""

import logging
import warnings
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from src.data.table import Crystals
from src.features.charges import CHARGES, charges
from src.features.geometry import GEOMETRY, SYMMETRY, PrimitiveCrystal, geometry, primitive_crystal, symmetry
from src.features.voronoi import VORONOI, voronoi
from src.storage.cache import in_chunks

log = logging.getLogger(__name__)
STRUCTURES_PER_TASK = 32  # crystals


class Group(NamedTuple):
    """A named group of columns. is_finite: defined for every crystal, hence fit for networks; otherwise NaN if undefined."""

    columns: tuple[str, ...]
    compute: Callable[[PrimitiveCrystal], list[float]]
    is_finite: bool


STRUCTURE_GROUPS = {
    "geometry": Group(GEOMETRY, geometry, True),
    "symmetry": Group(SYMMETRY, symmetry, True),
    "charges": Group(CHARGES, charges, True),
    "voronoi": Group(VORONOI, voronoi, False),
}


def structure_features(crystals: Crystals, groups: tuple[str, ...], n_jobs: int = 1) -> pd.DataFrame:
    """Return one row for each crystal, the columns of the named groups side by side; no choice of cell changes them.

    If a group that is not finite cannot be computed, its columns are NaN; the log says how often and why.
    groups: names in STRUCTURE_GROUPS.
    """
    crystals.check_structures(f"features: {', '.join(groups)}")
    compute, n = partial(_rows, crystals, groups), len(crystals)
    found = list(
        in_chunks(compute, range(n), n, STRUCTURES_PER_TASK, f"features: {', '.join(groups)}", n_jobs, worth_workers=100)
    )
    for problem, n_times in sum((problems for _, problems in found), Counter[str]()).items():
        log.warning("features: %d of %d crystals: %s", n_times, n, problem)
    columns = [column for name in groups for column in STRUCTURE_GROUPS[name].columns]
    return pd.DataFrame(np.concatenate([rows for rows, _ in found]), columns=columns)


def _rows(crystals: Crystals, groups: tuple[str, ...], chunk: list[int]) -> tuple[NDArray[np.float64], Counter[str]]:
    """Return the rows of a chunk, and how often each problem occurred."""
    logging.getLogger("moyo").setLevel(logging.ERROR)
    rows, problems = [], Counter[str]()
    for i in chunk:
        crystal = primitive_crystal(crystals[i])
        if not crystal.symmetry_found:
            problems["no symmetry found, taken as P1"] += 1
        rows.append([value for name in groups for value in _values(name, crystal, problems)])
    return np.array(rows, dtype=np.float64), problems


def _values(name: str, crystal: PrimitiveCrystal, problems: Counter[str]) -> list[float]:
    group = STRUCTURE_GROUPS[name]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pymatgen and matminer warn about elements that lack a property
            values = group.compute(crystal)
    except ValueError as error:
        if group.is_finite:
            raise ValueError(f"features: {name} of {crystal.structure.formula}: {error}") from error
        problems[f"{name} is NaN ({error})"] += 1
        return [np.nan] * len(group.columns)
    if group.is_finite and not np.isfinite(values).all():
        bad = [column for column, value in zip(group.columns, values, strict=True) if not np.isfinite(value)]
        raise ValueError(f"features: {name} of {crystal.structure.formula}: {', '.join(bad)} not finite")
    return values
