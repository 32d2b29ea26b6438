"""Several processes, started by torchrun on this machine, that train one network; each takes its share of every batch.

The main process runs the whole command. The others follow it: they train the folds that it tells them to, and write nothing.
Without torchrun there is one process, and nothing here does anything.

Gradients are summed by one all-reduce after `backward`. DistributedDataParallel would sum them in hooks, during `backward`,
but "doesn't work with torch.autograd.grad" (its documentation), which pre-training needs for its forces.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # trees train without torch
    import torch

T = TypeVar("T")
P = ParamSpec("P")
WAIT = timedelta(days=7)  # while the main process prepares the data; torchrun itself notices a dead process


def world_size() -> int:
    """Return the number of processes that train together."""
    return int(os.environ["WORLD_SIZE"]) if "TORCHELASTIC_RUN_ID" in os.environ else 1


def rank() -> int:
    """Return the number of this process among them."""
    return int(os.environ["RANK"]) if world_size() > 1 else 0


def is_main() -> bool:
    """Return whether this is the process that writes files."""
    return rank() == 0


def check_device(device: str) -> None:
    """Raise ValueError if torch cannot use the device."""
    if device == "cpu":
        return
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"--device {device}: torch cannot use it here ({str(error).splitlines()[0]})") from error


def device_of(device: str, k: int) -> str:
    """Return the device for the training of fold k.

    `cuda` means all GPUs: one for each of several processes, else one for each fold, in turn. Other names mean themselves.
    """
    if device != "cuda":
        return device
    if world_size() > 1:
        return f"cuda:{os.environ['LOCAL_RANK']}"
    import torch

    n_devices = torch.cuda.device_count()
    return f"cuda:{k % n_devices}" if n_devices > 1 else device


def count_gpus(device: str) -> int | None:
    """Return the number of GPUs of this machine that a device means: all for `cuda`, one for `cuda:1`; None for the CPU."""
    if device == "cpu":
        return None
    import torch

    return max(1, torch.cuda.device_count()) if device == "cuda" else 1


@contextmanager
def joined(device: str) -> Iterator[None]:
    """Join the process group while the block runs. Raises ValueError if there are fewer GPUs than processes."""
    if world_size() == 1:
        yield
        return
    import torch

    if device != "cpu":
        n = torch.cuda.device_count()
        if device != "cuda" or n < int(os.environ["LOCAL_WORLD_SIZE"]):
            raise ValueError(f"--device {device}: torchrun takes --device cuda and a GPU for each process; there are {n}")
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.distributed.init_process_group("gloo" if device == "cpu" else "cpu:gloo,cuda:nccl", timeout=WAIT)
    yield
    torch.distributed.destroy_process_group()


@contextmanager
def team(device: str) -> Iterator[bool]:
    """Yield True in the main process; the others follow it until it is done, and then yield False."""
    with joined(device):
        if is_main():
            yield True
            _from_main(None)
        else:
            follow()
            yield False


def tell(function: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
    """Make the other processes call a function that the main one is about to call itself. Its arguments must pickle."""
    if is_main():
        _from_main((function, args, kwargs))


def follow() -> None:
    """Call what the main process asks for until it is done."""
    logging.disable()
    while (call := _from_main(None)) is not None:
        function, args, kwargs = call
        function(*args, **kwargs)


def _from_main(call: tuple | None) -> tuple | None:
    """Return the argument of the main process in every process; None if the main process is gone."""
    if world_size() == 1:
        return call
    import torch

    calls = [call]
    try:
        torch.distributed.broadcast_object_list(calls, device=torch.device("cpu"))
    except RuntimeError:
        if is_main():
            raise
        return None  # the main process has failed, and has said why
    return calls[0]


def mine(items: Sequence[T]) -> Sequence[T]:
    """Return this process's share of the items; the shares of all processes contain each item once."""
    return items[rank() :: world_size()]


def share(rows: NDArray[np.integer]) -> tuple[NDArray[np.integer], float]:
    """Return this process's rows of a batch, and their weight in a mean over the whole batch.

    If there are fewer rows than processes, those without any take the first row with a weight of zero.
    """
    own = rows[rank() :: world_size()]
    return (own, len(own) / len(rows)) if len(own) else (rows[:1], 0.0)


def total(tensor: "torch.Tensor") -> "torch.Tensor":
    """Return the sum over all processes, the same numbers in each; `tensor` itself is overwritten."""
    if world_size() > 1:
        from torch.distributed import all_reduce

        all_reduce(tensor)
    return tensor


def total_of(number: float) -> float:
    """Return the sum of a number over all processes."""
    if world_size() == 1:
        return number
    import torch

    return float(total(torch.tensor(number, dtype=torch.float64)))


def sum_gradients(parameter: "torch.nn.Parameter") -> None:
    """Replace the gradient by its sum over all processes."""
    if parameter.grad is not None:
        total(parameter.grad)
