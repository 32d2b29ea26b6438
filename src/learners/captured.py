"""Gradients as CUDA graphs: a GPU repeats the work of one batch with the numbers of the next, without waiting for Python.

A graph reads the same tensors each time, so batches are padded to one size (`pad` in src/graphs/batch.py).
"""

import gc
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from src.graphs.batch import GraphBatch, pad, padded_sizes

N_WARM_UP = 3  # passes before the capture, in which libraries choose their kernels
AddGradient = Callable[[GraphBatch, Tensor], Tensor]  # padded batch, targets of its crystals but the last -> loss


class GradientGraph:
    """One CUDA graph and the tensors that it reads and writes."""

    def __init__(
        self, add_gradient: AddGradient, batch: GraphBatch, target: Tensor, gradient: Tensor, stream: torch.cuda.Stream, pool: Any
    ) -> None:
        """gradient: what `add_gradient` adds to; as before when this returns. stream: to capture on. pool: the graphs' memory."""
        device = gradient.device
        self.batch, self.target, before = batch.to(device), target.to(device), gradient.clone()
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            for _ in range(N_WARM_UP):
                add_gradient(self.batch, self.target)
        self.graph = torch.cuda.CUDAGraph()
        gc.collect()
        gc.disable()  # a graph or tensor that is freed meanwhile would invalidate the capture
        try:
            with torch.cuda.graph(self.graph, pool=pool, stream=stream):
                self.loss = add_gradient(self.batch, self.target)
        finally:
            gc.enable()
        gradient.copy_(before)

    def replay(self, batch: GraphBatch, target: Tensor) -> Tensor:
        """Add the gradient for a batch of the same size, on any device, and return its loss."""
        for name, tensor in vars(self.batch).items():
            if isinstance(tensor, Tensor):
                tensor.copy_(getattr(batch, name), non_blocking=True)
        self.target.copy_(target, non_blocking=True)
        self.graph.replay()
        return self.loss.clone()


class CapturedGradient:
    """Adds the gradients of batches; there is a graph for each number of crystals.

    A batch that is too large is captured again, and all later ones are padded to its size.
    """

    def __init__(self, add_gradient: AddGradient, gradient: Tensor) -> None:
        """gradient: of all parameters, on a GPU."""
        self.add_gradient, self.gradient = add_gradient, gradient
        self.stream, self.pool = torch.cuda.Stream(gradient.device), torch.cuda.graph_pool_handle()
        self.graphs: dict[int, GradientGraph] = {}
        self.sizes: dict[int, dict[str, int]] = {}

    def __call__(self, batch: GraphBatch, target: Tensor) -> Tensor:
        """Add the gradient and return the loss. batch: on any device. target: (n_crystals,), on any device."""
        n = batch.n_crystals
        sizes = padded_sizes(batch, self.sizes.get(n, {}))
        padded = pad(batch, sizes)
        with torch.cuda.device(self.gradient.device):
            if sizes != self.sizes.get(n):
                self.graphs[n] = GradientGraph(self.add_gradient, padded, target, self.gradient, self.stream, self.pool)
                self.sizes[n] = sizes
            return self.graphs[n].replay(padded, target)
