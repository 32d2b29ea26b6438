"""Seconds from tables to graphs, and to open graphs that are on disk."""

import os
import statistics
import tempfile
import time
from pathlib import Path

from src.config import GraphConfig
from src.data.load import TaskData
from src.data.table import read_table
from src.data.task import read_task
from src.graphs.dataset import build_store, cached_graphs
from src.paths import DEFAULT_TASK
from src.storage.ragged import RaggedStore

N_OPENINGS = 5


def graph_cost() -> str:
    """Return a sentence with the seconds from CIFs to a store of graphs on all cores, its size, and the time to open it."""
    task, n_jobs = read_task(DEFAULT_TASK), os.cpu_count() or 1
    start = time.perf_counter()
    tables = [read_table(task.path(which), task, has_target=which == "train", n_jobs=n_jobs) for which in ("train", "test")]
    parsed = time.perf_counter()
    stores = [build_store(table.crystals, GraphConfig(), n_jobs) for table in tables]
    built = time.perf_counter()
    size, opened = opening(stores[0])
    n = sum(len(table.ids) for table in tables)
    return (
        f"graphs of {n} crystals (r_max 5, l_max 1) on {n_jobs} cores: {parsed - start:.1f} s to parse the CIFs, "
        f"{built - parsed:.1f} s to build; {size:.0f} MB for {len(stores[0])}; opened in {1000 * opened:.0f} ms"
    )


def opening(store: RaggedStore) -> tuple[float, float]:
    """Return the MB of a store on disk and the median seconds to open it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store"
        store.save(path)
        seconds = []
        for _ in range(N_OPENINGS):
            start = time.perf_counter()
            RaggedStore.open(path)
            seconds.append(time.perf_counter() - start)
        return sum(file.stat().st_size for file in path.iterdir()) / 2**20, statistics.median(seconds)


def repeated_graphs(data: TaskData, n: int) -> RaggedStore:
    """Return at least n graphs: those of the training table, repeated."""
    graphs = cached_graphs(data.train.crystals, data.train_key, GraphConfig(), data.cache)
    return RaggedStore.concatenate([graphs] * -(-n // len(graphs)))
