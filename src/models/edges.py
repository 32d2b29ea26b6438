"""Edges as invariant networks see them: between orbits, each with a length and a weight.

In an invariant network all atoms of an orbit have equal features, and all edges that one merged edge represents carry equal
messages. The reduction by symmetry is therefore exact if sums over edges are weighted by multiplicity, and sums over atoms by
the weight of their orbit. The weights also include the cutoff, which keeps sums continuous as neighbours enter or leave, and
the normalisation of the sum.
"""

import torch
from torch import Tensor
from torch_geometric.nn.models.schnet import GaussianSmearing

from src.graphs.batch import GraphBatch
from src.models.radial import polynomial_cutoff


def orbit_edges(batch: GraphBatch) -> Tensor:
    """Return the orbits of the neighbour and the centre of each edge, (2, n_edges)."""
    return torch.stack([batch.atom_orbit_index[batch.edge_src_index], batch.edge_dst_index])


def edge_weights(batch: GraphBatch, r_max: float, p: float) -> Tensor:
    """Return the multiplicity of each edge times its polynomial cutoff with exponent p, (n_edges,)."""
    return polynomial_cutoff(batch.length / r_max, p)[batch.edge_length_index] * batch.edge_multiplicity


def gaussians(start: float, stop: float, n: int, exponent: float) -> GaussianSmearing:
    """Return the expansion x -> exp(-exponent (x - centre)^2), (len(x), n), with n centres evenly spaced from start to stop."""
    expansion = GaussianSmearing(start, stop, n)
    expansion.coeff = -exponent
    return expansion
