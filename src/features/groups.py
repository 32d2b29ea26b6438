"""Tables of features, one cached store for each group, which experiments share."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from src.data.table import Crystals
from src.features import composition, sevennet, structure
from src.features.columns import COLUMNS
from src.features.elements import word2vec_key
from src.features.structure import structure_features
from src.storage.cache import cache_key
from src.storage.ragged import RaggedStore

BUILDERS = {  # group -> the module that computes it
    **dict.fromkeys(composition.FORMULA_GROUPS, composition.__name__),
    **dict.fromkeys(structure.STRUCTURE_GROUPS, structure.__name__),
}
GROUPS = (*BUILDERS, sevennet.NAME)
NEED_STRUCTURES = (*structure.STRUCTURE_GROUPS, sevennet.NAME)  # the other groups are made from formulas too


def cached_features(
    crystals: Crystals, key: str, groups: tuple[str, ...], cache: Path | None, n_jobs: int = 1, word2vec: Path | None = None
) -> pd.DataFrame:
    """Return the columns of the groups for all crystals in single precision, from `cache` if they are there already.

    key: identifies the crystals, for instance by their hash. cache: None: nothing is written.
    groups: names in GROUPS: those of composition.py and structure.py, and SevenNet's features of crystals (open track).
    word2vec: a gensim file with the vectors of mat2vec; None: the packaged table.
    """
    unknown = [name for name in groups if name not in GROUPS]
    if unknown or not groups:
        raise ValueError(f"features: unknown {unknown}; there are {', '.join((*GROUPS, COLUMNS))}, and at least one is needed")
    return pd.concat([_cached_group(crystals, key, name, cache, n_jobs, word2vec) for name in groups], axis=1)


def finite_features(
    crystals: Crystals, key: str, groups: tuple[str, ...], cache: Path | None, n_jobs: int = 1, word2vec: Path | None = None
) -> NDArray[np.float32]:
    """Return `cached_features` as (n_crystals, n_features) for models that need every value.

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
    if cache is None:
        store = _computed_group(crystals, group, n_jobs, word2vec)
    else:
        settings = [group, word2vec_key(word2vec) if group == "mat2vec" else None]
        path = cache / f"features-{group}-{cache_key(key, settings, BUILDERS[group], RaggedStore.__module__)}"
        store = RaggedStore.cached(path, lambda: _computed_group(crystals, group, n_jobs, word2vec))
    return pd.DataFrame(np.array(store.arrays["values"]), columns=np.array(store.arrays["columns"]))


def _computed_group(crystals: Crystals, group: str, n_jobs: int, word2vec: Path | None) -> RaggedStore:
    """Return a store whose one item is the table of a group."""
    if group in composition.FORMULA_GROUPS:
        table = composition.FORMULA_GROUPS[group](crystals.element_counts, n_jobs, word2vec)
    else:
        table = structure_features(crystals, (group,), n_jobs)
    item = {"values": table.to_numpy(np.float32), "columns": np.array(table.columns, dtype=str)}
    return RaggedStore.from_items({"values": "crystal", "columns": "column"}, [item])
