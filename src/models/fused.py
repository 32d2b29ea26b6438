"""The convolution of tensor_product.py and the mixing by element on CPUs in single precision, by compiled kernels."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from src.graphs.batch import GraphBatch
from src.models.compiled import as_numpy, compute, jit
from src.models.kernels import TILE, interpolate, interpolate_back, make_kernels
from src.models.radial import RadialValues
from src.models.tensor_product import Features, Path, paths_into

Rows = NDArray[np.float32]  # (n_rows, n_paths * n_channels)
FEW_EDGES = 3  # per length, on average


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


@jit
def _interpolate_all(table, first, weight, rows):  # type: ignore[no-untyped-def]
    """Set the rows to the values at all lengths."""
    for k in range(len(first)):
        interpolate(table, first, weight, k, rows, k)


@jit
def _interpolate_all_back(grad_rows, first, weight, grad_table):  # type: ignore[no-untyped-def]
    """Add the adjoint of `_interpolate_all` to grad_table."""
    for k in range(len(first)):
        interpolate_back(grad_rows, k, first, weight, k, grad_table)


def _swapped(rows: Rows, n: int) -> Rows:
    """Return rows of (n, m, TILE) values as rows of (m, n, TILE) values: paths and tiles of channels change places."""
    return np.ascontiguousarray(rows.reshape(len(rows), n, rows.shape[1] // (n * TILE), TILE).swapaxes(1, 2)).reshape(rows.shape)


class _Table:
    """A radial network's rows as the kernels read them.

    Between knots, a length that many edges share is interpolated here, once, and the kernel reads one row for it; lengths of
    few edges are interpolated by the kernel, at each edge.
    """

    def __init__(self, radial: RadialValues, n_paths: int, n_edges: int) -> None:
        self.n_paths = n_paths
        self.knots = _swapped(as_numpy(radial.rows), n_paths)
        self.rows, self.first, self.weight = self.knots, as_numpy(radial.first), as_numpy(radial.weight)
        self.between = self.first, self.weight
        self.beforehand = self.weight.shape[1] > 1 and n_edges > FEW_EDGES * len(self.first)
        if self.beforehand:
            self.rows = np.empty((len(self.first), self.knots.shape[1]), dtype=np.float32)
            _interpolate_all(self.knots, *self.between, self.rows)
            self.first, self.weight = np.arange(len(self.first)), np.ones((len(self.first), 1), dtype=np.float32)

    def gradient(self, grad_rows: Rows) -> Tensor:
        """Return the gradient w.r.t. the radial network's rows, from that w.r.t. the kernel's."""
        if self.beforehand:
            grad_values, grad_rows = grad_rows, np.zeros_like(self.knots)
            _interpolate_all_back(grad_values, *self.between, grad_rows)
        return torch.from_numpy(_swapped(grad_rows, grad_rows.shape[1] // (self.n_paths * TILE)))


class Edges(NamedTuple):
    """What the kernels need from a batch, as arrays. first_edge: (n_orbits + 1,), first edge into each orbit."""

    atom_orbit_index: NDArray[np.int64]
    atom_rotation: NDArray[np.float32]
    edge_sh: NDArray[np.float32]
    edge_src_index: NDArray[np.int64]
    first_edge: NDArray[np.int64]
    length_index: NDArray[np.int64]


def make_edges(edge_sh: Tensor, length_index: Tensor, batch: GraphBatch) -> Edges:
    """Return the edges of a batch. edge_sh, length_index: as in `DenseConvolution`."""
    first_edge = np.searchsorted(as_numpy(batch.edge_dst_index), np.arange(batch.n_orbits + 1))
    atoms = as_numpy(batch.atom_orbit_index), as_numpy(batch.atom_rotation)
    return Edges(*atoms, as_numpy(edge_sh), as_numpy(batch.edge_src_index), first_edge, as_numpy(length_index))


class Pass:
    """One evaluation of the convolution, with what its derivatives need; channels in multiples of TILE."""

    def __init__(self, features: Features, radial: RadialValues, edges: Edges, paths: tuple[Path, ...]) -> None:
        n_orbits, n_channels = features[0].shape[1:]
        self.edges, self.kernels, self.feature_shapes = edges, make_kernels(paths), [x.shape for x in features]
        self.shape = len(edges.atom_orbit_index), n_channels // TILE, len(features) ** 2, TILE
        on_atoms = np.empty(self.shape, dtype=np.float32)
        _rotate_to_atoms(tuple(as_numpy(x) for x in features), *edges[:2], on_atoms)
        self.table = _Table(radial, len(paths), len(edges.edge_sh))
        rows = self.table.rows, self.table.first, self.table.weight
        self.inputs = on_atoms.reshape(len(on_atoms), -1), *rows, *edges[2:], self.kernels.slots
        n_out = [len(paths_into(paths, l)) * n_channels for l in range(paths[-1].l_out + 1)]
        self.out_shapes = [(2 * l + 1, n_orbits, n) for l, n in enumerate(n_out)]

    def outs(self) -> list[Tensor]:
        """Return the sums of messages, as `DenseConvolution` does."""
        outs = tuple(np.empty(shape, dtype=np.float32) for shape in self.out_shapes)
        self.kernels.forward(*self.inputs, outs)
        return [torch.from_numpy(out) for out in outs]

    def gradients(self, grad_outs: Sequence[Tensor]) -> list[Tensor]:
        """Return the gradients w.r.t. the radial rows and the features."""
        grad_on_atoms, grad_rows = np.zeros_like(self.inputs[0]), np.zeros_like(self.table.rows)
        self.kernels.backward(*self.inputs, tuple(as_numpy(g) for g in grad_outs), grad_on_atoms, grad_rows)
        grads = tuple(np.zeros(shape, dtype=np.float32) for shape in self.feature_shapes)
        _rotate_back(grad_on_atoms.reshape(self.shape), *self.edges[:2], grads)
        return [self.table.gradient(grad_rows), *map(torch.from_numpy, grads)]


def convolve(features: Features, radial: RadialValues, edges: Edges, paths: tuple[Path, ...]) -> Features:
    """Compute `DenseConvolution` for float32 tensors on a CPU; differentiable once w.r.t. features and radial rows."""
    n_channels = features[0].shape[-1]
    if missing := -n_channels % TILE:
        rows = nn.functional.pad(radial.rows.unflatten(-1, (len(paths), -1)), (0, missing)).flatten(1)
        padded = [nn.functional.pad(x, (0, missing)) for x in features]
        outs = convolve(padded, radial._replace(rows=rows), edges, paths)
        return [out.unflatten(-1, (-1, n_channels + missing))[..., :n_channels].flatten(-2) for out in outs]
    return compute(lambda rows, *own: Pass(list(own), radial._replace(rows=rows), edges, paths), radial.rows, *features)


@jit
def _mix(x, mixing, element, out):  # type: ignore[no-untyped-def]
    """Add x[m, n] @ mixing[element[n]] to out[m, n]."""
    n_m, n_nodes, n_in = x.shape
    n_out = out.shape[2]
    for n in range(n_nodes):
        matrix = mixing[element[n]]
        for m in range(n_m):
            row = out[m, n]
            for c in range(n_in):
                a, weights = x[m, n, c], matrix[c]
                for f in range(n_out):
                    row[f] += a * weights[f]


@jit
def _mix_weights_grad(x, grad_out, element, grad_mixing):  # type: ignore[no-untyped-def]
    """Add x[m, n] (outer) grad_out[m, n] to grad_mixing[element[n]]."""
    n_m, n_nodes, n_in = x.shape
    n_out = grad_out.shape[2]
    for n in range(n_nodes):
        matrix = grad_mixing[element[n]]
        for m in range(n_m):
            row = grad_out[m, n]
            for c in range(n_in):
                a, weights = x[m, n, c], matrix[c]
                for f in range(n_out):
                    weights[f] += a * row[f]


class _Mixing:
    """One evaluation of the mixing."""

    def __init__(self, x: Tensor, mixing: Tensor, element_index: Tensor) -> None:
        self.x, self.mixing, self.element = map(as_numpy, (x, mixing, element_index))

    def outs(self) -> list[Tensor]:
        """Return the mixed channels."""
        return [self._mixed(self.x, self.mixing)]

    def gradients(self, grad_outs: Sequence[Tensor]) -> list[Tensor]:
        """Return the gradients w.r.t. x and the matrices."""
        grad, grad_mixing = as_numpy(grad_outs[0]), np.zeros_like(self.mixing)
        _mix_weights_grad(self.x, grad, self.element, grad_mixing)
        return [self._mixed(grad, np.ascontiguousarray(self.mixing.swapaxes(1, 2))), torch.from_numpy(grad_mixing)]

    def _mixed(self, x: Rows, mixing: Rows) -> Tensor:
        out = np.zeros((*x.shape[:2], mixing.shape[2]), dtype=np.float32)
        _mix(x, mixing, self.element, out)
        return torch.from_numpy(out)


def mix(x: Tensor, mixing: Tensor, element_index: Tensor) -> Tensor:
    """Compute `tensor_product.reference_mix` for float32 tensors on a CPU; differentiable once."""
    return compute(lambda own, matrices: _Mixing(own, matrices, element_index), x, mixing)[0]
