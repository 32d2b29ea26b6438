"""Reference implementations of MEGNet (matgl) and ALIGNN (alignn) compared with ours on one fold.

    make peers BUDGET=600

Theirs use the package's own graphs and default sizes, with full cells, in our training loop on our residual target, with the
settings of the experiment beside them (Lion, L1, cosine, averaged weights), for as many epochs as fit in a budget of CPU seconds
on one thread, estimated from a few batches. Ours are the committed experiments with their own number of epochs. Seconds are those
of training, without graphs.
"""

import argparse
import copy
import math
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from alignn.models.alignn_atomwise_pure import ALIGNNAtomWisePure, ALIGNNAtomWisePureConfig
from alignn.torch_graph_builder import batch_torch_graph_pairs, build_pure_torch_graph
from jarvis.core.atoms import Atoms
from matgl.config import DEFAULT_ELEMENTS
from matgl.ext.pymatgen import Structure2Graph
from matgl.models import MEGNet
from torch import Tensor, nn
from torch_geometric.data import Batch
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from src.config import TrainingConfig
from src.config.catalogue import load_config
from src.data.crystal import Crystal
from src.data.load import TaskData, load_folds, load_task_data
from src.data.target import TargetNormalizer
from src.learners.evaluation import predict_each
from src.learners.learner import Values, make_learner
from src.learners.training import Training
from src.paths import DEFAULT_TASK, EXPERIMENTS, OUTPUTS

N_TIMED = 8  # batches, to estimate the seconds per epoch
Row = tuple[str, Values, float, int, int]  # name, predictions of the fold, CPU seconds, epochs, parameters


class Megnet(nn.Module):
    """matgl's MEGNet with its defaults (Chen et al. 2019, see src/models/megnet.py)."""

    def __init__(self) -> None:
        super().__init__()
        self.network = MEGNet()
        self.converter = Structure2Graph(DEFAULT_ELEMENTS, self.network.cutoff)

    def graph(self, crystal: Crystal) -> object:
        """Return the graph of a crystal as matgl builds it."""
        graph, lattice, _ = self.converter.get_graph(crystal.to_structure())
        graph.pos, graph.pbc_offshift = graph.frac_coords @ lattice[0], graph.pbc_offset @ lattice[0]
        return graph

    def forward(self, graphs: list) -> Tensor:
        """Return one prediction per graph, (n_crystals,)."""
        out = self.network(Batch.from_data_list(graphs), torch.zeros(len(graphs), 2)).view(-1)
        self.network.feature_dict = {}  # it keeps its activations, which would prevent copying the network
        return out


class Alignn(nn.Module):
    """The alignn package's DGL-free model with its defaults: 2 + 2 layers, 64 channels, cutoffs 5 and 3.5 Angstrom."""

    def __init__(self) -> None:
        super().__init__()
        settings = ALIGNNAtomWisePureConfig(
            name="alignn_atomwise_pure", atom_input_features=92, calculate_gradient=False, use_penalty=False, lg_on_fly=False
        )
        self.network, self.three_body_cutoff = ALIGNNAtomWisePure(settings), settings.three_body_cutoff

    def graph(self, crystal: Crystal) -> object:
        """Return the crystal graph and its line graph as the package builds them."""
        elements = [site.specie.symbol for site in crystal.to_structure()]
        atoms = Atoms(lattice_mat=crystal.lattice, coords=crystal.frac_coords, elements=elements, cartesian=False)
        return build_pure_torch_graph(atoms, two_body_cutoff=5.0, three_body_cutoff=self.three_body_cutoff)

    def forward(self, graphs: list) -> Tensor:
        """Return one prediction per pair of graphs, (n_crystals,)."""
        edges, line_graph = batch_torch_graph_pairs(graphs)
        return self.network((edges, line_graph, None))["out"].view(-1)


def train_peer(
    make: Callable[[], Megnet | Alignn],
    settings: TrainingConfig,
    data: TaskData,
    target: Values,
    valid: np.ndarray,
    budget: float,
) -> Row:
    """Train a package's model within the budget of CPU seconds and return its row of the table. settings: but for n_epochs."""
    torch.manual_seed(0)
    model, crystals = make(), data.train.crystals
    graphs = [model.graph(crystals[i]) for i in tqdm(range(len(crystals)), desc=f"graphs of {make.__name__}")]
    rows, held_out = np.flatnonzero(~valid), np.flatnonzero(valid)

    def batches(of: np.ndarray) -> Callable[[np.ndarray], list]:
        return lambda numbers: [graphs[i] for i in of[numbers]]

    model(batches(rows)(np.arange(2)))  # matgl creates some weights in the first call
    n_batches = math.ceil(len(rows) / settings.batch_size)
    n_epochs = max(1, int(budget / (n_batches * seconds_a_batch(model, batches(rows), settings.batch_size))))
    training = Training(model, replace(settings, n_epochs=n_epochs), 0, len(rows))
    bar, start = tqdm(total=n_epochs, desc=f"{make.__name__}, epochs"), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        targets = torch.tensor(target[rows], dtype=torch.float32)
        training.run(batches(rows), targets, Path(folder), lambda _: float(bar.update() or 0))
    used = time.process_time() - start
    predicted = predict_each([training.averaged], batches(held_out), len(held_out))[0, 0]
    return f"{make.__name__}, package", predicted, used, n_epochs, sum(p.numel() for p in model.parameters())


def seconds_a_batch(model: nn.Module, make_batch: Callable[[np.ndarray], list], size: int) -> float:
    """Return the CPU seconds of a forward and backward pass, averaged over N_TIMED batches."""
    trial, order = copy.deepcopy(model), np.random.default_rng(0).permutation(N_TIMED * size)
    start = time.process_time()
    for numbers in order.reshape(N_TIMED, size):
        trial(make_batch(numbers)).abs().mean().backward()
    return (time.process_time() - start) / N_TIMED


def train_ours(number: str, data: TaskData, target: Values, valid: np.ndarray) -> Row:
    """Train an experiment's network and return its row of the table."""
    config = load_config(EXPERIMENTS / f"exp{number}").learner
    learner = make_learner(config)
    inputs = learner.prepare_inputs(data.train.crystals, data.train_key, data.cache, 1)
    start = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        learner.fit(inputs[np.flatnonzero(~valid)], target[~valid], Path(folder))
    used = time.process_time() - start
    name = f"{type(config.network).__name__.removesuffix('Config')}, exp{number}"
    return name, learner.predict(inputs[np.flatnonzero(valid)]), used, config.training.n_epochs, learner.n_parameters


def main() -> None:
    """Train all four networks and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=float, default=600, help="CPU seconds of training per package (default: 600)")
    parser.add_argument("--fold", type=int, default=0)
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    config = load_config(EXPERIMENTS / "exp015")
    data = load_task_data(DEFAULT_TASK, OUTPUTS, skip_bad_rows=False, n_jobs=1)
    valid = load_folds(data, config.folds) == args.fold
    counts, truth = data.train.crystals.element_counts, data.train.targets
    normalizer = TargetNormalizer.fit(counts[~valid], truth[~valid], config.target)
    target = normalizer.normalize(counts, truth)
    pairs = {"015": Megnet, "017": Alignn}
    settings = {number: load_config(EXPERIMENTS / f"exp{number}").learner.training for number in pairs}
    rows = [train_peer(make, settings[number], data, target, valid, args.budget) for number, make in pairs.items()]
    rows += [train_ours(number, data, target, valid) for number in pairs]
    print(
        f"| network | MAE of fold {args.fold} (eV/atom) | RMSE | CPU s | epochs | CPU s per epoch | parameters |\n|{'---|' * 7}"
    )
    for name, predicted, used, n_epochs, n_parameters in rows:
        error = normalizer.scale * (predicted - target[valid])
        mae, rmse = np.abs(error).mean(), math.sqrt((error**2).mean())
        print(f"| {name} | {mae:.4f} | {rmse:.4f} | {used:.0f} | {n_epochs} | {used / n_epochs:.1f} | {n_parameters} |")


if __name__ == "__main__":
    main()
