"""Resident memory of a training process for two numbers of crystals: FLLA once, and repeated to give 132,000.

    make memory

Each size runs in a separate process, which opens the memory-mapped store and trains on 200 random batches. Private memory
belongs to the process alone; mapped pages of the store are in the page cache, shared and reclaimed when memory is short.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from graph_cost import repeated_graphs

from src.config import GnnConfig, TrainingConfig
from src.data.load import load_task_data
from src.graphs.batch import batch_from_store
from src.models.nequip import Nequip
from src.paths import DEFAULT_TASK, OUTPUTS
from src.storage.ragged import RaggedStore

N_BATCHES = 200


def private_mb() -> float:
    """Return the private memory of this process, MB; NaN if the system has no /proc."""
    if not Path("/proc/self/status").is_file():
        return float("nan")
    return int(re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


def train_some(folder: Path) -> None:
    """Train on some batches and print the private memory that opening the store adds, and that after training."""
    torch.set_num_threads(1)
    config = GnnConfig(training=TrainingConfig(n_epochs=1))
    model = Nequip(config.network, config.graph, torch.eye(119), 50.0)
    before = private_mb()
    store = RaggedStore.open(folder)
    opened, rng = private_mb(), np.random.default_rng(0)
    start = time.perf_counter()
    for _ in range(N_BATCHES):
        model(batch_from_store(store, rng.integers(len(store), size=32))).abs().mean().backward()
    ms = 1000 * (time.perf_counter() - start) / N_BATCHES
    size = sum(path.stat().st_size for path in folder.iterdir()) / 2**20
    print(f"{len(store):>8} crystals, {size:6.0f} MB on disk: private memory +{opened - before:.1f} MB when opened, ", end="")
    print(f"{private_mb():.0f} MB after {N_BATCHES} batches, {ms:.1f} ms per batch", flush=True)


def main() -> None:
    """Measure FLLA and 44 copies of it, each in a separate process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.store:
        train_some(args.store)
        return
    data = load_task_data(DEFAULT_TASK, OUTPUTS, skip_bad_rows=False, n_jobs=1)
    with tempfile.TemporaryDirectory() as folder:
        for n in (3_000, 132_000):
            path = Path(folder) / f"{n}"
            repeated_graphs(data, n).save(path)
            subprocess.run([sys.executable, __file__, "--store", str(path)], check=True)


if __name__ == "__main__":
    main()
