"""Pre-training on zero forces and zero virials: both vanish in the crystals of the table, which are relaxed (2nd place).

With noise on positions and cells it becomes denoising (Zaidi et al., arXiv:2206.00133): a displacement u and a strain e raise
the energy per atom by SPRING |u|^2 / 2 (mean over atoms) and ELASTIC |e|^2 / 2, so that the forces are -SPRING u and the virial
is ELASTIC e. Energies are learned from the crystals as they are.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from src.config import PretrainingConfig, TrainingConfig
from src.graphs.batch import GraphBatch
from src.learners.evaluation import MakeBatch
from src.learners.training import Training, Watch, energy_loss
from src.models.derivatives import energy_and_derivatives

SPRING = 10.0  # target units per square Angstrom; a unit is about 0.5 eV/atom, and bonds have 5 eV per square Angstrom and more
ELASTIC = 20.0  # target units; 100 GPa and 15 cubic Angstrom an atom are 9 eV


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
        if not (config.displacement or config.strain):
            energy, force, virial = energy_and_derivatives(network, batch)
        else:
            with torch.autocast(batch.edge_vec.device.type, enabled=False):  # lengths stay exact
                displacement, strain = noise(batch, config)
                distorted = batch.distorted(displacement, strain)
            energy = network(batch)
            _, force, virial = energy_and_derivatives(network, distorted)
            force, virial = force + SPRING * displacement, virial - ELASTIC * strain
        of_forces = batch.mean_over_atoms(force.square().sum(dim=-1)).mean()
        of_virials = virial.square().sum(dim=(1, 2)).mean()
        return of_energies(energy, wanted) + config.force_weight * of_forces + config.virial_weight * of_virials

    plain = replace(training, n_epochs=config.n_epochs, strain=0.0, n_snapshots=1, swa_fraction=0.0)
    stage = Training(model, plain, seed, len(target), loss, n_edges)
    folder.mkdir(parents=True, exist_ok=True)
    stage.run(make_batch, target, folder, watch)
    model.load_state_dict(stage.averaged.state_dict())


def noise(batch: GraphBatch, config: PretrainingConfig) -> tuple[Tensor, Tensor]:
    """Return random displacements, (n_orbits, 3), Angstrom, and strains, (n_crystals, 3, 3), that the symmetry allows."""
    displacement = config.displacement * torch.randn(batch.n_orbits, 3)
    strain = config.strain * torch.randn(batch.n_crystals, 3, 3)
    return batch.symmetric(displacement.to(batch.edge_vec), ((strain + strain.mT) / 2).to(batch.edge_vec))
