"""Laws of a training on several processes, and of folds on several GPUs. Processes talk through gloo, on the CPU."""

import logging
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import CRYSTALS, small_table
from joblib import cpu_count
from safetensors.torch import load_file

from src.config import (
    ExperimentConfig,
    FoldConfig,
    GbdtConfig,
    GnnConfig,
    GraphConfig,
    NequipConfig,
    PretrainingConfig,
    TrainingConfig,
)
from src.data.export import write_task
from src.data.table import Crystals
from src.learners import distributed
from src.learners.gnn import GnnLearner, GraphInputs
from src.learners.make import make_learner
from src.learners.training import Training
from src.paths import ROOT
from src.runs.launch import Launcher
from src.runs.train import check_processes
from src.runs.train import main as train_main

TRAIN = f"""\
import sys
from pathlib import Path

sys.path.insert(0, {str(ROOT)!r})
from src.config import *

CONFIG = {{config}}
if __name__ == "__main__":
    from src.runs.train import main

    main(Path(__file__).resolve().parent)
"""
# a fold trains on 25 crystals: three batches of 8, and one of a single crystal, which leaves a process without any
CONFIG = ExperimentConfig(
    learner=GnnConfig(
        training=TrainingConfig(n_epochs=3, batch_size=8, lr=5e-3, clip_norm=1.0),
        graph=GraphConfig(r_max=3.5),
        network=NequipConfig(n_channels=4, n_layers=2, radial_hidden=(8,), head_hidden=(4,)),
        pretraining=PretrainingConfig(n_epochs=2, force_weight=1.0, virial_weight=0.1),
    ),
    folds=FoldConfig(scheme="shuffled", n_folds=6),
)
MEMBERS = replace(CONFIG.learner, pretraining=None, members=2)
Runs = dict[str, Path]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Folds 0 and 1 by one process, and by two that torchrun starts; those find fold 1 interrupted in its second epoch."""
    folder = tmp_path_factory.mktemp("parallel")
    rows, experiment = small_table(36), folder / "exp001"
    write_task(folder / "small", rows[:30], rows[30:])
    experiment.mkdir()
    for file in ("config.py", "train.py"):
        (experiment / file).write_text(TRAIN.format(config=CONFIG))
    where = ["--data", str(folder / "small"), "--jobs", "1"]
    interrupt_in_second_epoch(lambda: train_main(experiment, [*where, "--outputs", str(folder / "two"), "--folds", "1"]))
    assert list((folder / "two").rglob("fold_1/checkpoint.pt"))
    train_main(experiment, [*where, "--outputs", str(folder / "one"), "--folds", "0", "1"])
    logging.getLogger().handlers.clear()
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, str(experiment / "train.py"), *where, "--outputs", str(folder / "two"), "--folds", "0", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {name: folder / name / "small" / "exp001" for name in ("one", "two")}


def interrupt_in_second_epoch(run: Callable[[], None]) -> None:
    train_epoch = Training.train_epoch

    def interrupted(self: Training, epoch: int, *args: object) -> float:
        if epoch == 1 and self.config == CONFIG.learner.training:
            raise KeyboardInterrupt
        return train_epoch(self, epoch, *args)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit, match="interrupted"):
        patch.setattr(Training, "train_epoch", interrupted)
        run()


@pytest.mark.parametrize("k", [0, 1], ids=["from the start", "resumed"])
def test_two_processes_train_the_network_of_one(runs: Runs, k: int) -> None:
    """Pre-training with forces, clipping, a schedule, averages, and a batch of one crystal; then the predictions."""
    one, two = (run / f"fold_{k}" for run in runs.values())
    weights = [load_file(fold / "model.safetensors") for fold in (one, two)]
    found = [max(float((weights[0][name] - weights[1][name]).abs().max()) for name in weights[0])]
    for file in ("history.csv", "pretraining/history.csv", "valid.csv", "test.csv"):
        tables = [pd.read_csv(fold / file).select_dtypes("number").to_numpy() for fold in (one, two)]
        found.append(float(np.abs(tables[0] - tables[1]).max()))
    print("largest differences:", found)
    assert max(found) < 1e-5


def test_the_main_process_alone_writes(runs: Runs) -> None:
    log = (runs["two"] / "log.txt").read_text()
    assert log.count("folds [] finished, [0, 1] to do") == 1
    assert sorted(p.name for p in runs["two"].rglob("*")) == sorted(p.name for p in runs["one"].rglob("*"))


@pytest.fixture
def inputs(tmp_path: Path) -> GraphInputs:
    return make_learner(CONFIG.learner).prepare_inputs(Crystals.from_list(list(CRYSTALS.values())), "test", tmp_path / "cache", 1)


def fit(
    inputs: GraphInputs, target: np.ndarray, folder: Path, config: GnnConfig = CONFIG.learner
) -> tuple[dict[str, np.ndarray], str]:
    """The weights of this process, and what stopped it."""
    learner = GnnLearner(config, seed=3)
    try:
        learner.fit(inputs, target, folder)
    except FloatingPointError as error:
        return {}, str(error)
    return {name: x.numpy() for name, x in learner.model.state_dict().items()}, ""


def as_process(rank: int, n: int, port: int, function: Callable) -> object:
    os.environ.update(
        TORCHELASTIC_RUN_ID="test", RANK=f"{rank}", LOCAL_RANK=f"{rank}", WORLD_SIZE=f"{n}", LOCAL_WORLD_SIZE=f"{n}",
        MASTER_ADDR="localhost", MASTER_PORT=f"{port}",
    )  # fmt: skip
    with distributed.joined("cpu"):
        return function()


def together(n: int, function: Callable) -> list:
    """What n processes return that run a function together, as torchrun would start them."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    with ProcessPoolExecutor(n, mp_context=get_context("fork")) as pool:
        return list(pool.map(partial(as_process, n=n, port=port, function=function), range(n)))


linux = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked")


@linux
def test_all_processes_end_with_the_same_weights_to_the_bit(inputs: GraphInputs, tmp_path: Path) -> None:
    target = np.random.default_rng(0).normal(size=len(inputs))
    (a, _), (b, _), (c, _) = together(3, partial(fit, inputs, target, tmp_path))
    assert a
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])
        np.testing.assert_array_equal(a[name], c[name])


@linux
def test_two_processes_train_the_members_of_one(inputs: GraphInputs, tmp_path: Path) -> None:
    target = np.random.default_rng(0).normal(size=len(inputs))
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    (a, _), (b, _) = together(2, partial(fit, inputs, target, tmp_path / "two", MEMBERS))
    one, _ = fit(inputs, target, tmp_path / "one", MEMBERS)
    assert one
    for name in one:
        np.testing.assert_array_equal(a[name], b[name])
        np.testing.assert_allclose(a[name], one[name], rtol=0, atol=1e-5)


@linux
def test_a_loss_that_is_no_number_in_one_process_stops_all_with_the_rows(inputs: GraphInputs, tmp_path: Path) -> None:
    target = np.zeros(len(inputs))
    target[2] = np.nan
    messages = [message for _, message in together(2, partial(fit, inputs, target, tmp_path))]
    assert messages[0] == messages[1]
    assert "in the batch of row " in messages[0] and "smaller lr" in messages[0]
    shutil.rmtree(tmp_path)


def as_rank(monkeypatch: pytest.MonkeyPatch, rank: int, n: int) -> None:
    for name, value in {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": n, "LOCAL_WORLD_SIZE": n}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "test")


@pytest.mark.parametrize("n_rows", [1, 2, 7, 32])
def test_shares_are_the_batch_and_weigh_what_they_hold(monkeypatch: pytest.MonkeyPatch, n_rows: int) -> None:
    rows, values, mean, seen = np.arange(n_rows) + 5, np.random.default_rng(0).normal(size=n_rows + 5), 0.0, []
    for rank in range(3):
        as_rank(monkeypatch, rank, 3)
        own, weight = distributed.share(rows)
        assert len(own) >= 1
        mean += weight * values[own].mean()
        seen += list(own) if weight else []
    assert sorted(seen) == list(rows)
    assert mean == pytest.approx(values[rows].mean())


def test_without_torchrun_a_process_is_alone_whatever_its_cluster_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", "3")
    assert distributed.world_size() == 1 and distributed.is_main()


def test_folds_take_the_gpus_in_turn_and_a_named_one_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def devices(device: str, n: int) -> list[str]:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: n)
        return [distributed.device_of(device, k) for k in range(5)]

    assert devices("cuda", 3) == ["cuda:0", "cuda:1", "cuda:2", "cuda:0", "cuda:1"]
    assert set(devices("cuda:1", 3)) == {"cuda:1"}
    assert set(devices("cpu", 0) + devices("cpu", 3)) == {"cpu"}
    assert set(devices("cuda", 1)) == {"cuda"}


def test_each_process_that_trains_one_network_takes_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    as_rank(monkeypatch, 1, 2)
    assert {distributed.device_of("cuda", k) for k in range(5)} == {"cuda:1"}


def test_what_torchrun_cannot_spread_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    as_rank(monkeypatch, 1, 2)
    check_processes(CONFIG, Launcher("torchrun"))
    with pytest.raises(ValueError, match="start this one with python"):
        check_processes(ExperimentConfig(learner=GbdtConfig()), Launcher("torchrun"))
    with pytest.raises(ValueError, match="start this one with python"):
        check_processes(CONFIG, Launcher("ray", address="auto"))
    with pytest.raises(ValueError, match="--device cuda:1: torchrun takes --device cuda"), distributed.joined("cuda:1"):
        pass


@pytest.mark.parametrize(("device", "n"), [("cpu", None), ("cuda", 3), ("cuda:1", 1)])
def test_as_many_folds_run_at_once_as_there_are_gpus(device: str, n: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    n_gpus = distributed.count_gpus(device)
    assert n_gpus == n and Launcher(n_gpus=n_gpus).at_once == (n or cpu_count())
    assert Launcher(n_jobs=5, n_gpus=n_gpus).at_once == 5
