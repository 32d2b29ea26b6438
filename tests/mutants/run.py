"""Put each fault of faults.toml into a copy of the repository, one by one: the tests that it names must fail.

Without a fault they must pass. Exit status 1: one survived, or the list has an error. Tests run in forks of this process, which
has imported the libraries, but nothing of the repository.
"""

import argparse
import gc
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Protocol

from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[2]
FAULTS = Path(__file__).with_name("faults.toml")
LIBRARIES = "torch torch_geometric.nn e3nn.o3 lion_pytorch numba lightgbm sklearn.svm moyopy pydantic scipy.stats joblib"
LIBRARIES += " hypothesis pytest pymatgen.io.cif pymatgen.analysis.bond_valence pymatgen.symmetry.groups"
SPACE_GROUPS = ["Fd-3m", "Fm-3m", "Im-3m", "P4_2/mnm", "P6_3mc", "P3_221", "Pm-3m"]  # of the crystals in tests/conftest.py
COMPILED = ["kernels", "fused", "compiled", "tensor_product", "harmonics", "polygons"]  # numba hides a change
PASSED = 0  # exit status of pytest
WORDS: dict[int | None, str] = {PASSED: "SURVIVED", 1: "killed"}  # others: the tests were not run as they should be
FORK = multiprocessing.get_context("fork")
HELD = list[object]()  # pymatgen keeps a space group only as long as somebody holds it


@dataclass(frozen=True)
class Fault:
    """A wrong change of one file, and the tests that find it. number: its place in the list, from 1."""

    number: int
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.number:3d} {self.file}: {self.old.strip().splitlines()[0][:80]}"

    def put_into(self, text: str) -> str:
        """Return the text of the file with the fault. Raises ValueError if it does not contain `old` exactly once."""
        if (n := text.count(self.old)) != 1:
            raise ValueError(f"{FAULTS}: fault {self.number}: {self.file} contains this text {n} times, not once: {self.old!r}")
        return text.replace(self.old, self.new)


class Change(Protocol):
    """What is put into a file, and the tests that should find it."""

    @property
    def file(self) -> str:
        """Its path in the repository."""

    @property
    def tests(self) -> tuple[str, ...]:
        """Arguments of pytest."""

    def put_into(self, text: str) -> str:
        """Return the text of the file with the change."""


@dataclass(frozen=True)
class Outcome:
    """How tests ended. status: exit status of pytest, negative if it took too long. output: the end of what it printed."""

    status: int | None
    seconds: float
    output: str

    def __str__(self) -> str:
        return f"{WORDS.get(self.status, f'ERROR {self.status}'):9} {self.seconds:5.1f} s"


def read_faults(only: str = "") -> list[Fault]:
    """Return the faults of the list, in order. only: those of files whose path contains this text, or the one of this number."""
    listed = [(file, one) for file, ones in tomllib.loads(FAULTS.read_text(encoding="utf-8")).items() for one in ones]
    faults = [Fault(i, file, one["old"], one["new"], tuple(one["tests"])) for i, (file, one) in enumerate(listed, start=1)]
    return [fault for fault in faults if (only == str(fault.number) if only.isdigit() else only in fault.file)]


def run_tests(folder: Path, tests: tuple[str, ...], numba_cache: str, log: Path, plugins: Sequence[object]) -> None:
    """Run tests in a folder with plugins of pytest, and end this process with pytest's exit status."""
    import numba
    import pytest

    with log.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(folder)
    sys.path[0], sys.dont_write_bytecode = str(folder), True
    numba.config.CACHE_DIR = os.environ["NUMBA_CACHE_DIR"] = numba_cache  # '': beside the source
    stop = [] if plugins else ["-x"]
    status = pytest.main(["-q", *stop, "--no-header", "-p", "no:cacheprovider", *tests], plugins)
    sys.stdout.flush()
    os._exit(status)  # what tests have left running is not waited for


def outcome(
    tests: tuple[str, ...], folder: Path, limit: float | None, compile_again: bool = False, plugins: Sequence[object] = ()
) -> Outcome:
    """Return how tests end in a folder. limit: seconds. compile_again: numba compiles everything again."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        log, numba_cache = Path(scratch) / "log", f"{scratch}/numba" if compile_again else ""
        process = FORK.Process(target=run_tests, args=(folder, tests, numba_cache, log, plugins), name="MainProcess")
        process.start()
        process.join(limit)
        process.kill()
        process.join()
        return Outcome(process.exitcode, time.perf_counter() - start, log.read_text(errors="replace")[-3000:])


def copy_of_repository(scratch: str) -> Path:
    """Return this process's own copy of the repository."""
    folder = Path(scratch) / f"{os.getpid()}"
    if not folder.is_dir():
        shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".git", ".venv", "outputs", ".*_cache"))
    return folder


def judge(scratch: str, fault: Change, limit: float = 600.0) -> Outcome:
    """Return how the tests of a fault end with it; the copy that it was put into is restored. limit: seconds."""
    path = (folder := copy_of_repository(scratch)) / fault.file
    text, times = path.read_text(), path.stat()
    path.write_text(fault.put_into(text))
    ended = outcome(fault.tests, folder, limit, compile_again=Path(fault.file).stem in COMPILED)
    path.write_text(text)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # so that what was compiled from it stays valid
    return ended


def prepare() -> None:
    """Import the libraries that tests need, once for all forks."""
    os.environ["OMP_NUM_THREADS"] = "1"
    *_, groups = map(import_module, LIBRARIES.split())
    HELD.extend(map(groups.SpaceGroup, SPACE_GROUPS))
    gc.freeze()  # forks do not look through what is here


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="faults of files whose path contains this text, or the one of this number")
    parser.add_argument("--jobs", type=int, default=2, help="faults at once (default: 2)")
    args = parser.parse_args()
    start, statuses = time.perf_counter(), list[int | None]()
    if not (faults := read_faults(args.only)):
        parser.error(f"--only {args.only}: the list has no such fault")
    prepare()
    with tempfile.TemporaryDirectory() as scratch, ProcessPoolExecutor(args.jobs, FORK) as pool:
        print(f"{len(faults)} faults; their tests run without any of them first", flush=True)
        tests = tuple(sorted({test for fault in faults for test in fault.tests}))
        without = outcome(tests, copy_of_repository(scratch), limit=None)
        if without.status != PASSED:
            sys.exit(f"the tests do not pass without a fault either:\n{without.output}")
        with tqdm(pool.map(partial(judge, scratch), faults), "seeded faults", len(faults), smoothing=0.05) as bar:
            for fault, ended in zip(faults, bar, strict=True):
                statuses.append(ended.status)
                bar.write("\n".join([f"{ended}  {fault}", *([] if ended.status in WORDS else [ended.output])]), file=sys.stdout)
    survived, errors = statuses.count(PASSED), sum(status not in WORDS for status in statuses)
    print(f"{len(faults)} faults, {survived} survived{f', {errors} errors' * bool(errors)}, {time.perf_counter() - start:.0f} s")
    sys.exit(bool(survived or errors))


if __name__ == "__main__":
    main()
