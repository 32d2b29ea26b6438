"""Pre-training on zero forces and zero virials: both vanish in the crystals of the table, which are relaxed (2nd place)."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from src.config import PretrainingConfig, TrainingConfig
from src.graphs.batch import GraphBatch
from src.learners.evaluation import MakeBatch
from src.learners.training import Training, Watch, energy_loss
from src.models.derivatives import energy_and_derivatives

FOLDER = "pretraining"  # in that of the fold


def pretrain(
    model: nn.Module,
    config: PretrainingConfig,
    training: TrainingConfig,
    seed: int,
    make_batch: MakeBatch,
    target: Tensor,
    folder: Path,
    watch: Watch,
    n_edges: NDArray[np.integer],
) -> None:
    """Train this stage and load its averaged weights into `model`. folder: for its checkpoint and history."""
    of_energies = energy_loss(training)

    def loss(network: nn.Module, batch: GraphBatch, wanted: Tensor) -> Tensor:
        energy, force, virial = energy_and_derivatives(network, batch)
        of_forces = batch.mean_over_atoms(force.square().sum(dim=-1)).mean()
        of_virials = virial.square().sum(dim=(1, 2)).mean()
        return of_energies(energy, wanted) + config.force_weight * of_forces + config.virial_weight * of_virials

    plain = replace(training, n_epochs=config.n_epochs, strain=0.0, n_snapshots=1, swa_fraction=0.0)
    stage = Training(model, plain, seed, len(target), loss, n_edges)
    folder.mkdir(parents=True, exist_ok=True)
    stage.run(make_batch, target, folder, watch)
    model.load_state_dict(stage.averaged.state_dict())
