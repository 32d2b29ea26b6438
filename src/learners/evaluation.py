"""Evaluation of trained networks on a table: predictions, and the vectors that their heads read."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from src.graphs.batch import GraphBatch
from src.learners.device import keep_products_whole
from src.learners.learner import Values
from src.models.members import count_members

BATCH_SIZE = 128  # crystals
WORTH_A_BAR = 2000  # rows that several networks predict
FEW = 32  # rows that the plain convolution predicts sooner than the compiled one is loaded
MakeBatch = Callable[[NDArray[np.integer]], GraphBatch]


def eval_batches(n_rows: int) -> Iterator[NDArray[np.integer]]:
    """Yield the numbers of all rows in batches of consecutive ones."""
    return (np.arange(i, min(i + BATCH_SIZE, n_rows)) for i in range(0, n_rows, BATCH_SIZE))


def predict_each(models: Sequence[nn.Module], make_batch: MakeBatch, n_rows: int) -> Values:
    """Return the predictions of each model's members, (n_models, n_members, n_rows).

    All models share the batches, several models at a time. If there are several models and few crystals, they run in double
    precision, which needs no compiled kernels; these take a second to load.
    """
    keep_products_whole()
    several = len(models) > 1
    evaluate = _in_double_precision if several and n_rows <= FEW else _evaluate
    found = torch.zeros(len(models), count_members(models[0]), n_rows, dtype=torch.float64)
    batches = list(eval_batches(n_rows))
    bar = tqdm(batches, desc="predicting", unit="batch", mininterval=1, disable=not several or n_rows < WORTH_A_BAR)
    with ThreadPoolExecutor(os.cpu_count(), initializer=torch.set_num_threads, initargs=(1,)) as pool:  # of each of its threads
        at_once = pool.map if several else map
        for rows in bar:
            for one, values in zip(found, at_once(partial(evaluate, make_batch(rows)), models), strict=True):
                one[:, torch.from_numpy(rows)] = values.to(found)
    return found.numpy()


@torch.no_grad()
def _evaluate(batch: GraphBatch, model: nn.Module) -> Tensor:
    """Return what a model predicts for a batch."""
    return cast(Tensor, model.eval()(batch))


def _in_double_precision(batch: GraphBatch, model: nn.Module) -> Tensor:
    """Return what a model predicts for a batch, in double precision."""
    device = next(model.parameters()).device
    values = _evaluate(batch.to(device, torch.float64), model.double())
    model.float()  # as before, to the last bit
    return values


@torch.no_grad()
def read_by_head(network: nn.Module, make_batch: MakeBatch, n_rows: int) -> NDArray[np.float32]:
    """Return the vectors that the head of a single network reads, (n_rows, n_features); those of atoms are averaged."""
    keep_products_whole()
    read: list[Tensor] = []
    parts = []
    head = cast(nn.Module, network.eval().head)
    handle = head.register_forward_pre_hook(lambda module, arguments: read.append(arguments[0]))
    try:
        for rows in eval_batches(n_rows):
            batch = make_batch(rows)
            network(batch)
            vectors = read.pop()  # of crystals, or of orbits
            vectors = vectors if len(vectors) == batch.n_crystals else batch.mean_over_atoms(vectors)
            parts.append(vectors.cpu().numpy())
    finally:
        handle.remove()
    return np.concatenate(parts)
