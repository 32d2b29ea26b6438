"""The weighted tensor-product convolution of NequIP: its paths and coefficients, and the rotation of features to atoms.

    out[i, path, m3, c] = sum over edges e into i, m1, m2 of  C[m1, m2, m3] * w[length(e), path, c] * Y[e, m2] * h[src(e), m1, c]

where h are the node features of the representatives rotated to each atom, Y the spherical harmonics of the edge (times its
multiplicity), and C the Clebsch-Gordan coefficients of e3nn (src/graphs/harmonics.py) in `component` normalisation.
This is o3.TensorProduct with "uvu" paths (Batzner et al. 2022, see nequip.py, eqs. 5 to 7). `DenseConvolution` in convolution.py
computes it anywhere, with derivatives of any order; fused.py on a CPU in single precision, with first derivatives w.r.t. h and w.

Features are a list over the degree l: features[l] has shape (2l+1, n_nodes, n_channels). Parity is natural: 0e, 1o, 2e, 3o.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from src.graphs.batch import GraphBatch
from src.graphs.harmonics import coupling

Features = list[Tensor]


@dataclass(frozen=True)
class Path:
    """Degrees of the node feature, of the edge's spherical harmonics, and of the message."""

    l_in: int
    l_edge: int
    l_out: int


@lru_cache
def find_paths(l_in_max: int, l_edge_max: int, l_out_max: int) -> tuple[Path, ...]:
    """Return all paths that conserve parity, sorted by l_out, then l_in, then l_edge."""
    return tuple(
        Path(l_in, l_edge, l_out)
        for l_out in range(l_out_max + 1)
        for l_in in range(l_in_max + 1)
        for l_edge in range(l_edge_max + 1)
        if abs(l_in - l_edge) <= l_out <= l_in + l_edge and (l_in + l_edge + l_out) % 2 == 0
    )


@lru_cache
def clebsch_gordan(path: Path) -> NDArray[np.float64]:
    """Return the coefficients, (2 l_in + 1, 2 l_edge + 1, 2 l_out + 1), normalised to message components of unit variance."""
    return coupling(path.l_in, path.l_edge, path.l_out) * (2 * path.l_out + 1) ** 0.5


def paths_into(paths: tuple[Path, ...], l_out: int) -> list[int]:
    """Return the indices of the paths of one output degree, which are consecutive."""
    return [i for i, path in enumerate(paths) if path.l_out == l_out]


def rotate_to_atoms(features: Features, batch: GraphBatch) -> Features:
    """Rotate the features of the representatives to every atom, for each l a (2l+1, n_atoms, n_channels)."""
    on_atoms, start = [], 0
    for l, x in enumerate(features):
        x = x[:, batch.atom_orbit_index]
        if l > 0:
            d = batch.atom_rotation[:, start : start + (2 * l + 1) ** 2].view(-1, 2 * l + 1, 2 * l + 1)
            x = torch.einsum("aij,jac->iac", d, x)
            start += (2 * l + 1) ** 2
        on_atoms.append(x)
    return on_atoms


def reference_mix(x: Tensor, mixing: Tensor, element_index: Tensor) -> Tensor:
    """Mix the channels of each node with the matrix of its element, giving (2l+1, n_nodes, n_out).

    x: (2l+1, n_nodes, n_in). mixing: (n_elements, n_in, n_out). element_index: (n_nodes,).
    """
    return torch.bmm(x.transpose(0, 1), mixing[element_index]).transpose(0, 1)
