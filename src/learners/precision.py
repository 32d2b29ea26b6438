"""In what precision a training's matrix products run."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from src.config import Precision


@contextmanager
def precision(name: Precision, device: torch.device) -> Iterator[None]:
    """`bf16`: linear layers of the block run in bfloat16, weights and sums over edges and atoms stay float32; `tf32`: products
    of float32 matrices are rounded to TensorFloat-32 where the device has it."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if name == "tf32" else before)
    try:
        with torch.autocast(device.type, torch.bfloat16, enabled=name == "bf16"):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
