"""Mixing of channels by element, compiled for CPUs by numba: see convolution.py."""

import numpy as np
import torch
from torch import Tensor

from src.models.compiled import CompiledFunction, as_numpy, jit, jit_sums


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


@jit_sums
def _mix_input_grad(grad_out, mixing, element, grad_x):  # type: ignore[no-untyped-def]
    """Write mixing[element[n]] @ grad_out[m, n] to grad_x[m, n]."""
    n_m, n_nodes, n_in = grad_x.shape
    n_out = grad_out.shape[2]
    for n in range(n_nodes):
        matrix = mixing[element[n]]
        for m in range(n_m):
            row = grad_out[m, n]
            for c in range(n_in):
                weights, total = matrix[c], np.float32(0)
                for f in range(n_out):
                    total += row[f] * weights[f]
                grad_x[m, n, c] = total


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


class _Mixing(CompiledFunction):
    """`_mix` and its derivatives w.r.t. x and mixing."""

    @staticmethod
    def forward(x, mixing, element_index):  # type: ignore[no-untyped-def]
        out, kept = np.zeros((*x.shape[:2], mixing.shape[2]), dtype=np.float32), tuple(map(as_numpy, (x, mixing, element_index)))
        _mix(*kept, out)
        return torch.from_numpy(out), kept

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_out, _):  # type: ignore[no-untyped-def]
        x, mixing, element = ctx.done
        grad, grad_x, grad_mixing = as_numpy(grad_out), np.empty_like(x), np.zeros_like(mixing)
        _mix_input_grad(grad, mixing, element, grad_x)
        _mix_weights_grad(x, grad, element, grad_mixing)
        return torch.from_numpy(grad_x), torch.from_numpy(grad_mixing), None


def mix(x: Tensor, mixing: Tensor, element_index: Tensor) -> Tensor:
    """Compute `tensor_product.reference_mix` for float32 tensors on a CPU; differentiable once."""
    return _Mixing.apply(x, mixing, element_index)[0]
