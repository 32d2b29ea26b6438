"""Run commands of the repository in processes of their own, and kill them before their n-th change of a file.

The processes are forked from a server that has imported torch and the rest once, which saves seconds for each of them.
"""

import multiprocessing
import os
import resource
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

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
