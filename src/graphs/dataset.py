"""The graphs of a table as one memory-mapped store, built once and keyed by everything that shaped it."""

import logging
from functools import partial
from pathlib import Path

import numpy as np

from src.config import GraphConfig, to_dict
from src.data.table import Crystals
from src.graphs import graph
from src.storage.cache import cache_key, in_chunks
from src.storage.ragged import RaggedStore

log = logging.getLogger(__name__)
GRAPHS_PER_TASK = 64  # crystals


def cached_graphs(
    crystals: Crystals, crystals_key: str, config: GraphConfig | None, folder: Path | None, n_jobs: int = 1
) -> RaggedStore:
    """Return the store of the crystals' graphs in `folder`; it is built if it is missing. None: it is built in memory.

    crystals_key: identifies the crystals, for instance by their hash. config: None for graphs of formulas.
    """
    path = folder and folder / f"graphs-{cache_key(crystals_key, to_dict(config), __name__)}"
    return RaggedStore.cached(path, lambda: build_store(crystals, config, n_jobs, folder))


def build_store(crystals: Crystals, config: GraphConfig | None, n_jobs: int = 1, scratch: Path | None = None) -> RaggedStore:
    """Return the graphs of all crystals in single precision, as `RaggedStore.concatenate` returns them with `scratch`."""
    if config is not None:
        crystals.check_structures("graphs")
    n = len(crystals)
    build = partial(_build_chunk, crystals, config)
    chunks = in_chunks(build, range(n), n, GRAPHS_PER_TASK, "crystals to graphs", n_jobs)
    store = RaggedStore.concatenate(chunks, scratch)
    counts = ", ".join(f"{offsets[-1]} {level}s" for level, offsets in store.offsets.items())
    log.info("graphs: %d crystals, %s", n, counts)
    return store


def _build_chunk(crystals: Crystals, config: GraphConfig | None, chunk: list[int]) -> RaggedStore:
    items = []
    for i in chunk:
        try:
            items.append(vars(graph.build_graph(crystals[i], config) if config else graph.formula_graph(crystals[i])))
        except ValueError as error:
            raise ValueError(f"{crystals.name(i)}: {error}") from error
    kinds = {"f": np.float32, "i": np.int64}
    return RaggedStore.from_items(graph.LEVELS, [{k: v.astype(kinds[v.dtype.kind]) for k, v in item.items()} for item in items])
