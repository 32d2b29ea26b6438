"""Common parts of the operations that numba compiles for torch on CPUs."""

import logging
from collections.abc import Callable
from functools import cache
from typing import Any

import numba
import torch
from numba.core import event
from numpy.typing import NDArray
from torch import Tensor

log = logging.getLogger(__name__)


def jit(function: Any) -> Any:
    """Return the function, compiled when it is first called; only products and sums may be contracted.

    Several threads may run it at once.
    """
    return numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "nsz"})(function)


def as_numpy(tensor: Tensor) -> NDArray:
    """Return the values of a tensor on a CPU as a contiguous array."""
    return tensor.detach().contiguous().numpy()


class CompiledFunction(torch.autograd.Function):
    """A differentiable operation on tensors, of which one evaluation is an object with `outs()` and `gradients(grad_outs)`.

    This object keeps what the derivatives need, but no output: torch stores it with the output's history, and the two would
    keep each other alive.
    """

    @staticmethod
    def forward(evaluate: Callable[..., Any], *tensors: Tensor) -> tuple:
        """Return the outputs, and then the evaluation. evaluate: makes it from the tensors."""
        done = evaluate(*tensors)
        return *done.outs(), done

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
        """Keep the evaluation."""
        ctx.done = output[-1]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *grad_outs):  # type: ignore[no-untyped-def]
        return None, *ctx.done.gradients(grad_outs[:-1])

    @classmethod
    def vmap(cls, info: Any, in_dims: tuple, *inputs: Any) -> tuple[Any, Any]:
        """Apply the operation to one member after another, see members.py; the last output is left out."""
        n = info.batch_size
        each = [[x] * n if d is None or not isinstance(x, Tensor) else x.unbind(d) for x, d in zip(inputs, in_dims, strict=True)]
        outs = [cls.apply(*own)[:-1] for own in zip(*each, strict=True)]
        return tuple(map(torch.stack, zip(*outs, strict=True))), (0,) * len(outs[0])


def compute(evaluate: Callable[..., Any], *tensors: Tensor) -> list[Tensor]:
    """Return the outputs of a `CompiledFunction`; differentiable once."""
    return [out for out in CompiledFunction.apply(evaluate, *tensors) if isinstance(out, Tensor)]


class _Announcement(event.Listener):
    """Announces once that something is compiled that is not in numba's cache."""

    told = False

    def on_start(self, event: Any) -> None:
        if not self.told:
            log.warning("compiling for this machine: once, for seconds; convolutions of l_max 3 take a minute")
        self.told = True

    def on_end(self, event: Any) -> None:
        pass


@cache
def announce_compilation() -> None:
    """Log from now on when something is compiled; workers without a log print it."""
    event.register("numba:compile", _Announcement())
