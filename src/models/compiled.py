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


def for_each_member(function: Any, info: Any, in_dims: tuple, inputs: tuple) -> tuple[Any, Any]:
    """Apply an autograd function to one member after another: its rule for torch.vmap, see members.py.

    Outputs that are no tensors are left out.
    """
    n = info.batch_size
    each = [[x] * n if d is None or not isinstance(x, Tensor) else x.unbind(d) for x, d in zip(inputs, in_dims, strict=True)]
    outs = [function.apply(*own) for own in zip(*each, strict=True)]
    if isinstance(outs[0], Tensor):
        return torch.stack(outs), 0
    stacked = [torch.stack(same) for same in zip(*outs, strict=True) if isinstance(same[0], Tensor)]
    return tuple(stacked), (0,) * len(stacked)


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
