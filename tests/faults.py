"""A tiny experiment in a folder of its own and the processes that it starts, for tests of faults.

Those that are killed before their n-th change of a file are forked from a server that has imported torch and the rest once, which
saves seconds for each of them.
"""

import multiprocessing
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from src.paths import ROOT

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["src.runs.train", "src.learners.gnn", "src.learners.gbdt", "torch._dynamo"])
CHANGES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "tempfile.mkstemp", "tempfile.mkdtemp")
changes = 0  # made so far by this process


@dataclass(frozen=True)
class Ended:
    """The exit code of a process, -9 after SIGKILL, and what it printed."""

    returncode: int
    stdout: str

    @property
    def n_changes(self) -> int:
        """Number of changes to files, if the process was not killed."""
        return int(self.stdout.split()[-1])


def run_command(arguments: list[str], outputs: Path, printed: Path, kill_at: int = 0, max_bytes: int = 0) -> Ended:
    """Run `train EXPERIMENT_FOLDER ...` or `submit ...`; what it prints goes to the file `printed`.

    kill_at: the process is killed before its kill_at-th change below `outputs`; 0: never.
    max_bytes: no file can grow beyond this size, as on a full disk; 0: no limit.
    """
    process = SERVER.Process(target=_run, args=(arguments, str(outputs), str(printed), kill_at, max_bytes))
    process.start()
    process.join()
    assert process.exitcode is not None
    return Ended(process.exitcode, printed.read_text())


def _run(arguments: list[str], outputs: str, printed: str, kill_at: int, max_bytes: int) -> None:
    file = os.open(printed, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(file, stream)
    command, *rest = arguments
    if command == "train":
        from src.runs.train import main as train
    else:
        sys.path.insert(0, str(ROOT))
        from submit import main as submit
    _watch(kill_at, outputs)
    if max_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (max_bytes, max_bytes))
    train(Path(rest[0]), rest[1:]) if command == "train" else submit(rest)
    print(changes)


def _watch(n: int, folder: str) -> None:
    """Count changes to files below a folder, and kill this process before the n-th."""

    def hook(event: str, args: tuple) -> None:
        global changes
        writes = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        # a file opened by number comes from mkstemp: a process killed here leaves it empty
        if (event in CHANGES or writes) and (isinstance(args[0], int) or str(args[0]).startswith(folder)):
            changes += 1
            if changes == n:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


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
TRAIN = "from pathlib import Path\n\nfrom src.runs.train import main\n\nmain(Path(__file__).resolve().parent)\n"
ENV = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


class TinyRun:
    """An experiment on a task; `folder` is its exp001, its runs go to `outputs`."""

    def __init__(self, task: Path, learner: str, outputs: Path, n_epochs: int = 3) -> None:
        self.task, self.outputs = task, outputs
        self.folder = task.parent / learner / "exp001"
        self.folder.mkdir(parents=True, exist_ok=True)
        config = f"ExperimentConfig(learner={LEARNERS[learner]}, folds=FoldConfig(n_folds=3))".replace(
            "n_epochs=3", f"n_epochs={n_epochs}"
        )
        (self.folder / "config.py").write_text(f"from src.config import *\n\nCONFIG = {config}\n")
        (self.folder / "train.py").write_text(TRAIN)

    @property
    def run(self) -> Path:
        return self.outputs / self.task.name / "exp001"

    @property
    def where(self) -> list[str]:
        return ["--data", str(self.task), "--outputs", str(self.outputs)]

    def results(self) -> dict[str, str]:
        """Return the texts of oof.csv and test.csv."""
        return {name: (self.run / name).read_text() for name in RESULTS}

    def train(self, *arguments: str, kill_at: int = 0, max_bytes: int = 0) -> Ended:
        """Train in one process until the end, the kill_at-th change of a file, or a file of more than max_bytes."""
        return self._ended("train", str(self.folder), *_with_jobs(arguments), kill_at=kill_at, max_bytes=max_bytes)

    def submit(self, *arguments: str, kill_at: int = 0) -> Ended:
        return self._ended("submit", "--exps", "001", *arguments, kill_at=kill_at)

    def _ended(self, *command: str, **limits: int) -> Ended:
        return run_command([*command, *self.where], self.outputs, self.folder / "printed.txt", **limits)

    def start(self, *arguments: str) -> subprocess.Popen:
        """Start a training in a process group of its own, that Ctrl-C interrupts as in a terminal."""
        command = [sys.executable, str(self.folder / "train.py"), *_with_jobs(arguments), *self.where]
        ignored = signal.signal(signal.SIGINT, signal.default_int_handler)  # if it is ignored here, children ignore it too
        try:
            return subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True, env=ENV
            )
        finally:
            signal.signal(signal.SIGINT, ignored)

    def complete(self, *arguments: str) -> Ended:
        """Train to the end by the command that a user types, which several processes at once need."""
        process = self.start(*arguments)
        printed, _ = process.communicate(timeout=600)
        return Ended(process.returncode, printed)


def _with_jobs(arguments: tuple[str, ...]) -> tuple[str, ...]:
    return arguments if "--jobs" in arguments else (*arguments, "--jobs", "1")


def wait_for(condition: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


class Running(NamedTuple):
    """A process of this machine."""

    pid: int
    parent: int
    group: int


def processes_of(*texts: str) -> Iterator[Running]:
    """Yield the running processes with all of these texts in their command lines; zombies do not run."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            state, parent, group = (path / "stat").read_text().rpartition(")")[2].split()[:3]
            command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if state != "Z" and all(text in command for text in texts):
            yield Running(int(path.name), int(parent), int(group))


def processes_of_group(group: int, *texts: str) -> list[int]:
    return [process.pid for process in processes_of(*texts) if process.group == group]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
