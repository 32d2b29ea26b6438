"""Kills at random points, tens of them: whatever is killed, the next run goes on and ends with the undisturbed numbers.

`make soak` runs this and the corpus of bad files, and prints the table that README shows.
"""

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from conftest import small_task
from faults import LEARNERS, TinyRun, processes, processes_of_group, undisturbed_results, wait_for

from src.paths import OUTPUTS

pytestmark = [pytest.mark.slow, pytest.mark.soak]
TABLE = OUTPUTS / "soak.md"
MIN_KILLS = 30
HEAD = "| killed | where | kills | went on to the same numbers |\n|---|---|---|---|\n"
kills: Counter = Counter()
same: Counter = Counter()  # of them, those whose run was seen to end with the undisturbed numbers


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    return undisturbed_results(tmp_path_factory.mktemp("undisturbed"))


@pytest.fixture(scope="module", autouse=True)
def table() -> Iterator[None]:
    kills.clear()
    same.clear()
    yield
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text(HEAD + "".join(f"| {' | '.join(key)} | {n} | {same[key]} |\n" for key, n in kills.items()))


@pytest.mark.parametrize("learner", LEARNERS)
def test_killed_ahead_of_any_change_of_a_file(tmp_path: Path, undisturbed: dict, learner: str) -> None:
    """From an empty folder to oof.csv, killed again and again at random within the first half of what a whole run changes."""
    key = (f"{learner}, one process", "ahead of the n-th change of a file")
    whole = TinyRun(small_task(tmp_path), learner, tmp_path / "whole").train()
    n_changes = int(whole.stdout.split()[-1])
    for seed in range(3):
        folder = tmp_path / str(seed)
        folder.mkdir()
        run, rng = TinyRun(small_task(folder), learner, folder / "outputs"), np.random.default_rng(seed)
        while (ended := run.train(kill_at=int(rng.integers(1, n_changes // 2)))).returncode == -signal.SIGKILL:
            kills[key] += 1
        assert ended.returncode == 0, ended.stdout
        assert run.results() == undisturbed[learner]
        assert not list(run.run.glob("fold_*/**/.*-*")), "a killed writer's file was left"
    same[key] = kills[key]


def test_killed_while_a_submission_is_written(tmp_path: Path) -> None:
    run = TinyRun(small_task(tmp_path), "lightgbm", tmp_path / "outputs")
    assert run.train().returncode == 0
    file = run.outputs / "small" / "submission.csv"
    assert run.submit().returncode == 0
    whole, key = file.read_bytes(), ("submit.py", "ahead of the n-th change of a file")
    for old in (None, b"an older submission"):
        for kill_at in range(1, 100):
            file.unlink(missing_ok=True)
            if old is not None:
                file.write_bytes(old)
            ended = run.submit(kill_at=kill_at)
            if ended.returncode == 0:
                break
            assert ended.returncode == -signal.SIGKILL, ended.stdout
            kills[key] += 1
            assert (file.read_bytes() if file.exists() else None) in (old, whole)
        assert file.read_bytes() == whole
    same[key] = kills[key]


@pytest.mark.parametrize("victim", ["all processes", "the main process", "a worker"])
def test_killed_at_any_time_with_folds_side_by_side(tmp_path: Path, victim: str) -> None:
    task, rng = small_task(tmp_path), np.random.default_rng(7)
    key = (f"network, folds side by side: {victim}", "at random times of training")
    undisturbed, run = (TinyRun(task, "network", tmp_path / name, n_epochs=60) for name in ("undisturbed", "outputs"))
    assert undisturbed.train().returncode == 0
    while not list(run.run.glob("fold_*/metrics.json")):
        process = run.start("--jobs", "2")
        kill_in_training(process, run, rng.uniform(0, 2), victim)
        said, _ = process.communicate(timeout=600)
        kills[key] += 1
        wait_for(partial(no_process_of_group, process.pid))
        if victim == "a worker":
            assert process.returncode == 0, said
    assert run.train("--jobs", "2").returncode == 0
    assert run.results() == undisturbed.results()
    same[key] = kills[key]


def kill_in_training(process: subprocess.Popen, run: TinyRun, seconds: float, victim: str) -> None:
    """Kills some seconds behind the first epoch that this process has done."""
    before = epochs_done(run)
    wait_for(lambda: epochs_done(run) > before or process.poll() is not None)
    time.sleep(seconds)
    if victim == "all processes":
        os.killpg(process.pid, signal.SIGKILL)
    elif victim == "the main process":
        process.kill()
    else:
        workers = set(processes("popen_loky_posix")) & set(processes_of_group(process.pid))
        os.kill(max(workers), signal.SIGKILL)


def epochs_done(run: TinyRun) -> int:
    return sum(path.read_text().count("\n") for path in run.run.glob("fold_*/**/history.csv"))


def no_process_of_group(group: int) -> bool:
    return not processes_of_group(group)


def test_there_were_enough_kills() -> None:
    assert sum(same.values()) >= MIN_KILLS
