"""The convolution of tensor_product.py as a single loop over centres and their edges, compiled for CPUs by numba.

Nothing is materialised per edge: the messages into a centre are summed in a buffer that fits in the L1 cache. The innermost
loops run over channels, which are contiguous: a row of a feature block has shape (n_channels,).

A path has few coefficients per edge, sum over m2 of C[m1, m2, m3] Y[m2]; each pair (m1, m3) for which C has a non-zero entry
is a *term*.
"""

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from src.graphs.batch import GraphBatch
from src.models.fused_maps import as_numpy, jit
from src.models.tensor_product import Features, Path, clebsch_gordan, paths_into


@lru_cache
def _tables(paths: tuple[Path, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    """Return the tables (terms, entries, coefficients, slots) of a set of paths.

    terms: (n_terms, 3): path, row of the node feature (l^2 + m1), output slot.
    entries: (n_entries, 2): term, row of the spherical harmonics (l^2 + m2); coefficients: (n_entries,).
    slots: (n_slots, 3): l_out, m3, position of the path among those into l_out; sorted in this order.
    """
    slots: list[tuple[int, int, int]] = []
    slot_of: dict[tuple[int, int], int] = {}
    for l_out in range(max(path.l_out for path in paths) + 1):
        for m3 in range(2 * l_out + 1):
            for k, p in enumerate(paths_into(paths, l_out)):
                slot_of[p, m3] = len(slots)
                slots.append((l_out, m3, k))
    terms: list[tuple[int, int, int]] = []
    entries: list[tuple[int, int]] = []
    coefficients: list[float] = []
    for p, path in enumerate(paths):
        cg = clebsch_gordan(path)
        for m1, m3 in np.argwhere(np.abs(cg).max(axis=1) > 1e-10):
            for m2 in np.flatnonzero(np.abs(cg[m1, :, m3]) > 1e-10):
                entries.append((len(terms), path.l_edge**2 + int(m2)))
                coefficients.append(cg[m1, m2, m3])
            terms.append((p, path.l_in**2 + int(m1), slot_of[p, int(m3)]))
    return np.array(terms), np.array(entries), np.array(coefficients, dtype=np.float32), np.array(slots)


@jit
def _rotate_to_atoms(features, orbit, rotation, on_atoms):  # type: ignore[no-untyped-def]
    """Set on_atoms[j, l^2 + a, c] to the sum over b of rotation[j, l; a, b] * features[l][b, orbit[j], c]."""
    n_channels = on_atoms.shape[2]
    for j in range(len(orbit)):
        i = orbit[j]
        for c in range(n_channels):
            on_atoms[j, 0, c] = features[0][0, i, c]
        start = 0
        for l in range(1, len(features)):
            n = 2 * l + 1
            for a in range(n):
                row = on_atoms[j, l * l + a]
                row[:] = 0
                for b in range(n):
                    d = rotation[j, start + a * n + b]
                    if d != 0:
                        x = features[l][b, i]
                        for c in range(n_channels):
                            row[c] += d * x[c]
            start += n * n


@jit
def _rotate_back(grad_on_atoms, orbit, rotation, grads):  # type: ignore[no-untyped-def]
    """Add the adjoint of `_rotate_to_atoms` to `grads`."""
    n_channels = grad_on_atoms.shape[2]
    for j in range(len(orbit)):
        i = orbit[j]
        for c in range(n_channels):
            grads[0][0, i, c] += grad_on_atoms[j, 0, c]
        start = 0
        for l in range(1, len(grads)):
            n = 2 * l + 1
            for a in range(n):
                row = grad_on_atoms[j, l * l + a]
                for b in range(n):
                    d = rotation[j, start + a * n + b]
                    if d != 0:
                        g = grads[l][b, i]
                        for c in range(n_channels):
                            g[c] += d * row[c]
            start += n * n


@jit
def _term_values(sh, entries, coefficients, values):  # type: ignore[no-untyped-def]
    """Set values[t] to the coefficient of term t for one edge."""
    values[:] = 0
    for k in range(len(coefficients)):
        values[entries[k, 0]] += coefficients[k] * sh[entries[k, 1]]


@jit
def _forward(on_atoms, weights, sh, src, first_edge, length_index, terms, entries, coefficients, slots, outs):  # type: ignore[no-untyped-def]
    """Write the sums of messages into each centre to `outs`, one array per l_out as in `tensor_product.reference`."""
    n_channels = on_atoms.shape[2]
    values = np.empty(len(terms), dtype=np.float32)
    total = np.empty((len(slots), n_channels), dtype=np.float32)
    for i in range(len(first_edge) - 1):
        total[:] = 0
        for e in range(first_edge[i], first_edge[i + 1]):
            _term_values(sh[e], entries, coefficients, values)
            w, h = weights[length_index[e]], on_atoms[src[e]]
            for t in range(len(terms)):
                a, w_row, h_row, row = values[t], w[terms[t, 0]], h[terms[t, 1]], total[terms[t, 2]]
                for c in range(n_channels):
                    row[c] += a * w_row[c] * h_row[c]
        for s in range(len(slots)):
            start = slots[s, 2] * n_channels
            row, out = total[s], outs[slots[s, 0]][slots[s, 1], i]
            for c in range(n_channels):
                out[start + c] = row[c]


@jit
def _backward(  # type: ignore[no-untyped-def]
    on_atoms, weights, sh, src, first_edge, length_index, terms, entries, coefficients, slots,
    grad_outs, grad_on_atoms, grad_weights,
):  # fmt: skip
    """Add the gradients w.r.t. `on_atoms` and `weights` to `grad_on_atoms` and `grad_weights`."""
    n_channels = on_atoms.shape[2]
    values = np.empty(len(terms), dtype=np.float32)
    grad = np.empty((len(slots), n_channels), dtype=np.float32)
    for i in range(len(first_edge) - 1):
        for s in range(len(slots)):
            start = slots[s, 2] * n_channels
            row, out = grad[s], grad_outs[slots[s, 0]][slots[s, 1], i]
            for c in range(n_channels):
                row[c] = out[start + c]
        for e in range(first_edge[i], first_edge[i + 1]):
            _term_values(sh[e], entries, coefficients, values)
            w, h = weights[length_index[e]], on_atoms[src[e]]
            grad_w, grad_h = grad_weights[length_index[e]], grad_on_atoms[src[e]]
            for t in range(len(terms)):
                a, p, m, row = values[t], terms[t, 0], terms[t, 1], grad[terms[t, 2]]
                w_row, h_row, grad_w_row, grad_h_row = w[p], h[m], grad_w[p], grad_h[m]
                for c in range(n_channels):
                    g = a * row[c]
                    grad_w_row[c] += g * h_row[c]
                    grad_h_row[c] += g * w_row[c]


class _Convolution(torch.autograd.Function):
    """The convolution and its derivatives w.r.t. weights and features."""

    @staticmethod
    def forward(ctx, weights, graph, paths, *features):  # type: ignore[no-untyped-def]
        orbit, rotation, *edges = graph
        tables = _tables(paths)
        n_orbits, n_channels = features[0].shape[1:]
        blocks = tuple(as_numpy(x) for x in features)
        on_atoms = np.empty((len(orbit), len(features) ** 2, n_channels), dtype=np.float32)
        _rotate_to_atoms(blocks, orbit, rotation, on_atoms)
        w = as_numpy(weights).reshape(len(weights), len(paths), n_channels)
        degrees = range(paths[-1].l_out + 1)
        outs = tuple(np.empty((2 * l + 1, n_orbits, len(paths_into(paths, l)) * n_channels), dtype=np.float32) for l in degrees)
        _forward(on_atoms, w, *edges, *tables, outs)
        ctx.kept = graph, tables, on_atoms, w, len(features)
        return tuple(torch.from_numpy(out) for out in outs)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *grad_outs):  # type: ignore[no-untyped-def]
        (orbit, rotation, *edges), tables, on_atoms, w, n_degrees = ctx.kept
        grad_on_atoms, grad_w = np.zeros_like(on_atoms), np.zeros_like(w)
        _backward(on_atoms, w, *edges, *tables, tuple(as_numpy(g) for g in grad_outs), grad_on_atoms, grad_w)
        n_orbits, n_channels = grad_outs[0].shape[1], on_atoms.shape[2]
        grads = tuple(np.zeros((2 * l + 1, n_orbits, n_channels), dtype=np.float32) for l in range(n_degrees))
        _rotate_back(grad_on_atoms, orbit, rotation, grads)
        return (
            torch.from_numpy(grad_w.reshape(len(w), w.shape[1] * w.shape[2])),
            None,
            None,
            *(torch.from_numpy(g) for g in grads),
        )


def convolve(
    features: Features, weights: Tensor, edge_sh: Tensor, length_index: Tensor, batch: GraphBatch, paths: tuple[Path, ...]
) -> Features:
    """Compute `tensor_product.reference` for float32 tensors on a CPU; differentiable once w.r.t. features and weights."""
    first_edge = np.searchsorted(as_numpy(batch.edge_dst_index), np.arange(batch.n_orbits + 1))
    graph = (
        as_numpy(batch.atom_orbit_index),
        as_numpy(batch.atom_rotation),
        as_numpy(edge_sh),
        as_numpy(batch.edge_src_index),
        first_edge,
        as_numpy(length_index),
    )
    return list(_Convolution.apply(weights, graph, paths, *features))
