"""Names of devices: GPUs are taken in turn, and as many folds run at once as there are. Settings of a process that trains."""

import ctypes
import sys
from types import SimpleNamespace

import pytest
import torch
from joblib import cpu_count

from src.learners.device import count_gpus, device_of, keep_freed_memory, keep_products_whole
from src.runs.launch import Launcher


def test_folds_take_the_gpus_in_turn_and_a_named_one_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def devices(device: str, n: int) -> list[str]:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: n)
        return [device_of(device, k) for k in range(5)]

    assert devices("cuda", 3) == ["cuda:0", "cuda:1", "cuda:2", "cuda:0", "cuda:1"]
    assert set(devices("cuda:1", 3)) == {"cuda:1"}
    assert set(devices("cpu", 0) + devices("cpu", 3)) == {"cpu"}
    assert set(devices("cuda", 1)) == {"cuda"}


@pytest.mark.parametrize(("device", "n"), [("cpu", None), ("cuda", 3), ("cuda:1", 1)])
def test_as_many_folds_run_at_once_as_there_are_gpus(device: str, n: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    n_gpus = count_gpus(device)
    assert n_gpus == n and Launcher(n_gpus=n_gpus).at_once == (n or cpu_count())
    assert Launcher(n_jobs=5, n_gpus=n_gpus).at_once == 5


@pytest.mark.parametrize(("platform", "options"), [("linux", [(-1, 2**29), (-3, 2**30)]), ("darwin", [])])
def test_only_glibc_is_told_to_keep_what_a_step_frees(
    platform: str, options: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The numbers of the options are those of its malloc.h."""
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(mallopt=lambda *option: told.append(option)))
    keep_freed_memory()
    assert told == options


def test_no_product_of_matrices_is_rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    keep_products_whole()
    assert not torch.backends.cudnn.allow_tf32
