"""What the C library does with memory that torch frees."""

import ctypes
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of glibc's malloc.h
KEPT, SHARED = 2**29, 2**30  # bytes


def keep_freed_memory() -> None:
    """Let glibc keep up to 512 MiB of freed memory, and take allocations of up to 1 GiB from it; elsewhere do nothing.

    Each training step allocates what the step before freed. By default glibc gives large blocks back to the system, which then
    has to clear every page of them again: thousands of page faults a step, see docs/speed.md.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(TRIM_THRESHOLD, KEPT)
        libc.mallopt(MMAP_THRESHOLD, SHARED)
