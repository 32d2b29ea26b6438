"""Law of src/learners/allocator.py."""

import platform
import subprocess
import sys

import pytest

from src.paths import ROOT

COUNT = """
import resource, sys
import torch
from src.learners.allocator import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()
faults = []
for _ in range(24):
    torch.empty(2**23).fill_(1)  # 32 MiB, 8,192 pages
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(faults[-1] - faults[-9])
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="elsewhere nothing is changed")
@pytest.mark.parametrize(("how", "least", "most"), [("keep", 0, 1000), ("leave", 60_000, 70_000)])
def test_pages_that_were_freed_are_not_asked_for_again(how: str, least: int, most: int) -> None:
    done = subprocess.run([sys.executable, "-c", COUNT, how], cwd=ROOT, capture_output=True, text=True, check=True)
    assert least <= int(done.stdout) <= most
