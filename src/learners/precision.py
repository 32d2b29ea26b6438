"""Precision of the matrix products in training steps."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from src.config import Precision


@contextmanager
def products(name: Precision) -> Iterator[None]:
    """Run the block, forward and backward passes, with products of float32 matrices in a precision.

    `tf32`: they are rounded to TensorFloat-32 if the device has it. Other precisions leave them whole: torch would let cuDNN
    round those of an LSTM on a GPU.
    """
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if name == "tf32" else before[0])
    torch.backends.cudnn.allow_tf32 = name == "tf32"
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def autocast(name: Precision, device: torch.device) -> torch.autocast:
    """Return the context of a forward pass; the backward pass, outside of it, repeats its choices.

    `bf16`: linear layers run in bfloat16; weights, and sums over edges and atoms, stay in float32.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=name == "bf16")
