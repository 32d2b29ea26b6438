"""Names of devices: GPUs are taken in turn, and as many folds run at once as there are."""

import pytest
import torch
from joblib import cpu_count

from src.learners.device import count_gpus, device_of
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
