"""Gradients as CUDA graphs: a GPU repeats what it did for one batch with the numbers of the next, without waiting for Python.

A captured step takes the same tensors each time, so that batches are padded to one size (src/graphs/padding.py).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from src.graphs.batch import GraphBatch
from src.graphs.padding import pad, room_for

N_WARM_UP = 3  # passes before the capture, in which libraries choose their kernels
AddGradient = Callable[[GraphBatch, Tensor], Tensor]  # padded batch, targets of its crystals but the last -> loss


class Captured:
    """One CUDA graph and the tensors that it reads and writes."""

    def __init__(self, add_gradient: AddGradient, batch: GraphBatch, target: Tensor, gradient: Tensor, pool: Any) -> None:
        """gradient: to which `add_gradient` adds; as before when this returns. pool: of memory, that graphs share."""
        self.batch, self.target = batch.to(target.device), target.clone()
        before, stream = gradient.clone(), torch.cuda.Stream(target.device)
        stream.wait_stream(torch.cuda.current_stream(target.device))
        with torch.cuda.stream(stream):
            for _ in range(N_WARM_UP):
                add_gradient(self.batch, self.target)
        torch.cuda.current_stream(target.device).wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, pool=pool):
            self.loss = add_gradient(self.batch, self.target)
        gradient.copy_(before)

    def replay(self, batch: GraphBatch, target: Tensor) -> Tensor:
        """Add the gradient for a batch of the same size, on any device, and return its loss."""
        for name, tensor in vars(self.batch).items():
            if isinstance(tensor, Tensor):
                tensor.copy_(getattr(batch, name), non_blocking=True)
        self.target.copy_(target)
        self.graph.replay()
        return self.loss.clone()


class CapturedGradient:
    """Adds the gradient of one batch after another; there is a graph for each number of crystals, captured anew to make room."""

    def __init__(self, add_gradient: AddGradient, gradient: Tensor) -> None:
        self.add_gradient, self.gradient = add_gradient, gradient
        self.pool = torch.cuda.graph_pool_handle()
        self.captured: dict[int, Captured] = {}
        self.room: dict[int, dict[str, int]] = {}

    def __call__(self, batch: GraphBatch, target: Tensor) -> Tensor:
        """Add the gradient and return the loss. batch: on any device. target: (n_crystals,), on the GPU."""
        n = batch.n_crystals
        room = room_for(batch, self.room.get(n, {}))
        padded = pad(batch, room)
        if room != self.room.get(n):
            self.captured[n] = Captured(self.add_gradient, padded, target, self.gradient, self.pool)
            self.room[n] = room
        return self.captured[n].replay(padded, target)
