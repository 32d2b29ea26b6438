"""Laws of the forces that pre-training sees, in double precision."""

import numpy as np
import pytest
import torch
from conftest import CRYSTALS, make_batch, random_rotation
from torch import Tensor

from src.config import EgnnConfig, GraphConfig, NequipConfig
from src.data.crystal import Crystal
from src.graphs.symmetry import find_symmetry
from src.learners.pretraining import energy_and_forces
from src.models.members import make_network

GRAPH = {"r_max": 4.5, "l_max": 2}
NETWORKS = {
    "nequip": NequipConfig(n_channels=6, radial_hidden=(12,), head_hidden=(5,), n_element_attributes=3),
    "egnn": EgnnConfig(n_channels=8, n_layers=3),
}


@pytest.fixture(params=NETWORKS)
def model(request: pytest.FixtureRequest) -> torch.nn.Module:
    torch.manual_seed(0)
    model = make_network(NETWORKS[request.param], GraphConfig(**GRAPH), torch.randn(119, 6), 20.0).double()
    for name, weight in model.named_parameters():
        if "move.2" in name:  # EGNN's displacements start near zero
            torch.nn.init.normal_(weight, std=10.0)
    return model


def forces(model: torch.nn.Module, crystal: Crystal, symmetry: bool) -> Tensor:
    return energy_and_forces(model, make_batch([crystal], symmetry=symmetry, **GRAPH))[1].detach()


def total(model: torch.nn.Module, lattice: np.ndarray, frac: np.ndarray, like: Crystal) -> float:
    """Return the energy of the cell."""
    batch = make_batch([Crystal(lattice, frac, like.atomic_numbers)], symmetry=False, **GRAPH)
    batch.edge_vec.requires_grad_()  # lengths that nearly agree then count as different ones
    return float(model(batch).detach()) * like.n_atoms


@pytest.mark.parametrize("name", ["triclinic", "quartz"])
def test_forces_are_the_finite_differences_of_the_energy(model: torch.nn.Module, name: str) -> None:
    crystal, step = CRYSTALS[name], 1e-4
    force = forces(model, crystal, symmetry=False)
    for atom, axis in [(0, 0), (2, 1), (4, 2)]:
        shift = np.zeros((crystal.n_atoms, 3))
        shift[atom] = step * np.eye(3)[axis] @ np.linalg.inv(crystal.lattice)
        up, down = (total(model, crystal.lattice, crystal.frac_coords + sign * shift, crystal) for sign in (1, -1))
        assert force[atom, axis].item() == pytest.approx(-(up - down) / (2 * step), rel=1e-5, abs=1e-8)


def test_forces_on_the_reduced_graph_are_those_of_the_full_one(model: torch.nn.Module) -> None:
    for name, crystal in CRYSTALS.items():
        reduced, full = (forces(model, crystal, symmetry) for symmetry in (True, False))
        representatives = np.unique(find_symmetry(crystal).representative)
        torch.testing.assert_close(reduced, full[representatives], rtol=0, atol=1e-6, msg=name)


def test_forces_rotate_with_the_crystal_and_are_not_zero(model: torch.nn.Module) -> None:
    crystal, q = CRYSTALS["quartz"], -random_rotation(3)
    turned = forces(model, Crystal(crystal.lattice @ q.T, crystal.frac_coords, crystal.atomic_numbers), symmetry=True)
    before = forces(model, crystal, symmetry=True)
    assert before.abs().max() > 1e-4
    torch.testing.assert_close(turned, before @ torch.from_numpy(q).T, rtol=0, atol=1e-7)


def test_the_energy_is_that_of_the_fused_network() -> None:
    torch.manual_seed(0)
    model = make_network(NETWORKS["nequip"], GraphConfig(**GRAPH), torch.randn(119, 6), 20.0)
    batch: Tensor = make_batch(list(CRYSTALS.values()), **GRAPH).to("cpu", torch.float32)
    fused = model(batch).detach()
    torch.testing.assert_close(energy_and_forces(model, batch)[0].detach(), fused, rtol=1e-4, atol=1e-5)
