"""A tiny experiment in a folder of its own, run as a command: what the tests of faults share."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from conftest import small_task

from src.paths import ROOT

LEARNERS = {
    "lightgbm": 'GbdtConfig(features=("fractions",), n_trees=300, min_child_samples=2)',
    "network": """GnnConfig(
        training=TrainingConfig(n_epochs=3, batch_size=8),
        pretraining=PretrainingConfig(n_epochs=2, force_weight=0.1),
        graph=GraphConfig(r_max=3.5),
        network=NequipConfig(n_channels=4, n_layers=2, radial_hidden=(8,), head_hidden=(4,)),
    )""",
}
RESULTS = ("oof.csv", "test.csv")


class TinyRun:
    """An experiment on a task, by the real command. folder: exp001 below; outputs: where its runs go."""

    def __init__(self, task: Path, learner: str, outputs: Path, n_epochs: int = 3) -> None:
        self.task, self.outputs = task, outputs
        self.folder = task.parent / learner / "exp001"
        self.folder.mkdir(parents=True, exist_ok=True)
        config = f"ExperimentConfig(learner={LEARNERS[learner]}, folds=FoldConfig(n_folds=3, n_bins=2))".replace(
            "n_epochs=3", f"n_epochs={n_epochs}"
        )
        (self.folder / "config.py").write_text(f"from src.config import *\n\nCONFIG = {config}\n")

    @property
    def run(self) -> Path:
        return self.outputs / self.task.name / "exp001"

    @property
    def where(self) -> list[str]:
        return ["--data", str(self.task), "--outputs", str(self.outputs)]

    def results(self) -> dict[str, str]:
        """The texts of oof.csv and test.csv."""
        return {name: (self.run / name).read_text() for name in RESULTS}

    def train(self, *arguments: str, kill_at: int = 0, **options: object) -> subprocess.CompletedProcess:
        """Trains to the end, or to the kill_at-th change of a file."""
        return subprocess.run(self.command("train", str(self.folder), *arguments, kill_at=kill_at), **CAPTURED, **options)

    def submit(self, *arguments: str, kill_at: int = 0) -> subprocess.CompletedProcess:
        return subprocess.run(self.command("submit", "--exps", "001", *arguments, kill_at=kill_at), **CAPTURED)

    def start(self, *arguments: str) -> subprocess.Popen:
        """A training in a process group of its own, to be killed from outside, with Ctrl-C as a terminal has it."""
        command = self.command("train", str(self.folder), *arguments)
        ignored = signal.signal(signal.SIGINT, signal.default_int_handler)  # where it was ignored, children would ignore it too
        try:
            return subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True, env=ENV
            )
        finally:
            signal.signal(signal.SIGINT, ignored)

    def command(self, *arguments: str, kill_at: int = 0) -> list[str]:
        jobs = [] if "--jobs" in arguments or arguments[0] == "submit" else ["--jobs", "1"]
        return [sys.executable, str(ROOT / "tests/killed.py"), str(kill_at), str(self.outputs), *arguments, *self.where, *jobs]


ENV = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
CAPTURED = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "env": ENV}


def undisturbed_results(folder: Path) -> dict[str, dict[str, str]]:
    """For each learner, what runs that nothing stops write."""
    task, found = small_task(folder), {}
    for learner in LEARNERS:
        tiny = TinyRun(task, learner, folder / learner)
        ended = tiny.train()
        assert ended.returncode == 0, ended.stdout
        found[learner] = tiny.results()
    return found


def wait_for(condition: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def processes_of_group(group: int) -> list[int]:
    """Those that run, zombies aside."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def processes(name: str) -> list[int]:
    """Those whose command line holds a name."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if name in path.read_bytes().replace(b"\0", b" ").decode(errors="replace"):
                found.append(int(path.parent.name))
    return found


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
