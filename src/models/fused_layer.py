"""An interaction layer of NequIP as one differentiable operation, for CPUs in single precision: see nequip.py.

It makes the same matrix products and calls the same kernels as the layer of modules, which is its reference, but torch records
one operation instead of fifty.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from src.models.compiled import compute
from src.models.fused import Edges, Pass
from src.models.radial import RadialValues
from src.models.tensor_product import Features, Path


def _mixed(x: Tensor, weight: Tensor) -> Tensor:
    """Return x with mixed channels. x: (2l+1, n_orbits, n_in)."""
    return torch.mm(x.reshape(-1, x.shape[-1]), weight).view(*x.shape[:-1], -1)


def _weight_grad(x: Tensor, grad: Tensor) -> Tensor:
    """Return the gradient w.r.t. the weight of `_mixed`."""
    return torch.mm(x.reshape(-1, x.shape[-1]).t(), grad.reshape(-1, grad.shape[-1]))


class _Layer:
    """One evaluation of the layer, with what its derivatives need.

    tensors: the features, one for each degree, and the weights of the linear layers before and after the convolution; then the
    weights of a linear self-connection, or with `connected` the output of another one.
    """

    def __init__(
        self, radial: RadialValues, edges: Edges, paths: tuple[Path, ...], connected: bool, scale: float, tensors: list[Tensor]
    ) -> None:
        n_in, n_out = (max(getattr(path, name) for path in paths) + 1 for name in ("l_in", "l_out"))
        bounds = [*accumulate([n_in, n_in, n_out], initial=0), None]
        self.features, self.w_in, self.w_out, self.self_connection = (tensors[a:b] for a, b in pairwise(bounds))
        self.connected, self.scale = connected, scale
        self.convolution = Pass([_mixed(x, w) for x, w in zip(self.features, self.w_in, strict=True)], radial, edges, paths)
        self.messages = self.convolution.outs()
        self.before = [_mixed(x, w) for x, w in zip(self.messages, self.w_out, strict=True)]
        for x, own, y in zip(self.before, self.features, self.self_connection, strict=False):
            if connected:
                x += y
            else:
                x.view(-1, x.shape[-1]).addmm_(own.reshape(-1, own.shape[-1]), y)
        self.activated = (torch.nn.functional.silu(self.before[0]) * scale).chunk(n_out, dim=-1)

    def outs(self) -> list[Tensor]:
        """Return the features after the gate."""
        scalars, *gates = self.activated
        return [scalars.clone(), *(x * gate for x, gate in zip(self.before[1:], gates, strict=True))]

    def gradients(self, grad_outs: Sequence[Tensor]) -> list[Tensor]:
        """Return the gradients w.r.t. the radial rows and the tensors."""
        through = [grad_outs[0], *(torch.sum(g * x, 0, True) for g, x in zip(grad_outs[1:], self.before[1:], strict=True))]
        grad = [torch.ops.aten.silu_backward(torch.cat(through, dim=-1) * self.scale, self.before[0])]
        grad += [g * gate for g, gate in zip(grad_outs[1:], self.activated[1:], strict=True)]
        grad_w_out = [_weight_grad(x, g) for x, g in zip(self.messages, grad, strict=True)]
        grad_rows, *grad_mixed = self.convolution.gradients([_mixed(g, w.t()) for g, w in zip(grad, self.w_out, strict=True)])
        grad_w_in = [_weight_grad(x, g) for x, g in zip(self.features, grad_mixed, strict=True)]
        grad_features = [_mixed(g, w.t()) for g, w in zip(grad_mixed, self.w_in, strict=True)]
        grad_self = grad[: len(self.self_connection)]
        if not self.connected:
            for x, g, w in zip(grad_features, grad_self, self.self_connection, strict=False):
                x.view(-1, x.shape[-1]).addmm_(g.reshape(-1, g.shape[-1]), w.t())
            grad_self = [_weight_grad(x, g) for x, g in zip(self.features, grad_self, strict=False)]
        return [grad_rows, *grad_features, *grad_w_in, *grad_w_out, *grad_self]


def interact(
    features: Features,
    radial: RadialValues,
    edges: Edges,
    paths: tuple[Path, ...],
    weights: tuple[list[Tensor], list[Tensor]],
    self_connection: list[Tensor],
    connected: bool,
    scale: float,
) -> Features:
    """Return the updated features of the representatives; differentiable once.

    features: for each l a (2l+1, n_orbits, n_channels), n_channels a multiple of kernels.TILE.
    weights: of the linear layers before and after the convolution.
    self_connection: the weights of a linear one, or, if it is `connected` already, its output.
    scale: factor of SiLU.
    """
    tensors = *features, *weights[0], *weights[1], *self_connection
    places = radial.first, radial.weight
    return compute(
        lambda rows, *own: _Layer(RadialValues(rows, *places), edges, paths, connected, scale, list(own)), radial.rows, *tensors
    )
