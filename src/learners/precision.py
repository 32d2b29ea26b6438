"""Precision of the matrix products in training steps."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from src.config import Precision


@contextmanager
def precision(name: Precision, device: torch.device) -> Iterator[None]:
    """Run the block in a precision.

    `bf16`: linear layers run in bfloat16; weights, and sums over edges and atoms, stay in float32. `tf32`: products of float32
    matrices are rounded to TensorFloat-32 if the device has it.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if name == "tf32" else before)
    try:
        with torch.autocast(device.type, torch.bfloat16, enabled=name == "bf16"):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
