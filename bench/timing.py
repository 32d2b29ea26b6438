"""Training steps of several implementations, timed in turn."""

import statistics
import time
import tracemalloc
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

Step = Callable[[], None]
N_WARM_UP = 2


def make_step(model: nn.Module, forward: Callable[[], Tensor]) -> Step:
    """Return a function that does one training step with a new optimiser."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        forward().abs().mean().backward()
        optimizer.step()

    return step


def synchronize(device: str) -> None:
    """Wait until the device has done what it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def seconds(step: Step, device: str) -> float:
    """Return the duration of a step."""
    synchronize(device)
    start = time.perf_counter()
    step()
    synchronize(device)
    return time.perf_counter() - start


def in_turn(steps: dict[str, Step], n_rounds: int, device: str) -> dict[str, float]:
    """Return the median ms of each step, one of each in every round, after a warm-up."""
    for step in steps.values():
        for _ in range(N_WARM_UP):
            step()
    rounds = [{name: seconds(step, device) for name, step in steps.items()} for _ in range(n_rounds)]
    return {name: 1000 * statistics.median(each[name] for each in rounds) for name in steps}


def peak_memory(step: Step, device: str) -> float:
    """Return the peak MB that a step allocates on top of weights, batch and optimiser.

    On a CPU that is torch's peak plus numpy's.
    """
    if device.startswith("cuda"):
        synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        step()
        synchronize(device)
        return (torch.cuda.max_memory_allocated(device) - before) / 2**20
    tracemalloc.start()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        step()
    numpy_peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    sizes = [event.nbytes() for event in recorded.profiler.kineto_results.events() if event.name() == "[memory]"]
    return (max(np.cumsum(sizes), default=0) + numpy_peak) / 2**20
