"""The device that a name stands for on this machine, and settings of the process that uses it.

torch is imported inside functions: trees train without it.
"""

import ctypes
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of glibc's malloc.h
KEPT, SHARED_MEMORY = 2**29, 2**30  # bytes


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
    """Return the device for training fold k: `cuda` means all GPUs in turn, other names are taken literally."""
    if device != "cuda":
        return device
    import torch

    n_devices = torch.cuda.device_count()
    return f"cuda:{k % n_devices}" if n_devices > 1 else device


def count_gpus(device: str) -> int | None:
    """Return the number of GPUs on this machine that a device stands for: all for `cuda`, one for `cuda:1`; None for the CPU."""
    if device == "cpu":
        return None
    import torch

    return max(1, torch.cuda.device_count()) if device == "cuda" else 1


def keep_products_whole() -> None:
    """Let this process multiply float32 matrices in float32: torch would let cuDNN round those of an LSTM on a GPU."""
    import torch

    torch.backends.cudnn.allow_tf32 = False


def keep_freed_memory() -> None:
    """Let glibc keep up to 512 MiB of freed memory, and take allocations of up to 1 GiB from it; elsewhere do nothing.

    Each training step allocates what the step before freed. By default glibc gives large blocks back to the system, which then
    has to clear every page of them again: thousands of page faults a step, see docs/speed.md.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(TRIM_THRESHOLD, KEPT)
        libc.mallopt(MMAP_THRESHOLD, SHARED_MEMORY)
