"""Groups of features: statistics of compositions and structures, a cached table for each group, which experiments share."""

import logging
import warnings
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pymatgen.core import Composition, Element

from src.config import ElementConfig
from src.data.crystal import N_ELEMENTS
from src.data.table import Crystals
from src.features import sevennet
from src.features.charges import CHARGES, charges
from src.features.columns import COLUMNS
from src.features.electrons import electrons
from src.features.elements import element_vectors, word2vec_key
from src.features.geometry import GEOMETRY, SYMMETRY, PrimitiveCrystal, geometry, primitive_crystal, symmetry
from src.features.layers import LAYERS, layers
from src.features.voronoi import VORONOI, voronoi
from src.storage.cache import cache_key, in_chunks
from src.storage.ragged import RaggedStore

log = logging.getLogger(__name__)
Counts = NDArray[Any]  # (n_crystals, N_ELEMENTS), atoms of each element
COMPOSITIONS_PER_TASK, STRUCTURES_PER_TASK = 64, 32


def fractions(element_counts: Counts, n_jobs: int, word2vec: Path | None) -> pd.DataFrame:
    """Return the atomic fraction of each element, one row for each crystal."""
    columns = [f"x_{Element.from_Z(z).symbol}" for z in range(1, N_ELEMENTS)]
    return pd.DataFrame((element_counts / element_counts.sum(axis=1, keepdims=True))[:, 1:], columns=columns)


def mat2vec_statistics(element_counts: Counts, n_jobs: int, word2vec: Path | None) -> pd.DataFrame:
    """Return mean and standard deviation of each component of mat2vec over the atoms."""
    vectors = element_vectors(ElementConfig(("mat2vec",)), word2vec)
    x = element_counts / element_counts.sum(axis=1, keepdims=True)
    mean = x @ vectors
    sd = np.sqrt(np.maximum(x @ vectors**2 - mean**2, 0))
    columns = [f"mat2vec_{name}_{i}" for name in ("mean", "sd") for i in range(vectors.shape[1])]
    return pd.DataFrame(np.concatenate([mean, sd], axis=1), columns=columns)


def magpie(element_counts: Counts, n_jobs: int, word2vec: Path | None) -> pd.DataFrame:
    """Return Magpie statistics, stoichiometry norms and valence orbitals, computed by matminer.

    Source: Ward et al., npj Comput. Mater. 2, 16028 (2016), doi:10.1038/npjcompumats.2016.28.
    """
    different, row = np.unique(element_counts, axis=0, return_inverse=True)
    parts = in_chunks(_magpie_rows, different, len(different), COMPOSITIONS_PER_TASK, "Magpie statistics", n_jobs)
    return pd.concat(parts, ignore_index=True).iloc[row].reset_index(drop=True)


def _magpie_rows(element_counts: list[Counts]) -> pd.DataFrame:
    from matminer.featurizers.composition import ElementProperty, Stoichiometry, ValenceOrbital

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # noble gases have no electronegativity
        featurizers = [ElementProperty.from_preset("magpie", impute_nan=True), Stoichiometry(), ValenceOrbital(impute_nan=True)]
        compositions = [Composition({int(z): row[z].item() for z in np.flatnonzero(row)}) for row in element_counts]
        values = [[v for f in featurizers for v in f.featurize(composition)] for composition in compositions]
    return pd.DataFrame(values, columns=[label for f in featurizers for label in f.feature_labels()], dtype=np.float64)


FORMULA_GROUPS: dict[str, Callable[[Counts, int, Path | None], pd.DataFrame]] = {
    "fractions": fractions,
    "magpie": magpie,
    "mat2vec": mat2vec_statistics,
    "electrons": electrons,
}


class Group(NamedTuple):
    """A named group of columns. is_finite: defined for every crystal, so networks can use it; otherwise NaN if undefined."""

    columns: tuple[str, ...]
    compute: Callable[[PrimitiveCrystal], list[float]]
    is_finite: bool = True


STRUCTURE_GROUPS = {
    "geometry": Group(GEOMETRY, geometry),
    "symmetry": Group(SYMMETRY, symmetry),
    "charges": Group(CHARGES, charges),
    "voronoi": Group(VORONOI, voronoi, is_finite=False),
    "layers": Group(LAYERS, layers),
}
NEED_STRUCTURES = (*STRUCTURE_GROUPS, sevennet.NAME)  # the other groups are made from formulas too
GROUPS = (*FORMULA_GROUPS, *NEED_STRUCTURES)


def cached_features(
    crystals: Crystals, key: str, groups: tuple[str, ...], cache: Path | None, n_jobs: int = 1, word2vec: Path | None = None
) -> pd.DataFrame:
    """Return the columns of the groups for all crystals in single precision, from `cache` if it has them.

    key: identifies the crystals, for instance by their hash. cache: None: nothing is written. groups: names in GROUPS.
    word2vec: a gensim file with the vectors of mat2vec; None: the packaged table.
    """
    unknown = [name for name in groups if name not in GROUPS]
    if unknown or not groups:
        raise ValueError(f"features: unknown {unknown}; there are {', '.join((*GROUPS, COLUMNS))}, and at least one is needed")
    return pd.concat([_cached_group(crystals, key, name, cache, n_jobs, word2vec) for name in groups], axis=1)


def finite_features(
    crystals: Crystals, key: str, groups: tuple[str, ...], cache: Path | None, n_jobs: int = 1, word2vec: Path | None = None
) -> NDArray[np.float32]:
    """Return `cached_features` as (n_crystals, n_features), for models that cannot handle undefined values.

    Raises ValueError if a value is undefined.
    """
    table = cached_features(crystals, key, groups, cache, n_jobs, word2vec)
    undefined = ~np.isfinite(table.to_numpy())
    if undefined.any():
        names = table.columns[undefined.any(axis=0)].tolist()
        n = undefined.any(axis=1).sum()
        raise ValueError(f"features: {', '.join(names[:5])} undefined for {n} crystals; leave their group out")
    return table.to_numpy()


def _cached_group(
    crystals: Crystals, key: str, group: str, cache: Path | None, n_jobs: int, word2vec: Path | None
) -> pd.DataFrame:
    if group == sevennet.NAME:  # a cache of its own
        return sevennet.potential_features(sevennet.cached_potential(crystals, key, cache, n_jobs)).astype(np.float32)

    def compute() -> RaggedStore:
        if group in FORMULA_GROUPS:
            table = FORMULA_GROUPS[group](crystals.element_counts, n_jobs, word2vec)
        else:
            table = structure_features(crystals, (group,), n_jobs)
        item = {"values": table.to_numpy(np.float32), "columns": np.array(table.columns, dtype=str)}
        return RaggedStore.from_items({"values": "crystal", "columns": "column"}, [item])

    settings = [group, word2vec_key(word2vec) if group == "mat2vec" else None]
    path = cache and cache / f"features-{group}-{cache_key(key, settings, __name__)}"
    store = RaggedStore.cached(path, compute)
    return pd.DataFrame(np.array(store.arrays["values"]), columns=np.array(store.arrays["columns"]))


def structure_features(crystals: Crystals, groups: tuple[str, ...], n_jobs: int = 1) -> pd.DataFrame:
    """Return one row for each crystal, the columns of the named STRUCTURE_GROUPS side by side, for any choice of cell.

    If a group that is not finite cannot be computed, its columns are NaN; the log says how often and why.
    """
    name, n = f"features: {', '.join(groups)}", len(crystals)
    crystals.check_structures(name)
    parts = in_chunks(partial(_rows, crystals, groups), range(n), n, STRUCTURES_PER_TASK, name, n_jobs, worth_workers=100)
    rows, problems = zip(*parts, strict=True)
    for problem, n_times in sum(problems, Counter[str]()).items():
        log.warning("features: %d of %d crystals: %s", n_times, n, problem)
    return pd.DataFrame(np.concatenate(rows), columns=[column for group in groups for column in STRUCTURE_GROUPS[group].columns])


def _rows(crystals: Crystals, groups: tuple[str, ...], chunk: list[int]) -> tuple[NDArray[np.float64], Counter[str]]:
    """Return the rows of a chunk, and how often each problem occurred."""
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
        values = group.compute(crystal)
        bad = [column for column, value in zip(group.columns, values, strict=True) if not np.isfinite(value)]
        if group.is_finite and bad:
            raise ValueError(f"{', '.join(bad)} not finite")
    except ValueError as error:
        if group.is_finite:
            raise ValueError(f"features: {name} of {crystal.structure.formula}: {error}") from error
        problems[f"{name} is NaN ({error})"] += 1
        return [np.nan] * len(group.columns)
    return values
