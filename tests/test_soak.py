"""Dozens of kills at random points: whatever is killed, the next run continues and ends with the undisturbed numbers.

`make soak` runs this and the corpus of bad files, and prints the table that docs/reliability.md shows.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from conftest import small_task
from faults import TinyRun, processes_of_group, wait_for

from src.paths import OUTPUTS, ROOT

TABLE = OUTPUTS / "soak.md"
HEAD = "| killed | where | kills | went on to the same numbers |\n|---|---|---|---|\n"
ANY_CHANGE, ANY_TIME = "before the n-th change of a file, n at random", "at random times of training"
ONE_PROCESS = {"lightgbm": "LightGBM, one process", "network": "network with pre-training, one process"}
KILLS_OF_RUNS = (1, 1, 2, 3, 4, 5)  # of one run each: a single kill can fall anywhere, several interrupt a resumed run again
SUBMISSION = "`submit.py`"
SIDE_BY_SIDE = {"all processes": 6, "the main process": 3, "a worker": 1}
KILLS = {
    **{(name, ANY_CHANGE): sum(KILLS_OF_RUNS) for name in ONE_PROCESS.values()},
    (SUBMISSION, "before each change of a file"): 24,
    **{(f"network, folds side by side: {victim}", ANY_TIME): n for victim, n in SIDE_BY_SIDE.items()},
}


def soak(test: Callable) -> Callable:
    return pytest.mark.slow(pytest.mark.soak(test))


Survived = dict[tuple[str, str], int]


def rows(kills: Survived) -> str:
    return "".join(f"| {' | '.join(key)} | {n} | {n} |\n" for key, n in kills.items())


def survived(killed: str, n: int) -> Survived:
    """Return the row of the table, if there were exactly as many kills as planned."""
    (key,) = (key for key in KILLS if key[0] == killed)
    assert n == KILLS[key]
    return {key: n}


def test_the_documented_table_is_what_the_soak_does() -> None:
    assert HEAD + rows(KILLS) in (ROOT / "docs/reliability.md").read_text()


@pytest.fixture(scope="module")
def table() -> Iterator[Survived]:
    """Rows of survived kills, written to TABLE after the last test."""
    found: Survived = {}
    yield found
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text(HEAD + rows(found))


@soak
@pytest.mark.parametrize("learner", ONE_PROCESS)
def test_a_run_killed_before_any_change_of_a_file_ends_with_the_undisturbed_numbers(
    tmp_path: Path, undisturbed: Callable[[str], dict[str, str]], table: Survived, learner: str
) -> None:
    """From an empty folder to oof.csv. If each kill falls in the first 1/n of a whole run's changes, n kills leave work to do."""
    n_changes, done = TinyRun(small_task(tmp_path), learner, tmp_path / "whole").train().n_changes, 0
    for seed, n_kills in enumerate(KILLS_OF_RUNS):
        folder, rng = tmp_path / str(seed), np.random.default_rng(seed)
        folder.mkdir()
        run = TinyRun(small_task(folder), learner, folder / "outputs")
        for kill_at in rng.integers(1, n_changes // n_kills, n_kills):
            ended = run.train(kill_at=kill_at)
            assert ended.returncode == -signal.SIGKILL, ended.stdout
            done += 1
        ended = run.train()
        assert ended.returncode == 0, ended.stdout
        assert run.results() == undisturbed(learner)
        assert not list(run.run.glob("fold_*/**/.*-*")), "a killed writer's file was left"
    table |= survived(ONE_PROCESS[learner], done)


@soak
def test_a_submission_killed_while_it_is_written_is_whole_or_as_before(tmp_path: Path, table: Survived) -> None:
    run, done = TinyRun(small_task(tmp_path), "lightgbm", tmp_path / "outputs"), 0
    assert run.train().returncode == 0
    file = run.outputs / "small" / "submission.csv"
    assert run.submit().returncode == 0
    whole = file.read_bytes()
    for old in (None, b"an older submission"):
        for kill_at in range(1, 100):
            file.unlink(missing_ok=True)
            if old is not None:
                file.write_bytes(old)
            ended = run.submit(kill_at=kill_at)
            if ended.returncode == 0:
                break
            assert ended.returncode == -signal.SIGKILL, ended.stdout
            done += 1
            assert (file.read_bytes() if file.exists() else None) in (old, whole)
        assert file.read_bytes() == whole
    table |= survived(SUBMISSION, done)


def long_run(folder: Path) -> TinyRun:
    """Return a run that trains for many seconds."""
    return TinyRun(small_task(folder), "network", folder / "outputs", n_epochs=300)


@pytest.fixture(scope="module")
def undisturbed_long_run(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    run = long_run(tmp_path_factory.mktemp("long"))
    assert run.train().returncode == 0
    return run


@soak
@pytest.mark.parametrize("victim", SIDE_BY_SIDE)
def test_folds_side_by_side_killed_at_any_time_end_with_the_undisturbed_numbers(
    tmp_path: Path, undisturbed_long_run: TinyRun, table: Survived, victim: str
) -> None:
    run, rng, done = long_run(tmp_path), np.random.default_rng(7), 0
    for seconds in rng.uniform(0, 0.5, SIDE_BY_SIDE[victim]):
        process = run.start("--jobs", "2")
        kill_in_training(process, run, seconds, victim)
        done += 1
        said, _ = process.communicate(timeout=600)
        wait_for(partial(no_process_of_group, process.pid))
        if victim == "a worker":
            assert process.returncode == 0, said
    assert run.complete("--jobs", "2").returncode == 0
    assert run.results() == undisturbed_long_run.results()
    table |= survived(f"network, folds side by side: {victim}", done)


def kill_in_training(process: subprocess.Popen, run: TinyRun, seconds: float, victim: str) -> None:
    """Kill the victim some seconds after the first epoch of this process, while folds are still training."""
    before = epochs_done(run)
    wait_for(lambda: epochs_done(run) > before or process.poll() is not None)
    time.sleep(seconds)
    assert process.poll() is None and not list(run.run.glob("metrics.json")), "there was nothing left to kill"
    if victim == "all processes":
        os.killpg(process.pid, signal.SIGKILL)
    elif victim == "the main process":
        process.kill()
    else:
        os.kill(max(processes_of_group(process.pid, "popen_loky_posix")), signal.SIGKILL)


def epochs_done(run: TinyRun) -> int:
    return sum(path.read_text().count("\n") for path in run.run.glob("fold_*/**/history.csv"))


def no_process_of_group(group: int) -> bool:
    return not processes_of_group(group)
