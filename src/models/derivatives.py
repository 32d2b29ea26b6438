"""Forces and virial of a network: differentiable derivatives with respect to the edge vectors.

They are exact on graphs reduced by symmetry. Let h = dE/d(edge vector) for an edge of the reduced graph, where E is the energy
of the cell. Each of the n equivalent edges that it represents has the gradient h / n, rotated. Summed at the representative i
of an orbit of n_i atoms, this gives

    F_i = ( A_i sum over edges into i of h  -  sum over edges out of atoms a of i's orbit of R_a^T h ) / n_i

where R_a is the mean rotation that takes i to a, and A_i the one that takes i to itself (`atom_rotation`, see graph.py). The
virial is the sum of edge vector (x) h, averaged over the point group.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from src.graphs.batch import GraphBatch, sum_at


class Derivatives(NamedTuple):
    """Energies with the forces and virials derived from them.

    energy: (n_crystals,), per atom.
    force: (n_orbits, 3), on the representatives, per Angstrom.
    virial: (n_crystals, 3, 3), per atom.
    """

    energy: Tensor
    force: Tensor
    virial: Tensor


def energy_and_derivatives(network: nn.Module, batch: GraphBatch) -> Derivatives:
    """Return the network's energies, forces and virials, all differentiable so that a loss can contain them."""
    batch.edge_vec.requires_grad_()
    energy = network(batch)
    (h,) = torch.autograd.grad(energy.sum(), batch.edge_vec, create_graph=True)  # of energies per atom: h / n_atoms
    with torch.autocast(h.device.type, enabled=False):
        rotation = batch.rotations
        zero = h.new_zeros(batch.n_orbits, 3)
        into = torch.einsum("oij,oj->oi", rotation[batch.representative_atom()], zero.index_add(0, batch.edge_dst_index, h))
        back = torch.einsum("eji,ej->ei", rotation[batch.edge_src_index], h)
        out = zero.index_add(0, batch.atom_orbit_index[batch.edge_src_index], back)
        force = (into - out) / batch.orbit_weight[:, None]
        crystal = batch.orbit_batch[batch.edge_dst_index]
        tensor = torch.einsum("ei,ej->eij", batch.edge_vec, h)
        virial = batch.mean_over_point_group(sum_at(crystal, tensor, batch.n_crystals))
    return Derivatives(energy, force, virial)
