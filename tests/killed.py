"""Runs a command of the repository and kills it with SIGKILL ahead of the n-th change it makes to the files below a folder.

    python tests/killed.py N FOLDER train EXPERIMENT_FOLDER ...
    python tests/killed.py N FOLDER submit --exps 001 ...

With N = 0 nothing is killed, and the number of changes is printed last.
"""

import os
import signal
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CHANGES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "tempfile.mkstemp", "tempfile.mkdtemp")
done = 0


def watch(n: int, folder: str) -> None:
    """Counts the changes to files below a folder; the n-th does not happen any more."""

    def hook(event: str, args: tuple) -> None:
        global done
        writes = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        # a file that is open by number belongs to mkstemp: killed there, it stays behind empty
        if (event in CHANGES or writes) and (isinstance(args[0], int) or str(args[0]).startswith(folder)):
            done += 1
            if done == n:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def main() -> None:
    n, folder, command, *arguments = sys.argv[1:]
    sys.path.insert(0, str(ROOT))
    if command == "train":
        from src.runs.train import main as train

        watch(int(n), folder)
        train(Path(arguments[0]), arguments[1:])
    else:
        import submit

        watch(int(n), folder)
        submit.main(arguments)
    print(done)


if __name__ == "__main__":
    main()
