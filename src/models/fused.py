"""The convolution of tensor_product.py on CPUs in single precision, by the compiled kernels of kernels.py."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from src.graphs.batch import GraphBatch
from src.models.fused_maps import as_numpy, jit
from src.models.kernels import TILE, make_kernels
from src.models.radial import RadialValues
from src.models.tensor_product import Features, Path, paths_into


@jit
def _rotate_to_atoms(features, orbit, rotation, on_atoms):  # type: ignore[no-untyped-def]
    """Set on_atoms[j, t, l^2 + a, c] to the sum over b of rotation[j, l; a, b] * features[l][b, orbit[j], t * TILE + c]."""
    for j in range(len(orbit)):
        i = orbit[j]
        for t in range(on_atoms.shape[1]):
            for c in range(TILE):
                on_atoms[j, t, 0, c] = features[0][0, i, t * TILE + c]
        start = 0
        for l in range(1, len(features)):
            n = 2 * l + 1
            for a in range(n):
                m = l * l + a
                on_atoms[j, :, m] = 0
                for b in range(n):
                    d = rotation[j, start + a * n + b]
                    if d != 0:
                        for t in range(on_atoms.shape[1]):
                            for c in range(TILE):
                                on_atoms[j, t, m, c] += d * features[l][b, i, t * TILE + c]
            start += n * n


@jit
def _rotate_back(grad_on_atoms, orbit, rotation, grads):  # type: ignore[no-untyped-def]
    """Add the adjoint of `_rotate_to_atoms` to `grads`."""
    for j in range(len(orbit)):
        i = orbit[j]
        for t in range(grad_on_atoms.shape[1]):
            for c in range(TILE):
                grads[0][0, i, t * TILE + c] += grad_on_atoms[j, t, 0, c]
        start = 0
        for l in range(1, len(grads)):
            n = 2 * l + 1
            for a in range(n):
                m = l * l + a
                for b in range(n):
                    d = rotation[j, start + a * n + b]
                    if d != 0:
                        for t in range(grad_on_atoms.shape[1]):
                            for c in range(TILE):
                                grads[l][b, i, t * TILE + c] += d * grad_on_atoms[j, t, m, c]
            start += n * n


def _tiled(rows: Tensor, n: int) -> NDArray[np.float32]:
    """Return rows of n blocks of channels, (n_rows, n * n_channels), as the kernels read them: (n_rows, n_tiles * n * TILE)."""
    return as_numpy(rows.unflatten(-1, (n, -1, TILE)).transpose(1, 2).flatten(1))


def _untiled(rows: NDArray[np.float32], n: int) -> Tensor:
    """Do the opposite of `_tiled`."""
    return torch.from_numpy(rows).unflatten(-1, (-1, n, TILE)).transpose(1, 2).flatten(1)


class _Convolution(torch.autograd.Function):
    """The convolution and its derivatives w.r.t. the radial network's rows and the features; channels in multiples of TILE."""

    @staticmethod
    def forward(ctx, rows, places, graph, paths, *features):  # type: ignore[no-untyped-def]
        orbit, rotation, *edges = graph
        kernels, degrees = make_kernels(paths), range(paths[-1].l_out + 1)
        n_orbits, n_channels = features[0].shape[1:]
        on_atoms = np.empty((len(orbit), n_channels // TILE, len(features) ** 2, TILE), dtype=np.float32)
        _rotate_to_atoms(tuple(as_numpy(x) for x in features), orbit, rotation, on_atoms)
        outs = tuple(np.empty((2 * l + 1, n_orbits, len(paths_into(paths, l)) * n_channels), dtype=np.float32) for l in degrees)
        inputs = (on_atoms.reshape(len(orbit), -1), _tiled(rows, len(paths)), *places, *edges, kernels.slots)
        kernels.forward(*inputs, outs)
        ctx.kept = inputs, kernels, graph[:2], on_atoms.shape, len(paths)
        return tuple(torch.from_numpy(out) for out in outs)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *grad_outs):  # type: ignore[no-untyped-def]
        inputs, kernels, to_atoms, (n_atoms, n_tiles, n_components, _), n_paths = ctx.kept
        grad_on_atoms, grad_table = np.zeros_like(inputs[0]), np.zeros_like(inputs[1])
        kernels.backward(*inputs, tuple(as_numpy(g) for g in grad_outs), grad_on_atoms, grad_table)
        n_orbits, n_degrees = grad_outs[0].shape[1], round(n_components**0.5)
        grads = tuple(np.zeros((2 * l + 1, n_orbits, n_tiles * TILE), dtype=np.float32) for l in range(n_degrees))
        _rotate_back(grad_on_atoms.reshape(n_atoms, n_tiles, n_components, TILE), *to_atoms, grads)
        return _untiled(grad_table, n_paths), None, None, None, *(torch.from_numpy(g) for g in grads)


def convolve(
    features: Features, radial: RadialValues, edge_sh: Tensor, length_index: Tensor, batch: GraphBatch, paths: tuple[Path, ...]
) -> Features:
    """Compute `tensor_product.reference` for float32 tensors on a CPU; differentiable once w.r.t. features and radial rows."""
    n_channels = features[0].shape[-1]
    if missing := -n_channels % TILE:
        rows = nn.functional.pad(radial.rows.unflatten(-1, (len(paths), -1)), (0, missing)).flatten(1)
        padded = [nn.functional.pad(x, (0, missing)) for x in features]
        outs = convolve(padded, radial._replace(rows=rows), edge_sh, length_index, batch, paths)
        return [out.unflatten(-1, (-1, n_channels + missing))[..., :n_channels].flatten(-2) for out in outs]
    first_edge = np.searchsorted(as_numpy(batch.edge_dst_index), np.arange(batch.n_orbits + 1))
    edges = as_numpy(edge_sh), as_numpy(batch.edge_src_index), first_edge, as_numpy(length_index)
    graph = as_numpy(batch.atom_orbit_index), as_numpy(batch.atom_rotation), *edges
    places = as_numpy(radial.first), as_numpy(radial.weight)
    return list(_Convolution.apply(radial.rows, places, graph, paths, *features))
