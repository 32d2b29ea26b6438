"""Laws of distorted crystals: a reduced graph with a symmetric distortion is that of the crystal with all its atoms moved."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import CRYSTALS, make_batch

from src.config import GnnConfig, GraphConfig, NequipConfig, PretrainingConfig, TrainingConfig
from src.data.crystal import Crystal
from src.data.table import Crystals
from src.graphs.batch import GraphBatch
from src.graphs.symmetry import find_symmetry, symmetrize
from src.learners.gnn import GnnLearner
from src.learners.pretraining import ELASTIC, SPRING, noise, pretrain
from src.models.derivatives import energy_and_derivatives
from src.models.network import make_network

GRAPH = {"r_max": 4.5, "l_max": 2}
NEQUIP = NequipConfig(n_channels=6, radial_hidden=(12,), head_hidden=(5,))
STAGE = PretrainingConfig(n_epochs=1, force_weight=0.1, virial_weight=0.01, displacement=0.02, strain=0.01)
FREE = {"quartz", "rutile", "wurtzite", "triclinic"}  # some of their atoms may move without breaking the symmetry


def noise_of(batch: GraphBatch, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(seed)
    return noise(batch, STAGE)


def test_a_distorted_reduced_graph_is_the_graph_of_the_distorted_crystal(crystal: Crystal) -> None:
    torch.manual_seed(1)
    model = make_network(NEQUIP, GraphConfig(**GRAPH), torch.randn(119, 6), 20.0).double()
    batch, ideal = make_batch([crystal], **GRAPH), symmetrize(crystal, find_symmetry(crystal, 1e-3))
    displacement, strain = noise_of(batch)
    moved = torch.einsum("aij,aj->ai", batch.rotations, displacement[batch.atom_orbit_index]).numpy()
    stretch = np.eye(3) + strain[0].numpy()
    frac = ideal.frac_coords + moved @ np.linalg.inv(ideal.lattice)
    distorted = make_batch([Crystal(ideal.lattice @ stretch.T, frac, ideal.atomic_numbers)], symmetry=False, **GRAPH)
    found, wanted, before = (model(one).item() for one in (batch.distorted(displacement, strain), distorted, batch))
    assert found == pytest.approx(wanted, abs=1e-8) and abs(found - before) > 1e-4


@pytest.mark.parametrize("name", CRYSTALS)
def test_noise_keeps_the_symmetry_and_the_place_of_the_crystal(name: str) -> None:
    batch = make_batch([CRYSTALS[name]], **GRAPH)
    displacement, strain = noise_of(batch)
    again, same = batch.symmetric(displacement, strain)
    torch.testing.assert_close(again, displacement, rtol=0, atol=1e-12)
    torch.testing.assert_close(same, strain, rtol=0, atol=1e-12)
    of_atom = torch.einsum("aij,aj->ai", batch.rotations, displacement[batch.atom_orbit_index])
    torch.testing.assert_close(of_atom.mean(dim=0), torch.zeros(3).double(), rtol=0, atol=1e-12)
    assert (displacement.abs().max() > 1e-3) == (name in FREE)


def test_a_cubic_crystal_is_strained_alike_in_all_directions() -> None:
    batch = make_batch([CRYSTALS["perovskite"]], **GRAPH)
    _, strain = noise_of(batch)
    torch.testing.assert_close(strain[0], strain[0, 0, 0] * torch.eye(3).double(), rtol=0, atol=1e-12)
    assert strain[0, 0, 0].abs() > 1e-3


def test_denoising_teaches_forces_that_drive_the_crystal_back(tmp_path: Path) -> None:
    config = TrainingConfig(n_epochs=1, batch_size=3, lr=1e-2)
    inputs = GnnLearner(GnnConfig(training=config, graph=GraphConfig(r_max=4.5))).prepare_inputs(
        Crystals.from_list(list(CRYSTALS.values())), "test", tmp_path / "cache", 1
    )
    torch.manual_seed(1)
    model = make_network(NEQUIP, GraphConfig(r_max=4.5), torch.randn(119, 6), 20.0)
    every, target = np.arange(len(CRYSTALS)), torch.zeros(len(CRYSTALS))

    def left() -> tuple[float, float]:
        batch = inputs.batch(every, "cpu")
        displacement, strain = noise_of(batch, seed=5)
        _, force, virial = energy_and_derivatives(model, batch.distorted(displacement, strain))
        wanted = SPRING * displacement, ELASTIC * strain
        return (force + wanted[0]).norm().item() / wanted[0].norm().item(), (virial - wanted[1]).norm() / wanted[1].norm().item()

    before = left()
    stage = PretrainingConfig(n_epochs=150, force_weight=1.0, virial_weight=0.1, displacement=0.05, strain=0.02)
    pretrain(
        model, stage, config, 0, lambda rows: inputs.batch(rows, "cpu"), target, tmp_path, lambda network: 0.0, inputs.n_edges
    )
    after = left()
    assert after[0] < 0.9 * before[0] and after[1] < before[1]


def test_each_batch_gets_new_noise_that_follows_from_the_seed() -> None:
    batch = make_batch([CRYSTALS["quartz"]], **GRAPH)
    torch.manual_seed(0)
    first, second = noise(batch, STAGE), noise(batch, STAGE)
    assert not torch.equal(first[0], second[0]) and torch.equal(noise_of(batch)[0], first[0])
