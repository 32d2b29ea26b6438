"""Run folds in this process, in local workers, or as tasks on a running Ray cluster. A bar shows their progress."""

import logging
import os
import pickle
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from socket import create_connection
from subprocess import PIPE, Popen, TimeoutExpired
from typing import Literal

from joblib import Parallel, cpu_count, delayed, parallel_config
from joblib.externals.loky.backend.reduction import dumps
from tqdm import tqdm

from src.paths import ROOT
from src.storage.cache import end_with

log = logging.getLogger(__name__)
Run = Callable[[int], str | None]  # trains a fold, in any process; returns None, or how the training diverged
Where = Literal["local", "ray"]  # what --launcher takes
MAX_LOSSES = 3  # in a row, with no step of progress between them
MAX_RETRIES = 3  # by Ray, of a fold whose worker or node was lost; it resumes from its checkpoint
TIMEOUT = 30  # seconds, to connect with a cluster
PATIENCE = 20.0  # seconds between looks at Ray's driver


@dataclass(frozen=True)
class Launcher:
    """The place where folds run, and the number that run at once.

    n_jobs: folds at once; None: as many as there are cores, here or on the cluster. address: of the cluster, HOST:PORT; all its
    nodes must see this folder under the same path. gpu: each fold takes a GPU of the cluster. n_gpus: of this machine, on which
    as many folds run at once, as several on one take turns; None: the folds run on the cores.
    """

    where: Where = "local"
    n_jobs: int | None = None
    address: str | None = None
    gpu: bool = False
    n_gpus: int | None = None

    @property
    def at_once(self) -> int:
        """Number of folds at once on this machine."""
        return int(self.n_jobs or self.n_gpus or cpu_count())

    @property
    def n_local(self) -> int:
        """Number of processes for the work on this machine before the folds."""
        return cpu_count() if self.n_jobs is None or self.where == "ray" else self.n_jobs


def run_all(
    name: str,
    run: Run,
    folds: Sequence[int],
    is_finished: Callable[[int], bool],
    histories: Mapping[Path, int],
    launcher: Launcher,
) -> None:
    """Run the folds. One whose worker was lost resumes from its checkpoint; one that diverges does not stop the others.

    is_finished: whether a fold has written all its files. histories: files that grow, and the number of lines below the header
    that each gets: the bar counts them.
    Raises what a fold raises; ValueError if workers are lost again and again; FloatingPointError for folds that diverged.
    """
    at_once, losses, diverged = min(launcher.at_once, len(folds)), 0, dict[int, str]()
    with _bar(name, histories) as count:
        while to_do := [k for k in folds if k not in diverged and not is_finished(k)]:
            before = count()
            try:
                if launcher.where == "ray":
                    said = _on_cluster(run, to_do, is_finished, launcher)
                elif 1 in (launcher.n_jobs or launcher.n_gpus, len(folds)):
                    said = [run(k) for k in to_do]
                else:
                    said = _in_workers(run, to_do, at_once)
                diverged |= {k: how for k, how in zip(to_do, said, strict=True) if how}
            except BrokenProcessPool as error:
                losses = 1 if count() > before else losses + 1
                if losses > MAX_LOSSES:
                    raise ValueError(
                        f"{losses} workers in a row died before a step was done ({type(error).__name__}). "
                        "If memory is short, try --jobs 1; what is finished is kept"
                    ) from error
                at_once = max(1, at_once // 2)  # if memory ran out, fewer folds leave more for each
                log.warning("a worker was lost: it was killed, or memory ran out. Its fold resumes from its checkpoint")
                log.debug("lost worker", exc_info=True)
    if diverged:
        raise FloatingPointError("\n".join(f"fold {k}: {how}" for k, how in diverged.items()))


def _in_workers(run: Run, folds: list[int], at_once: int) -> list[str | None]:
    """Return what `run` returns for each fold, in workers on this machine."""
    n_workers = max(2, at_once)  # joblib would run a single one in this process, which has to survive it
    loky = {"inner_max_num_threads": 1, "initializer": end_with, "initargs": (os.getpid(),)}
    with warnings.catch_warnings(), parallel_config(backend="loky", n_jobs=n_workers, **loky):
        # loky restarts a worker between folds if the last one left it large, as it should
        warnings.filterwarnings("ignore", "A worker stopped while some jobs were given to the executor")
        return Parallel(pre_dispatch=at_once)(delayed(run)(k) for k in folds)


def check_cluster(address: str | None) -> None:
    """Raise ValueError if Ray is not installed or no address is given."""
    if address is None:
        raise ValueError("--launcher ray needs the --address of a running cluster: 10.0.0.1:6379, or auto on one of its nodes")
    if find_spec("ray") is None:
        raise ValueError('ray is not installed: pip install -e ".[cluster]", here and on all nodes')


def _on_cluster(run: Run, folds: list[int], is_finished: Callable[[int], bool], launcher: Launcher) -> list[str | None]:
    """Return what `run` returns for each fold, in workers of the cluster.

    Ray's driver runs in its own process: if a worker is lost, it sometimes crashes or never returns (ray-project/ray, issues
    29431 and 44836). Folds that have written all their files are finished, whatever it reports.
    """
    work: bytes | None = dumps((os.getpid(), partial(_drive, run, folds, launcher)))
    finished = False
    code = "from src.runs.launch import answer; answer()"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with Popen([sys.executable, "-c", code], stdin=PIPE, stdout=PIPE, env=env) as process:
        try:
            while True:
                try:
                    said, _ = process.communicate(work, PATIENCE)
                    break
                except TimeoutExpired:
                    work = None  # Popen sends the rest of it by itself
                    if finished:  # at the last look already
                        return [None] * len(folds)
                    finished = all(map(is_finished, folds))
        finally:
            process.kill()
    if not said:
        raise BrokenProcessPool(f"Ray's driver ended with {process.returncode}")
    found = pickle.loads(said)  # of our own process
    if isinstance(found, Exception):
        raise found
    return found


def answer() -> None:
    """Do the work described on standard input, and write the pickled result or error to standard output."""
    out = os.dup(1)
    os.dup2(2, 1)  # whatever Ray prints is no answer
    parent, work = pickle.load(sys.stdin.buffer)
    end_with(parent)
    try:
        said = work()
    except Exception as error:  # the parent raises it
        said = error
    with os.fdopen(out, "wb") as file:
        file.write(dumps(said))


def _drive(run: Run, folds: list[int], launcher: Launcher) -> list[str | None]:
    """Return what `run` returns for each fold; `run` is sent to each node of the cluster once.

    Raises what a fold raises, and BrokenProcessPool if its workers are lost again and again.
    """
    import ray

    _connect(str(launcher.address))
    try:
        train = ray.remote(max_retries=MAX_RETRIES, num_gpus=int(launcher.gpu))(_call)
        stored, said, fold_of, waiting = ray.put(run), dict[int, str | None](), dict[ray.ObjectRef, int](), list(folds)
        while waiting or fold_of:
            while waiting and len(fold_of) < (launcher.n_jobs or len(folds)):
                k = waiting.pop(0)
                fold_of[train.remote(stored, k)] = k
            (done, *_), _ = ray.wait(list(fold_of))  # in this thread: none is left waiting when Ray shuts down
            said[fold_of.pop(done)] = ray.get(done)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None  # the fold's own error, without Ray's account of it
    except ray.exceptions.RayError as error:
        raise BrokenProcessPool(str(error)) from None
    finally:
        ray.shutdown()
    return [said[k] for k in folds]


def _call(run: Run, k: int) -> str | None:
    return run(k)


def _connect(address: str) -> None:
    """Connect this process to a cluster. Raises ValueError if none answers."""
    import ray

    try:
        host, _, port = address.removeprefix("ray://").rpartition(":")
        if port.isdigit():  # ray.init would keep trying for minutes
            create_connection((host, int(port)), timeout=TIMEOUT).close()
        ray.init(address, runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}}, log_to_driver=False, logging_level=logging.ERROR)
    except OSError as error:
        raise ValueError(f"--address {address}: no Ray cluster answers there (ray start --head starts one)") from error


@contextmanager
def _bar(name: str, histories: Mapping[Path, int]) -> Iterator[Callable[[], int]]:
    """Show the progress by the lines of several files, read every second; return the function that counts them."""

    def count() -> int:
        return sum(max(0, path.read_bytes().count(b"\n") - 1) for path in histories if path.is_file())

    def follow() -> None:
        while not ended.wait(1.0):
            bar.update(count() - bar.n)

    n_steps, ended = sum(histories.values()), threading.Event()
    with tqdm(total=n_steps, desc=name, unit="step", smoothing=0.05, initial=count(), disable=not histories) as bar:
        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield count
        finally:
            ended.set()
            thread.join()
            bar.update(count() - bar.n)
