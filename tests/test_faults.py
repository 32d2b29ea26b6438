"""Nothing is lost: whatever ends a run, the next one continues and ends with the numbers of an undisturbed run."""

import os
import signal
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from subprocess import TimeoutExpired
from types import SimpleNamespace
from unittest.mock import MagicMock, Mock

import pytest
import torch
from faults import LEARNERS, TinyRun, free_port, processes_of_group, wait_for
from joblib import Parallel, cpu_count
from tqdm import tqdm

from src.command import one_message
from src.config import TrainingConfig
from src.learners.learner import DivergedError
from src.learners.training import CHECKPOINT, Training
from src.runs import launch
from src.runs.launch import MAX_LOSSES, Launcher, run_all
from src.storage.cache import cached
from src.storage.files import STALE_SECONDS, locked, write_atomic

Undisturbed = Callable[[str], dict[str, str]]


@pytest.fixture
def tiny(task_folder: Path, outputs: Path) -> TinyRun:
    return TinyRun(task_folder, "network", outputs)


@pytest.mark.parametrize("learner", LEARNERS)
def test_a_run_killed_twice_ends_with_the_numbers_of_an_undisturbed_one(
    task_folder: Path, outputs: Path, undisturbed: Undisturbed, learner: str
) -> None:
    killed = TinyRun(task_folder, learner, outputs)
    whole = undisturbed(learner)
    for kill_at in (9, 17):
        assert killed.train(kill_at=kill_at).returncode == -signal.SIGKILL
    assert killed.train().returncode == 0
    assert killed.results() == whole


def test_a_fold_is_trained_by_one_process_at_a_time(tiny: TinyRun) -> None:
    with locked(tiny.run / "fold_1" / ".lock", "held"):
        second = tiny.train()
    assert second.returncode == 1 and "Traceback" not in second.stdout
    assert (
        f"fold 1 is being trained already: wait for it, or name other folds with --folds (process {os.getpid()}" in second.stdout
    )
    assert tiny.train("--folds", "1").returncode == 0  # the lock ended with its holder


def test_a_full_disk_is_named_and_nothing_is_lost(tiny: TinyRun, undisturbed: Undisturbed) -> None:
    assert tiny.train("--folds", "0").returncode == 0
    full = tiny.train(max_bytes=20_000)
    assert full.returncode == 1 and "Traceback" not in full.stdout
    assert "checkpoint.pt cannot be written" in full.stdout and "the same command: it continues" in full.stdout
    assert tiny.train().returncode == 0
    assert tiny.results() == undisturbed("network")


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="no folder here that refuses root too")
def test_outputs_that_cannot_be_written_are_named(task_folder: Path) -> None:
    refused = TinyRun(task_folder, "network", Path("/sys/outputs")).train()
    assert refused.returncode == 1 and "Traceback" not in refused.stdout
    assert "/sys/outputs" in refused.stdout and "Change its permissions, or name another folder with --outputs" in refused.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_an_interrupted_run_says_so_and_leaves_no_process(task_folder: Path, outputs: Path, number: signal.Signals) -> None:
    trees = TinyRun(task_folder, "lightgbm", outputs)
    config = trees.folder / "config.py"
    config.write_text(config.read_text().replace("n_trees=300", "n_trees=1_000_000"))  # minutes of work
    run = trees.start("--jobs", "2")
    wait_for(lambda: list(trees.run.glob("fold_*/.lock")) or run.poll() is not None)
    run.send_signal(number)
    said, _ = run.communicate(timeout=60)
    assert run.returncode == 1 and "interrupted. Finished work stays" in said
    wait_for(lambda: not processes_of_group(run.pid))


@pytest.mark.slow
def test_workers_end_with_their_parent(task_folder: Path, outputs: Path) -> None:
    tiny = TinyRun(task_folder, "network", outputs, n_epochs=5000)  # minutes of work
    run = tiny.start("--jobs", "2")
    wait_for(lambda: list(tiny.run.glob("fold_*/pretraining/history.csv")) or run.poll() is not None)
    run.kill()
    run.communicate()
    wait_for(lambda: not processes_of_group(run.pid), seconds=10)


def test_a_fold_whose_workers_die_after_a_step_each_is_run_again_and_a_bar_counts_the_steps(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    history, bars, asked = tmp_path / "history.csv", [], []
    history.write_text("step\nbefore\n")

    def run(k: int) -> None:
        if k == 1:
            with history.open("a") as file:
                file.write("step\n")
            if len(history.read_text().splitlines()) < 7:
                os.kill(os.getpid(), signal.SIGKILL)
        (tmp_path / f"{k}").write_text(os.environ["MKL_NUM_THREADS"])

    monkeypatch.setattr(launch, "tqdm", lambda **options: bars.append(tqdm(**options)) or bars[-1])
    lost = partial(warnings.warn, "A worker stopped while some jobs were given to the executor")
    monkeypatch.setattr(launch, "Parallel", lambda **options: asked.append(options) or lost() or Parallel(**options))
    with warnings.catch_warnings(action="error"):
        run_all("x", run, [0, 1, 2], lambda k: (tmp_path / f"{k}").exists(), {history: 6}, Launcher(n_jobs=2))
    assert [options["pre_dispatch"] for options in asked] == [2, 1, 1, 1, 1]
    assert [(tmp_path / f"{k}").read_text() for k in range(3)] == ["1"] * 3
    assert caplog.text.count("a worker was lost") == 4 > MAX_LOSSES
    assert [(bar.desc, bar.initial, bar.n, bar.total) for bar in bars] == [("x", 1, 6, 6)]


class TaskError(RuntimeError):
    """What Ray says of a task that failed."""

    cause = ValueError("row 7")


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What we use of Ray, in this process: a task is run when its result is asked for."""
    own = SimpleNamespace(most=0, ObjectRef=object, exceptions=SimpleNamespace(RayError=RuntimeError, RayTaskError=TaskError))
    own.put, own.get = lambda run: run, lambda task: task()
    own.init = lambda address, **_: vars(own).update(address=address)
    own.shutdown = lambda: vars(own).update(address=f"{own.address} was left")
    own.remote = lambda **asked: vars(own).update(asked=asked) or (lambda call: SimpleNamespace(remote=partial(partial, call)))
    own.wait = lambda tasks: vars(own).update(most=max(own.most, len(tasks))) or (tasks[-1:], tasks[:-1])
    monkeypatch.setitem(sys.modules, "ray", own)
    return own


@pytest.mark.parametrize(("n_jobs", "most", "gpu"), [(2, 2, True), (None, 4, False)])
def test_a_cluster_has_as_many_tasks_as_are_asked_for_each_with_a_gpu_and_three_more_tries(
    n_jobs: int | None, most: int, gpu: bool, ray: SimpleNamespace
) -> None:
    said = launch._drive(lambda k: "no" if k == 5 else None, [0, 5, 1, 2], Launcher("ray", n_jobs, "auto", gpu))
    assert (said, ray.most, ray.asked) == ([None, "no", None, None], most, {"max_retries": 3, "num_gpus": int(gpu)})
    assert ray.address == "auto was left"


def test_an_error_on_a_cluster_is_that_of_the_fold_or_of_the_cluster(ray: SimpleNamespace) -> None:
    for error, kind, words in ((TaskError(), ValueError, "^row 7$"), (RuntimeError("gone"), BrokenProcessPool, "gone")):
        with pytest.raises(kind, match=words):
            launch._drive(Mock(side_effect=error), [0], Launcher("ray", 1, "auto"))
        assert ray.address == "auto was left"
    with pytest.raises(ValueError, match="no Ray cluster answers there"):
        launch._drive(Mock(), [0], Launcher("ray", 1, f"127.0.0.1:{free_port()}"))


def test_before_the_folds_as_many_processes_work_as_there_are_folds_at_once_or_cores() -> None:
    launchers = Launcher(n_jobs=3), Launcher(n_jobs=3, n_gpus=2), Launcher(), Launcher("ray", 3), Launcher(n_gpus=2)
    assert [launcher.n_local for launcher in launchers] == [3, 3, *[cpu_count()] * 3]
    assert [launcher.at_once for launcher in launchers] == [3, 3, cpu_count(), 3, 2]


def test_after_a_loss_half_as_many_folds_run_at_once_and_four_without_a_step_between_end_the_run_with_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history, bars, seen = tmp_path / "history.csv", list[tqdm](), list[int]()
    history.touch()

    def die(run: Callable[[int], None], folds: list[int], at_once: int) -> None:
        seen.append(at_once)
        for n in (1, 3) if len(seen) == 4 else ():  # steps, which the bar follows
            history.write_text("step\n" * (n + 1))
            wait_for(lambda n=n: bars[0].n == n, seconds=20)
        raise BrokenProcessPool

    monkeypatch.setattr(launch, "tqdm", lambda **options: bars.append(tqdm(**options)) or bars[-1])
    monkeypatch.setattr(launch, "_in_workers", die)
    with pytest.raises(ValueError, match=r"^4 workers in a row died before a step was done .*--jobs 1"):
        run_all("x", print, [*range(9)], lambda k: False, {history: 6}, Launcher(n_jobs=7))
    assert seen == [7, 3, 1, 1, 1, 1, 1] and bars[0].initial == 0


def test_ray_is_left_once_it_is_dead_or_two_looks_find_all_folds_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    driver, looks = MagicMock(), iter([True, False, True, True])
    driver.__enter__.return_value = driver
    driver.communicate.side_effect = TimeoutExpired("ray", 1)
    monkeypatch.setattr(launch, "Popen", lambda *arguments, **options: driver)
    found = launch._on_cluster(print, [0, 1], lambda k: next(looks), Launcher("ray", 1, "nowhere"))
    assert found == [None, None] and driver.communicate.call_count == 3 and driver.kill.called
    driver.communicate.side_effect = [(b"", None)]
    with pytest.raises(BrokenProcessPool, match=r"^Ray's driver ended"):
        launch._on_cluster(print, [0, 1], lambda k: False, Launcher("ray", 1, "nowhere"))


def test_an_error_in_rays_driver_is_raised_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(run: Callable[[int], None], folds: list[int], launcher: Launcher) -> None:
        print("what Ray says is no answer", flush=True)
        raise ValueError("row 7")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(launch, "_drive", fail)
    with pytest.raises(ValueError, match="row 7"):
        run_all("x", print, [0], lambda k: False, {}, Launcher("ray", 1, "nowhere"))


@pytest.mark.parametrize("launcher", [Launcher(n_jobs=1, n_gpus=3), Launcher(n_gpus=1), Launcher(n_jobs=2)])
def test_a_fold_that_diverges_stops_alone(tmp_path: Path, launcher: Launcher, capsys: pytest.CaptureFixture) -> None:
    def run(k: int) -> str | None:
        if k == 1:
            return "the loss is nan"
        (tmp_path / f"{k}").write_text(str(os.getpid()))
        return None

    with pytest.raises(FloatingPointError, match=r"^fold 1: the loss is nan$"):
        run_all("x", run, [0, 1, 2], lambda k: (tmp_path / f"{k}").exists(), {}, launcher)
    assert [(tmp_path / f"{k}").read_text() == str(os.getpid()) for k in (0, 2)] == [launcher.n_jobs != 2] * 2
    assert "step" not in capsys.readouterr().err  # without histories there is no bar


@pytest.mark.parametrize("explodes", ["loss", "gradient"])
def test_a_diverging_training_keeps_the_checkpoint_of_the_previous_epoch(tmp_path: Path, explodes: str) -> None:
    epoch = 0

    def loss(network: torch.nn.Module, batch: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        nonlocal epoch
        epoch += 1
        value = (network(batch).squeeze(1) - target).abs().mean()
        if epoch == 3:  # one batch an epoch
            return value * 1e6 if explodes == "loss" else value + (value - value.detach()).sqrt()  # the root has no slope at 0
        return value

    c = TrainingConfig(n_epochs=5, batch_size=8)
    run = Training(torch.nn.Linear(1, 1), c, 0, 8, loss)
    with pytest.raises(DivergedError, match=r"in epoch 3, in the batch of .*row 7"):
        run.run(lambda rows: torch.ones(len(rows), 1), torch.full((8,), 2.0), tmp_path, lambda model: 0.0)
    state = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    assert len(state["history"]) == 2 and all(torch.isfinite(p).all() for p in state["model"].values())


def test_a_diverged_fold_names_its_crystals(tiny: TinyRun) -> None:
    config = tiny.folder / "config.py"
    config.write_text(config.read_text().replace("batch_size=8", "batch_size=8, lr=1e30"))
    said = tiny.train("--folds", "2")
    assert said.returncode == 1 and "Traceback" not in said.stdout
    assert "fold 2: the " in said.stdout and "in the batch of x-" in said.stdout and "try a smaller lr" in said.stdout


def test_a_failed_write_leaves_the_old_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def fail(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=r"No space left on device: .*file"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["file"]


SAYS_NOTHING = (OSError("27000 requested and 7664 written"), OSError(28, "No space left on device"))  # NumPy's, a stream's


@pytest.mark.parametrize("error", SAYS_NOTHING)
def test_a_full_disk_below_a_cache_is_one_message_with_the_folder_and_the_way_out(tmp_path: Path, error: OSError) -> None:
    def build() -> None:
        raise error

    message = rf"^x: {tmp_path}/cache cannot be written: No space left on device. Free some space for {tmp_path} and run the same"
    with pytest.raises(SystemExit, match=message), one_message("x"):
        cached(tmp_path / "cache", Path.read_text, build)


def test_files_left_by_killed_writers_are_removed(tmp_path: Path) -> None:
    left, fresh = tmp_path / ".file-abc", tmp_path / ".file-def"
    for path in (left, fresh):
        path.touch()
    os.utime(left, (0, time.time() - 2 * STALE_SECONDS))
    write_atomic(tmp_path / "file", b"new")
    assert not left.exists() and fresh.exists()  # the fresh one may be another process's
    (tmp_path / ".cache-1").mkdir()
    assert cached(tmp_path / "cache", Path.read_text, lambda: (tmp_path / "cache").write_text("built")) == "built"
    assert not (tmp_path / ".cache-1").exists()
