"""Training steps timed side by side with the official nequip package, and the cost of building graphs.

    make bench
    make bench COMPILED=1       # with nequip's compile mode: minutes per line
    make bench FULL=1           # with our steps on all edges, not only on those that symmetry leaves
    make bench BATCHES=1        # with batches of 8 and 128 crystals
    make bench QUICK=1          # two lines only, and no graphs

Their steps and ours alternate in one process on one thread, on the same crystals, with the same hyperparameters and the same
self-connection (a tensor product with as many element attributes as channels). A step is forward, L1 loss, backward, AdamW;
batches are built beforehand. Peak memory is that of the tensors and arrays that a step allocates. GFLOP/s are those of the
convolution's kernels, per CPU second.

Crystals: 32 of FLLA; p1, the same strained and with displaced atoms, so that no symmetry is left; cells, 8 supercells of 40 to
80 atoms without symmetry.
"""

import argparse
import itertools
import statistics
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from tqdm import tqdm

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]
from graph_cost import graph_cost  # noqa: E402
from kernel_rate import fma_gflops, gflops  # noqa: E402
from official import ENERGY, build_official, official_batch, our_network  # noqa: E402
from samples import choose, make_samples  # noqa: E402
from timing import Step, in_turn, make_step, peak_memory  # noqa: E402

from src.config import GraphConfig, NequipConfig  # noqa: E402
from src.data.crystal import Crystal  # noqa: E402
from src.data.load import load_task_data  # noqa: E402
from src.graphs.batch import GraphBatch, batch_from_graphs  # noqa: E402
from src.graphs.graph import build_graph  # noqa: E402
from src.learners.captured import CapturedGradient  # noqa: E402
from src.learners.device import check_device  # noqa: E402
from src.learners.training import FlatParameters  # noqa: E402
from src.models.nequip import Nequip  # noqa: E402
from src.paths import DEFAULT_TASK, OUTPUTS  # noqa: E402

BATCH_SIZE, OTHER_SIZES = 32, (8, 128)
KNOTS = 256
N_CLOCKED = 5  # steps whose kernels are timed
AVG_N_NEIGHBORS = 50.0


class Row(NamedTuple):
    """What a line of the table compares."""

    sample: str
    l_max: int
    r_max: float
    n_channels: int


class Variant(NamedTuple):
    """Options of our step: intervals of the radial table, edges that symmetry leaves or all, CUDA graphs."""

    knots: int = 0
    symmetry: bool = True
    captured: bool = False


class Comparison:
    """The implementations that are compared: `ours` in several variants, and nequip in several modes."""

    def __init__(self, modes: list[str], with_all_edges: bool, n_rounds: int, device: str) -> None:
        self.modes, self.n_rounds, self.device = modes, n_rounds, device
        self.variants = {"ours": Variant(), "knots": Variant(KNOTS)}
        if with_all_edges:
            self.variants["all edges"] = Variant(symmetry=False)
        if device.startswith("cuda"):
            self.variants["captured"] = Variant(captured=True)

    def header(self) -> list[str]:
        """Return the two lines that open the table."""
        ours = [("" if name == "ours" else f"ours, {name} ").replace("ours, all", "all") for name in self.variants]
        columns = ["crystals", "l_max", "r_max", "channels", "edges", "kept", "lengths"]
        columns += [f"{name or 'ours '}ms" for name in ours] + ["GFLOP/s"]
        for mode in self.modes:
            columns += [f"nequip {mode} ms", *(f"{name}ratio" for name in ours)]
        columns += ["ours MB", *(f"nequip {mode} MB" for mode in self.modes)]
        return ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]

    def line(self, crystals: list[Crystal], row: Row) -> str:
        """Time all implementations with one set of hyperparameters and return a line of the table."""
        steps, n_edges = self._our_steps(crystals, row)
        steps |= self._their_steps(crystals, row)
        ms = in_turn(steps, self.n_rounds, self.device)
        memory = {name: peak_memory(steps[name], self.device) for name in ("ours", *self.modes)}
        rates = [rate for _ in range(N_CLOCKED) if (rate := gflops(steps["ours"])) is not None]
        cells = [row.sample, f"{row.l_max}", f"{row.r_max:g}", f"{row.n_channels}", *(f"{n}" for n in n_edges)]
        cells += [f"{ms[name]:.1f}" for name in self.variants] + [f"{statistics.median(rates):.1f}" if rates else "-"]
        for mode in self.modes:
            cells += [f"{ms[mode]:.1f}", *(f"**{ms[mode] / ms[name]:.1f}x**" for name in self.variants)]
        return "| " + " | ".join([*cells, *(f"{mb:.0f}" for mb in memory.values())]) + " |"

    def _our_steps(self, crystals: list[Crystal], row: Row) -> tuple[dict[str, Step], tuple[int, int, int]]:
        """Return a step of each variant; edges of all atoms, edges kept, and lengths."""
        steps, batches, graph = {}, {}, GraphConfig(r_max=row.r_max, l_max=row.l_max)
        for symmetry in (True, False):
            graphs = [build_graph(crystal, graph, symmetry) for crystal in crystals]
            batches[symmetry] = batch_from_graphs(graphs, torch.float32).to(self.device)
        for name, variant in self.variants.items():
            config, batch = replace(network_config(row), radial_knots=variant.knots), batches[variant.symmetry]
            network = our_network(config, graph, AVG_N_NEIGHBORS)
            network = network.float().to(self.device)  # nequip sets double precision as the default
            if variant.captured:
                steps[name] = captured_step(network, batch.to("cpu"))
            else:
                steps[name] = make_step(network, lambda network=network, batch=batch: network(batch))
        return steps, (len(batches[False].edge_vec), len(batches[True].edge_vec), len(batches[True].length))

    def _their_steps(self, crystals: list[Crystal], row: Row) -> dict[str, Step]:
        """Return a step of each of nequip's modes."""
        full = {name: tensor.to(self.device) for name, tensor in official_batch(crystals, row.r_max).items()}
        n_atoms = torch.tensor([crystal.n_atoms for crystal in crystals], device=self.device)
        graph, steps = GraphConfig(r_max=row.r_max, l_max=row.l_max), {}
        for mode in self.modes:
            model = build_official(network_config(row), graph, AVG_N_NEIGHBORS, mode, "float32").to(self.device)
            steps[mode] = make_step(model, lambda model=model: model(dict(full))[ENERGY].flatten() / n_atoms)
        return steps


def captured_step(network: Nequip, batch: GraphBatch) -> Step:
    """Return a function that does one training step, its gradient a CUDA graph: it pads the batch and copies it to the GPU."""
    parameters = FlatParameters(network)
    gradient, target = parameters.values.grad, torch.zeros(batch.n_crystals)
    optimizer = torch.optim.AdamW(parameters.parameters(), lr=1e-4, fused=True)

    def add_gradient(padded: GraphBatch, target: Tensor) -> Tensor:
        loss = nn.functional.l1_loss(network(padded)[:-1], target)
        loss.backward()
        return loss.detach()

    captured = CapturedGradient(add_gradient, gradient)

    def step() -> None:
        gradient.zero_()
        captured(batch, target)
        optimizer.step()

    return step


def network_config(row: Row) -> NequipConfig:
    """Return the network of a row."""
    n = row.n_channels
    return NequipConfig(n_channels=n, n_element_attributes=n, head_hidden=(n,))


def make_rows(samples: dict[str, list[Crystal]], quick: bool, batches: bool) -> Iterator[Row]:
    """Yield the rows of the table: r_max 4 for FLLA only; quick: 32 channels and r_max 5 only."""
    for sample, n_channels, l_max in itertools.product(samples, (32,) if quick else (32, 64), (1, 2)):
        if sample == "flla" and not quick:
            yield Row(sample, l_max, 4.0, n_channels)
        yield Row(sample, l_max, 5.0, n_channels)
        if sample == "flla" and batches:
            yield from (Row(f"{sample} {n}", l_max, 5.0, n_channels) for n in OTHER_SIZES)


def main() -> None:
    """Time the rows and the graphs, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compiled", action="store_true", help="add nequip's compile mode (minutes per line)")
    parser.add_argument("--full", action="store_true", help="add our steps on graphs that symmetry does not reduce")
    parser.add_argument("--batches", action="store_true", help=f"add batches of {OTHER_SIZES} crystals of FLLA")
    parser.add_argument("--rounds", type=int, default=15, help="timed steps of each implementation; their median is shown")
    parser.add_argument("--quick", action="store_true", help="32 channels and r_max 5 only, and FLLA unless --crystals says more")
    parser.add_argument("--crystals", nargs="+", choices=("flla", "p1", "cells"), help="(default: all)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ... (default: cpu)")
    args = parser.parse_args()
    try:
        check_device(args.device)
    except ValueError as error:
        parser.error(str(error))
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    crystals = load_task_data(DEFAULT_TASK, OUTPUTS, skip_bad_rows=False, n_jobs=1).train.crystals
    every = make_samples(crystals, BATCH_SIZE)
    chosen = {name: every[name] for name in args.crystals or (["flla"] if args.quick else every)}
    sized = {f"flla {n}": choose(crystals, n) for n in OTHER_SIZES}
    comparison = Comparison(["eager", "compile"] if args.compiled else ["eager"], args.full, args.rounds, args.device)
    rows = list(make_rows(chosen, args.quick, args.batches))
    print("\n".join(comparison.header()))
    for row in tqdm(rows, desc="side by side", unit="row"):
        tqdm.write(comparison.line((every | sized)[row.sample], row))
    if args.device == "cpu":
        print(f"a plain loop of fused multiply-adds reaches {fma_gflops():.0f} GFLOP/s")
    if args.device == "cpu" and not args.quick:
        print(graph_cost())


if __name__ == "__main__":
    main()
