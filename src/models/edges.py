"""Edges as invariant networks see them: between orbits, each with its length and a weight.

The features of an invariant network are equal on all atoms of an orbit, and so are the messages of all edges that one merged
edge stands for. So the reduction by symmetry is exact where a sum over edges is weighted by their multiplicity, and a sum over
atoms by the weight of their orbit. Weights also hold the cutoff, which makes sums continuous where a neighbour enters, and the
normalisation of the sum.
"""

import torch
from torch import Tensor
from torch_geometric.nn.models.schnet import GaussianSmearing

from src.graphs.graph import GraphBatch
from src.models.radial import polynomial_cutoff


def orbit_edges(batch: GraphBatch) -> Tensor:
    """(2, n_edges): orbits of the neighbour and of the centre of each edge."""
    return torch.stack([batch.atom_orbit_index[batch.edge_src_index], batch.edge_dst_index])


def edge_weights(batch: GraphBatch, r_max: float, p: float) -> Tensor:
    """(n_edges,): multiplicity times the polynomial cutoff of exponent p."""
    return polynomial_cutoff(batch.length / r_max, p)[batch.edge_length_index] * batch.edge_multiplicity


def gaussians(start: float, stop: float, n: int, exponent: float) -> GaussianSmearing:
    """x -> (len(x), n): exp(-exponent (x - centre)^2), centres at equal distances from start to stop."""
    expansion = GaussianSmearing(start, stop, n)
    expansion.coeff = -exponent
    return expansion
