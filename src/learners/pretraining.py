"""Pre-training on zero forces: they vanish in the crystals of the table, which are relaxed (2nd place).

Forces are differentiable derivatives with respect to the edge vectors, and exact on graphs reduced by symmetry. Let
h = dE/d(edge vector) for an edge of the reduced graph, where E is the energy of the cell. Each of the n equivalent edges that it
represents has the gradient h / n, rotated. Summed at the representative i of an orbit of n_i atoms, this gives

    F_i = ( A_i sum over edges into i of h  -  sum over edges out of atoms a of i's orbit of R_a^T h ) / n_i

where R_a is the mean rotation that takes i to a, and A_i the one that takes i to itself (`atom_rotation`, see graph.py).
"""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from src.config import PretrainingConfig, TrainingConfig
from src.graphs.batch import GraphBatch
from src.learners.evaluation import MakeBatch
from src.learners.training import Training, Watch, energy_loss


def pretrain(
    model: nn.Module,
    config: PretrainingConfig,
    training: TrainingConfig,
    seed: int,
    make_batch: MakeBatch,
    target: Tensor,
    folder: Path,
    watch: Watch,
) -> None:
    """Train this stage and load its averaged weights into `model`. folder: for its checkpoint and history."""
    of_energies = energy_loss(training)

    def loss(network: nn.Module, batch: GraphBatch, wanted: Tensor) -> Tensor:
        energy, force = energy_and_forces(network, batch)
        of_forces = batch.mean_over_atoms(force.square().sum(dim=-1)).mean()
        return of_energies(energy, wanted) + config.force_weight * of_forces

    stage = Training(model, replace(training, n_epochs=config.n_epochs), seed, len(target), loss)
    folder.mkdir(parents=True, exist_ok=True)
    stage.run(make_batch, target, folder, watch)
    model.load_state_dict(stage.averaged.state_dict())


def energy_and_forces(network: nn.Module, batch: GraphBatch) -> tuple[Tensor, Tensor]:
    """Return the network's energies per atom, (n_crystals,), and the forces on the representatives, (n_orbits, 3), per Angstrom.

    Both are differentiable, so that a loss can contain them.
    """
    batch.edge_vec.requires_grad_()
    energy = network(batch)
    (h,) = torch.autograd.grad(energy.sum(), batch.edge_vec, create_graph=True)  # of energies per atom: h / n_atoms
    rotation = batch.rotations
    zero = h.new_zeros(batch.n_orbits, 3)
    into = torch.einsum("oij,oj->oi", rotation[batch.representative_atom()], zero.index_add(0, batch.edge_dst_index, h))
    back = torch.einsum("eji,ej->ei", rotation[batch.edge_src_index], h)
    out = zero.index_add(0, batch.atom_orbit_index[batch.edge_src_index], back)
    return energy, (into - out) / batch.orbit_weight[:, None]
