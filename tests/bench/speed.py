"""Training steps timed side by side with the official nequip package, and the cost of building graphs.

    make bench
    make bench COMPILED=1

Their steps and ours alternate in one process on one thread, on the same crystals, with the same hyperparameters and the same
self-connection (a tensor product with as many element attributes as channels). A step is forward, L1 loss, backward, AdamW;
batches are built beforehand. Peak memory is that of the tensors and arrays that a step allocates.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from tqdm import tqdm

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parent)]
from official import ENERGY, build_official, official_batch, our_network  # noqa: E402

from src.config import GraphConfig, NequipConfig  # noqa: E402
from src.data.crystal import Crystal  # noqa: E402
from src.data.load import load_task_data  # noqa: E402
from src.data.table import Crystals, read_table  # noqa: E402
from src.data.task import read_task  # noqa: E402
from src.graphs.batch import batch_from_store  # noqa: E402
from src.graphs.dataset import build_store  # noqa: E402
from src.paths import DEFAULT_TASK, OUTPUTS  # noqa: E402
from src.storage.ragged import RaggedStore  # noqa: E402

BATCH_SIZE = 32
Step = Callable[[], None]


def make_step(model: nn.Module, forward: Callable[[], Tensor]) -> Step:
    """Return a function that does one training step with a new optimiser."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        forward().abs().mean().backward()
        optimizer.step()

    return step


def seconds(step: Step) -> float:
    """Return the duration of a step."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def peak_memory(step: Step) -> float:
    """Return the peak MB that a step allocates on top of weights, batch and optimiser: torch's peak plus numpy's."""
    tracemalloc.start()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        step()
    numpy_peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    sizes = [event.nbytes() for event in recorded.profiler.kineto_results.events() if event.name() == "[memory]"]
    return (max(np.cumsum(sizes), default=0) + numpy_peak) / 2**20


def compare(crystals: list[Crystal], l_max: int, r_max: float, n_channels: int, modes: list[str], n_rounds: int) -> str:
    """Time all implementations with one set of hyperparameters and return a line of the table."""
    config = NequipConfig(n_channels=n_channels, n_element_attributes=n_channels, head_hidden=(n_channels,))
    graph = GraphConfig(r_max=r_max, l_max=l_max)
    store = build_store(Crystals.from_list(crystals), graph)
    batch = batch_from_store(store, np.arange(len(crystals)))
    full = official_batch(crystals, r_max)
    ours = our_network(config, graph, 50.0).float()  # nequip sets double precision as the default
    steps: dict[str, Step] = {"ours": make_step(ours, lambda: ours(batch))}
    n_atoms = torch.tensor([crystal.n_atoms for crystal in crystals])
    for mode in modes:
        model = build_official(config, graph, 50.0, mode, "float32")
        steps[mode] = make_step(model, lambda model=model: model(dict(full))[ENERGY].flatten() / n_atoms)
    for step in steps.values():
        for _ in range(2):
            step()
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(n_rounds):
        for name, step in steps.items():
            times[name].append(seconds(step))
    ms = {name: 1000 * statistics.median(values) for name, values in times.items()}
    memory = {name: peak_memory(step) for name, step in steps.items()}
    n_edges = full["edge_index"].shape[1]
    cells = [f"{l_max}", f"{r_max:g}", f"{n_channels}", f"{n_edges}", f"{len(batch.edge_vec)}", f"{ms['ours']:.1f}"]
    for mode in modes:
        cells += [f"{ms[mode]:.1f}", f"**{ms[mode] / ms['ours']:.1f}x**"]
    cells += [f"{memory['ours']:.0f}", *(f"{memory[mode]:.0f}" for mode in modes)]
    return "| " + " | ".join(cells) + " |"


def graph_cost() -> str:
    """Return a sentence with the seconds from CIFs to a store of graphs on all cores, its size, and the time to open it."""
    task, n_jobs = read_task(DEFAULT_TASK), os.cpu_count() or 1
    start = time.perf_counter()
    tables = [read_table(task.path(which), task, has_target=which == "train", n_jobs=n_jobs) for which in ("train", "test")]
    parsed = time.perf_counter()
    stores = [build_store(table.crystals, GraphConfig(), n_jobs) for table in tables]
    built = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        stores[0].save(Path(folder) / "store")
        size = sum(path.stat().st_size for path in (Path(folder) / "store").iterdir())
        start_open = time.perf_counter()
        RaggedStore.open(Path(folder) / "store")
        opened = time.perf_counter() - start_open
    n = sum(len(table.ids) for table in tables)
    return (
        f"graphs of {n} crystals (r_max 5, l_max 1) on {n_jobs} cores: {parsed - start:.1f} s to parse the CIFs, "
        f"{built - parsed:.1f} s to build; {size / 2**20:.0f} MB for {len(stores[0])}; opened in {1000 * opened:.0f} ms"
    )


def main() -> None:
    """Time the grid of hyperparameters and the graphs, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compiled", action="store_true", help="add nequip's compile mode (minutes per line)")
    parser.add_argument("--rounds", type=int, default=15, help="timed steps of each implementation; their median is shown")
    parser.add_argument("--quick", action="store_true", help="32 channels, r_max 5 only")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    data = load_task_data(DEFAULT_TASK, OUTPUTS, skip_bad_rows=False, n_jobs=1)
    rows = np.random.default_rng(0).choice(len(data.train.crystals), BATCH_SIZE, replace=False)
    crystals = [data.train.crystals[int(i)] for i in rows]
    modes = ["eager", "compile"] if args.compiled else ["eager"]
    header = ["l_max", "r_max", "channels", "edges", "ours", "ours ms", *(h for m in modes for h in (f"nequip {m} ms", "ratio"))]
    header += ["ours MB", *(f"nequip {mode} MB" for mode in modes)]
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    grid = [(l, r, c) for c in (32, 64) for l in (1, 2) for r in (4.0, 5.0) if not args.quick or (c == 32 and r == 5.0)]
    for l_max, r_max, n_channels in tqdm(grid, desc="side by side"):
        lines.append(compare(crystals, l_max, r_max, n_channels, modes, args.rounds))
    print("\n".join(lines))
    print(graph_cost())


if __name__ == "__main__":
    main()
