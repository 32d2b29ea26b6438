"""Structure statistics: crystals -> columns, for LightGBM and as global features of networks."""

import logging
import warnings
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from numpy.typing import NDArray
from tqdm import tqdm

from src.data.table import Crystals
from src.features.charges import CHARGES, charges
from src.features.geometry import GEOMETRY, SYMMETRY, PrimitiveCrystal, geometry, primitive_crystal, symmetry
from src.features.voronoi import VORONOI, voronoi

log = logging.getLogger(__name__)
CHUNK = 32  # crystals


class Group(NamedTuple):
    """A named group of columns. is_finite: defined for every crystal, so fit for networks; else NaN where it is not."""

    columns: tuple[str, ...]
    compute: Callable[[PrimitiveCrystal], list[float]]
    is_finite: bool


GROUPS = {
    "geometry": Group(GEOMETRY, geometry, True),
    "symmetry": Group(SYMMETRY, symmetry, True),
    "charges": Group(CHARGES, charges, True),
    "voronoi": Group(VORONOI, voronoi, False),
}


def structure_features(crystals: Crystals, groups: tuple[str, ...], n_jobs: int = 1) -> pd.DataFrame:
    """One row for each crystal, the columns of the named groups side by side; the same for every cell of a crystal.

    Where a group that is not finite cannot be computed its columns are NaN; how often and why is in the log.
    groups: of GROUPS.
    """
    unknown = set(groups) - set(GROUPS)
    if unknown:
        raise ValueError(f"features: unknown {sorted(unknown)}; there are {', '.join(GROUPS)}")
    bar = tqdm(total=len(crystals), desc=f"features: {', '.join(groups)}", mininterval=1, disable=len(crystals) < 100)
    rows: list[NDArray[np.float64]] = []
    problems: Counter[str] = Counter()
    for part, found in Parallel(n_jobs=n_jobs if len(crystals) >= 100 else 1, return_as="generator")(
        delayed(_rows)(crystals, start, groups) for start in range(0, len(crystals), CHUNK)
    ):
        rows.append(part)
        problems.update(found)
        bar.update(len(part))
    bar.close()
    for problem, n in problems.items():
        log.warning("features: %d of %d crystals: %s", n, len(crystals), problem)
    return pd.DataFrame(np.concatenate(rows), columns=[column for name in groups for column in GROUPS[name].columns])


def _rows(crystals: Crystals, start: int, groups: tuple[str, ...]) -> tuple[NDArray[np.float64], Counter[str]]:
    """The rows of a chunk, and what went wrong how often."""
    logging.getLogger("moyo").setLevel(logging.ERROR)
    rows, problems = [], Counter[str]()
    for i in range(start, min(start + CHUNK, len(crystals))):
        crystal = primitive_crystal(crystals[i])
        if not crystal.symmetry_found:
            problems["no symmetry found, taken as P1"] += 1
        row: list[float] = []
        for name in groups:
            row += _values(name, crystal, problems)
        rows.append(row)
    return np.array(rows, dtype=np.float64), problems


def _values(name: str, crystal: PrimitiveCrystal, problems: Counter[str]) -> list[float]:
    group = GROUPS[name]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pymatgen's and matminer's remarks on elements that lack a property
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
