"""Tables of features, one cached file for each group, which experiments share."""

import hashlib
import logging
import sys
import time
import zipfile
import zlib
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from src.data import crystal
from src.data.table import Crystals
from src.features import charges, chgnet, composition, elements, geometry, structure, voronoi
from src.features.composition import composition_features
from src.features.structure import structure_features
from src.storage.cache import cached
from src.storage.files import to_bytes, write_atomic

log = logging.getLogger(__name__)
GROUPS = (*composition.GROUPS, *structure.GROUPS, *chgnet.WEIGHTS)
CODE = {
    "composition": (composition, elements),
    "structure": (crystal, geometry, structure),
    "charges": (charges,),
    "voronoi": (voronoi,),
}
LIBRARIES = ("matminer", "pymatgen-core", "ElementEmbeddings", "moyopy", "numpy", "scipy")


def cached_features(
    crystals: Crystals, key: str, groups: tuple[str, ...], cache: Path, n_jobs: int = 1, word2vec: Path | None = None
) -> pd.DataFrame:
    """The columns of the groups for all crystals, single precision, from files in `cache` where they are there already.

    key: identifies the crystals, their hash for instance.
    groups: of GROUPS: those of composition.py and structure.py, and CHGNet's crystal features (open track).
    word2vec: a gensim file to take mat2vec from.
    """
    unknown = [name for name in groups if name not in GROUPS]
    if unknown or not groups:
        raise ValueError(f"features: unknown {unknown}; there are {', '.join(GROUPS)}, and at least one is needed")
    return pd.concat([_cached_group(crystals, key, name, cache, n_jobs, word2vec) for name in groups], axis=1)


def finite_features(
    crystals: Crystals, key: str, groups: tuple[str, ...], cache: Path, n_jobs: int = 1, word2vec: Path | None = None
) -> NDArray[np.float32]:
    """(n_crystals, n_features): `cached_features` for those who need every value; ValueError where one is undefined."""
    table = cached_features(crystals, key, groups, cache, n_jobs, word2vec)
    undefined = ~np.isfinite(table.to_numpy())
    if undefined.any():
        names = table.columns[undefined.any(axis=0)].tolist()
        n = undefined.any(axis=1).sum()
        raise ValueError(f"features: {', '.join(names[:5])} undefined for {n} crystals; leave their group out")
    return table.to_numpy()


def _cached_group(crystals: Crystals, key: str, group: str, cache: Path, n_jobs: int, word2vec: Path | None) -> pd.DataFrame:
    if group in chgnet.WEIGHTS:  # a cache of its own
        store = chgnet.cached_potential(crystals, key, cache, n_jobs, group)
        return chgnet.potential_features(store, group).astype(np.float32)
    path = cache / f"features-{group}-{_hash(key, group, word2vec)}.npz"
    if path.is_file():
        log.info("features: %s read from %s", group, path)
    compute = partial(_compute_group, path, crystals, group, n_jobs, word2vec)
    return cached(path, partial(_stored_group, n_crystals=len(crystals)), compute)


def _compute_group(path: Path, crystals: Crystals, group: str, n_jobs: int, word2vec: Path | None) -> None:
    start = time.perf_counter()
    if group in composition.GROUPS:
        table = composition_features(crystals.element_counts, (group,), n_jobs, word2vec)
    else:
        table = structure_features(crystals, (group,), n_jobs)
    table = table.astype(np.float32)
    columns = np.array(table.columns, dtype=str)
    write_atomic(path, to_bytes(lambda file: np.savez(file, values=table.to_numpy(), columns=columns)))
    seconds = time.perf_counter() - start
    log.info("features: %s, %d columns for %d crystals in %.1f s; now in %s", group, table.shape[1], len(table), seconds, path)


def _stored_group(path: Path, n_crystals: int) -> pd.DataFrame:
    """The columns in a cached file; ValueError where it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            table = pd.DataFrame(stored["values"], columns=stored["columns"])
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"features: {path} is damaged ({error}); remove it, it will be made anew") from error
    if len(table) != n_crystals or (table.dtypes != np.float32).any():
        raise ValueError(
            f"features: {path} is damaged (not single precision for {n_crystals} crystals); remove it, it will be made anew"
        )
    return table


def _hash(key: str, group: str, word2vec: Path | None) -> str:
    """Of everything that shapes the columns of a group: crystals, code, libraries, the user's vectors."""
    kind = "composition" if group in composition.GROUPS else "structure"
    modules = (*CODE[kind], *CODE.get(group, ()), sys.modules[__name__])
    code = [Path(str(module.__file__)).read_bytes() for module in modules]
    libraries = [f"{name} {version(name)}".encode() for name in LIBRARIES]
    own_vectors = word2vec.read_bytes() if word2vec and group == "mat2vec" else b""
    return hashlib.sha256(b"\0".join([key.encode(), group.encode(), own_vectors, *code, *libraries])).hexdigest()[:16]
