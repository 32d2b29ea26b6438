"""What the operations share that numba compiles for torch on CPUs."""

import logging
from functools import cache
from typing import Any

import numba
import torch
from numba.core import event
from numpy.typing import NDArray
from torch import Tensor

log = logging.getLogger(__name__)
OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}
FASTMATH = {"contract", "nsz"}


def jit(function: Any) -> Any:
    """Return the function, compiled when it is first called; products and sums may be contracted, and no more than that.

    Several threads may be in it at once.
    """
    return numba.njit(**OPTIONS, fastmath=FASTMATH)(function)


def jit_sums(function: Any) -> Any:
    """Return the function as `jit` does, with sums over the innermost loop in any order: they become vector instructions."""
    return numba.njit(**OPTIONS, fastmath=FASTMATH | {"reassoc"})(function)


def as_numpy(tensor: Tensor) -> NDArray:
    """Return the values of a tensor on a CPU as a contiguous array."""
    return tensor.detach().contiguous().numpy()


class CompiledFunction(torch.autograd.Function):
    """A differentiable operation. Its last output is what `backward` needs; the others are tensors."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
        """Keep the last output."""
        ctx.done = output[-1]

    @classmethod
    def vmap(cls, info: Any, in_dims: tuple, *inputs: Any) -> tuple[Any, Any]:
        """Apply the operation to one member after another, see members.py; the last output is left out."""
        n = info.batch_size
        each = [[x] * n if d is None or not isinstance(x, Tensor) else x.unbind(d) for x, d in zip(inputs, in_dims, strict=True)]
        outs = [cls.apply(*own)[:-1] for own in zip(*each, strict=True)]
        return tuple(map(torch.stack, zip(*outs, strict=True))), (0,) * len(outs[0])


class _Announcement(event.Listener):
    """Says once that something is compiled which numba's cache does not hold."""

    told = False

    def on_start(self, event: Any) -> None:
        if not self.told:
            log.warning("compiling for this machine: once, for seconds; convolutions of l_max 3 take a minute")
        self.told = True

    def on_end(self, event: Any) -> None:
        pass


@cache
def announce_compilation() -> None:
    """From now on say when something is compiled. Workers without a log print it."""
    event.register("numba:compile", _Announcement())
