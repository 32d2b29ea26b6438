"""Names of devices: GPUs are taken in turn, and as many folds run at once as there are. Settings of a process that trains."""

import ctypes
import sys
from types import SimpleNamespace

import pytest
import torch

from src.learners.device import check_device, count_gpus, device_of, keep_freed_memory, keep_products_whole
from src.runs import launch, train
from src.runs.launch import Launcher


def test_folds_take_the_gpus_in_turn_and_a_named_one_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def devices(device: str, n: int) -> list[str]:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: n)
        return [device_of(device, k) for k in range(5)]

    assert devices("cuda", 3) == ["cuda:0", "cuda:1", "cuda:2", "cuda:0", "cuda:1"]
    assert set(devices("cuda:1", 3)) == {"cuda:1"}
    assert set(devices("cpu", 0) + devices("cpu", 3)) == {"cpu"}
    assert set(devices("cuda", 1)) == {"cuda"}


def test_the_options_of_a_command_say_where_folds_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def launcher(*arguments: str) -> Launcher:
        return train.launcher_of(train.launch_options().parse_args(arguments))

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(train, "check_device", lambda device: None)
    monkeypatch.setattr(launch, "find_spec", lambda name: name)
    assert launcher() == Launcher() and not launcher().gpu and launcher("--jobs", "1").n_jobs == 1
    assert launcher("--device", "cuda") == Launcher(gpu=True, n_gpus=3) and launcher("--device", "cuda:1").n_gpus == 1
    on_ray = "--launcher", "ray", "--address", "auto", "--device", "cuda", "--jobs", "2"
    assert launcher(*on_ray) == Launcher("ray", 2, "auto", gpu=True)
    for wrong in (["--jobs", "0"], ["--launcher", "slurm"]):
        with pytest.raises(SystemExit):
            launcher(*wrong)
    with pytest.raises(ValueError, match="--launcher ray needs the --address"):
        launcher("--launcher", "ray")
    monkeypatch.setattr(launch, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="ray is not installed"):
        launcher(*on_ray)


@pytest.mark.parametrize(("device", "n", "expected"), [("cpu", 3, None), ("cuda", 3, 3), ("cuda", 0, 1), ("cuda:1", 3, 1)])
def test_a_device_stands_for_all_gpus_or_one(device: str, n: int, expected: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n)
    assert count_gpus(device) == expected


def test_a_device_that_torch_cannot_use_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "empty", lambda *size, device: torch.zeros(*size, device="cpu" if device == "cuda:0" else "gone"))
    check_device("cpu")
    check_device("cuda:0")
    with pytest.raises(ValueError, match="--device cuda:7: torch cannot use it here"):
        check_device("cuda:7")


@pytest.mark.parametrize(
    ("platform", "library", "options"),
    [("linux", "glibc", [(-1, 2**29), (-3, 2**30)]), ("linux", "musl", []), ("darwin", "glibc", [])],
)
def test_only_glibc_is_told_to_keep_what_a_step_frees(
    platform: str, library: str, options: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The numbers of the options are those of its malloc.h."""
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(sys, "platform", platform)
    functions = {"mallopt": lambda *option: told.append(option)} if library == "glibc" else {}
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(**functions))
    keep_freed_memory()
    assert told == options


def test_no_product_of_matrices_is_rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    keep_products_whole()
    assert not torch.backends.cudnn.allow_tf32
