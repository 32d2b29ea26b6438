"""Floating-point operations of the convolution's kernels, their rate, and the rate of a plain fused-multiply-add loop."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numba
import numpy as np

from src.models import fused
from src.models.kernels import Kernels, LinesOf, backward_lines, find_terms, forward_lines, make_kernels
from src.models.tensor_product import Path

CHAINS, DEPTH = 8, 32  # independent chains of operations, which hide the latency of one
N_VALUES, N_REPEATS = 4096, 50  # values that fit in the L1 cache


def operations(paths: tuple[Path, ...], lines_of: LinesOf) -> int:
    """Return the multiplications and additions of a kernel per edge and channel, as its lines spell them out."""
    lines = lines_of(list(enumerate(find_terms(paths))))
    return sum(len(re.findall(r"[*+]", re.sub(r"\[[^]]*\]", "", line))) for line in lines)


class KernelClock:
    """CPU seconds in the kernels, which run on one thread, and the operations that they did."""

    def __init__(self) -> None:
        self.seconds, self.operations = 0.0, 0

    def make_kernels(self, paths: tuple[Path, ...]) -> Kernels:
        """Return the kernels of a set of paths, each of which counts when it is called."""
        kernels = make_kernels(paths)
        forward = self._counted(kernels.forward, paths, operations(paths, forward_lines))
        backward = self._counted(kernels.backward, paths, operations(paths, backward_lines))
        return kernels._replace(forward=forward, backward=backward)

    def _counted(self, kernel: Callable[..., None], paths: tuple[Path, ...], n_operations: int) -> Callable[..., None]:
        def counted(on_atoms: Any, table: Any, first: Any, weight: Any, edge_sh: Any, *others: Any) -> None:
            start = time.thread_time()
            kernel(on_atoms, table, first, weight, edge_sh, *others)
            self.seconds += time.thread_time() - start
            self.operations += n_operations * len(edge_sh) * (table.shape[1] // len(paths))

        return counted


@contextmanager
def clock() -> Iterator[KernelClock]:
    """Count what the kernels do in the block."""
    counting = KernelClock()
    with patch.object(fused, "make_kernels", counting.make_kernels):
        yield counting


def gflops(step: Callable[[], None]) -> float | None:
    """Return 1e9 operations per CPU second of the kernels in a step; None if it calls none."""
    with clock() as counted:
        step()
    return counted.operations / counted.seconds / 1e9 if counted.seconds else None


def fma_gflops() -> float:
    """Return 1e9 operations per CPU second of a loop that does nothing but multiply and add, the best of many."""
    body = [f"        y{k} = x[{k}, i]" for k in range(CHAINS)]
    body += [f"        y{k} = y{k} * a + b" for _ in range(DEPTH) for k in range(CHAINS)]
    body += [f"        x[{k}, i] = y{k}" for k in range(CHAINS)]
    scope: dict[str, Any] = {}
    exec("\n".join(["def loop(x, a, b):", "    for i in range(x.shape[1]):", *body]), scope)
    loop = numba.njit(fastmath={"contract"})(scope["loop"])
    x, a, b = np.ones((CHAINS, N_VALUES // CHAINS), dtype=np.float32), np.float32(0.5), np.float32(0.25)
    loop(x, a, b)
    best = float("inf")
    for _ in range(N_REPEATS):
        start = time.thread_time()
        for _ in range(20):
            loop(x, a, b)
        best = min(best, (time.thread_time() - start) / 20)
    return 2 * DEPTH * x.size / best / 1e9
