"""The graphs of a table as one memory-mapped store, built once and keyed by everything that shaped it."""

import hashlib
import json
import logging
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import joblib
import numpy as np
import torch
from tqdm import tqdm

from src.config import GraphConfig, to_dict
from src.data.table import Crystals
from src.graphs import graph, neighbors, symmetry, triplets
from src.storage import ragged
from src.storage.ragged import RaggedStore

log = logging.getLogger(__name__)
CHUNK = 64  # crystals


def graph_key(crystals_key: str, config: GraphConfig) -> str:
    """Name of a store: hash of the crystals, the settings, the code that builds graphs, and the libraries it calls."""
    modules = (graph, neighbors, symmetry, triplets, ragged, sys.modules[__name__])
    code = [Path(str(module.__file__)).read_bytes() for module in modules]
    libraries = [version(name) for name in ("moyopy", "pymatgen-core", "e3nn", "numpy", "scipy", "torch")]
    parts = [crystals_key.encode(), json.dumps(to_dict(config)).encode(), *code, *(v.encode() for v in libraries)]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def cached_graphs(crystals: Crystals, crystals_key: str, config: GraphConfig, folder: Path, n_jobs: int = 1) -> RaggedStore:
    """The store of the crystals' graphs in `folder`, built where it is not there yet.

    crystals_key: identifies the crystals, their hash for instance.
    """
    path = folder / f"graphs-{graph_key(crystals_key, config)}"
    if path.is_dir():
        log.info("graphs: read from %s", path)
    return RaggedStore.cached(path, lambda: _build_and_log(crystals, config, path, n_jobs))


def _build_and_log(crystals: Crystals, config: GraphConfig, path: Path, n_jobs: int) -> RaggedStore:
    start = time.perf_counter()
    store = build_store(crystals, config, n_jobs, path.parent)
    n_atoms, n_orbits = (store.offsets[level][-1] for level in ("atom", "orbit"))
    without = int((np.diff(store.offsets["atom"]) == np.diff(store.offsets["orbit"])).sum())
    log.info(
        "graphs: %d crystals, %d atoms in %d orbits (%d without symmetry), %d edges, %d lengths, %d triplets, %.1f s; for %s",
        len(store), n_atoms, n_orbits, without, *(store.offsets[level][-1] for level in ("edge", "length", "triplet")),
        time.perf_counter() - start, path,
    )  # fmt: skip
    return store


def build_store(crystals: Crystals, config: GraphConfig, n_jobs: int = 1, scratch: Path | None = None) -> RaggedStore:
    """The graphs of all crystals, single precision, as `RaggedStore.concatenate` leaves them."""
    return RaggedStore.concatenate(_build_chunks(crystals, config, n_jobs), scratch)


def _build_chunks(crystals: Crystals, config: GraphConfig, n_jobs: int) -> Iterator[RaggedStore]:
    starts = range(0, len(crystals), CHUNK)
    bar = tqdm(total=len(crystals), desc="crystals to graphs", mininterval=1, disable=len(crystals) < 500)
    jobs = n_jobs if len(crystals) >= 500 else 1
    for part in joblib.Parallel(n_jobs=jobs, return_as="generator")(
        joblib.delayed(_build_chunk)(crystals, start, config) for start in starts
    ):
        bar.update(len(part))
        yield part
    bar.close()


def _build_chunk(crystals: Crystals, start: int, config: GraphConfig) -> RaggedStore:
    logging.getLogger("moyo").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    items = []
    for i in range(start, min(start + CHUNK, len(crystals))):
        try:
            items.append(vars(graph.build_graph(crystals[i], config)))
        except ValueError as error:
            raise ValueError(f"{crystals.name(i)}: {error}") from error
    return RaggedStore.from_items(graph.LEVELS_OF_FIELDS, [{k: _compact(v) for k, v in item.items()} for item in items])


def _compact(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32 if np.issubdtype(array.dtype, np.floating) else np.int64)
