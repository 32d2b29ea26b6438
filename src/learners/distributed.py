"""One training on several processes that torchrun has started on this machine; each takes its share of every batch.

Where torchrun has not, there is one process, and nothing here does anything.

Gradients are summed by one all-reduce behind `backward`. DistributedDataParallel would do that from hooks, while `backward`
runs, but "doesn't work with torch.autograd.grad" (its documentation), by which pre-training makes its forces.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # trees train without torch
    import torch

T = TypeVar("T")
WAIT = timedelta(days=7)  # for the main process to prepare the data; torchrun itself sees a process that died


def world_size() -> int:
    """Processes that train together."""
    return int(os.environ["WORLD_SIZE"]) if "TORCHELASTIC_RUN_ID" in os.environ else 1


def rank() -> int:
    return int(os.environ["RANK"]) if world_size() > 1 else 0


def is_main() -> bool:
    """Whether this is the process that writes files."""
    return rank() == 0


def device_of(device: str, k: int, n_devices: int) -> str:
    """Where the k-th of several trainings runs: `cuda` means all GPUs, taken in turn; other names mean themselves."""
    return f"cuda:{k % n_devices}" if device == "cuda" and n_devices > 1 else device


@contextmanager
def joined(device: str) -> Iterator[str]:
    """Meets the other processes; gives this one's device. ValueError where there are fewer GPUs than processes."""
    if world_size() == 1:
        yield device
        return
    import torch

    if device != "cpu":
        n, local = torch.cuda.device_count(), int(os.environ["LOCAL_RANK"])
        if device != "cuda" or n < int(os.environ["LOCAL_WORLD_SIZE"]):
            raise ValueError(f"--device {device}: torchrun takes --device cuda and a GPU for each process; there are {n}")
        device = f"cuda:{local}"
        torch.cuda.set_device(local)
    torch.distributed.init_process_group("gloo" if device == "cpu" else "cpu:gloo,cuda:nccl", timeout=WAIT)
    yield device
    torch.distributed.destroy_process_group()


def wait() -> None:
    """Until all processes are here."""
    if world_size() > 1:
        from torch.distributed import barrier

        barrier()


@contextmanager
def main_first() -> Iterator[None]:
    """The block runs in the main process, then in the others, which find the files that it has written."""
    if not is_main():
        wait()
    yield
    if is_main():
        wait()


def mine(items: Sequence[T]) -> Sequence[T]:
    """This process's share; the shares of all are all items, each once."""
    return items[rank() :: world_size()]


def share(rows: NDArray[np.integer]) -> tuple[NDArray[np.integer], float]:
    """This process's rows of a batch, and their weight in a mean over all of it.

    A batch smaller than the number of processes leaves some without: they take its first row with a weight of zero.
    """
    own = rows[rank() :: world_size()]
    return (own, len(own) / len(rows)) if len(own) else (rows[:1], 0.0)


def total(tensor: "torch.Tensor") -> "torch.Tensor":
    """The sum over all processes, the same number in each; `tensor` itself is overwritten."""
    if world_size() > 1:
        from torch.distributed import all_reduce

        all_reduce(tensor)
    return tensor


def total_of(number: float) -> float:
    """The sum of a number over all processes."""
    if world_size() == 1:
        return number
    import torch

    return float(total(torch.tensor(number, dtype=torch.float64)))


def sum_gradients(parameters: "Iterable[torch.nn.Parameter]") -> None:
    """Makes every gradient its sum over all processes."""
    if world_size() == 1:
        return
    import torch

    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = total(torch.cat([g.flatten() for g in gradients]))
    for gradient, summed in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(summed.view_as(gradient))
