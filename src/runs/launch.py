"""Where folds run: in this process, in local ones, or on a Ray or Dask cluster. A bar follows what they write."""

import logging
import os
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal, TypeVar

from joblib import Parallel, cpu_count, delayed, parallel_config
from joblib.externals.loky.process_executor import BrokenProcessPool
from tqdm import tqdm

from src.learners import distributed
from src.runs import cluster
from src.storage.cache import end_with

log = logging.getLogger(__name__)
Where = Literal["local", "ray", "dask"]
MAX_LOSSES = 3  # in a row, without a step of progress between them
OWN_ERRORS = (ValueError, OSError, MemoryError)  # what a fold itself raises; all else is a worker that was lost
J = TypeVar("J")


@dataclass(frozen=True)
class Launcher:
    """Where folds run, and how many at once.

    n_jobs: folds at once; None: as many as there are cores, here or on the cluster. address: of the cluster, HOST:PORT.
    gpu: whether each fold takes a GPU of the cluster.
    """

    where: Where = "local"
    n_jobs: int | None = None
    address: str | None = None
    gpu: bool = False

    def check(self) -> None:
        """ValueError where the folds cannot run on the cluster that is asked for."""
        if self.where != "local":
            cluster.check(self.where, self.address, self.n_jobs)

    @property
    def n_local(self) -> int:
        """Processes for what is done on this machine ahead of the folds."""
        return cpu_count() if self.n_jobs is None or self.where != "local" else self.n_jobs


@dataclass(frozen=True, eq=False)  # Dask looks it up by its hash, which its fields have none of
class Work(Generic[J]):
    """The folds to train.

    run: called as run(job, k) for every fold, in any process. is_finished: whether fold k has left all its artifacts.
    histories: files that grow, and the lines below the header that each ends with: what the bar counts.
    """

    name: str
    run: Callable[[J, int], None]
    job: J
    is_finished: Callable[[int], bool]
    histories: Mapping[Path, int]
    folds: Sequence[int]


def run_all(work: Work[J], launcher: Launcher) -> None:
    """Runs the folds. One whose worker was lost is run again and goes on from its checkpoint; one that diverged stops alone.

    Raises what a fold raises; ValueError where workers are lost again and again; FloatingPointError for folds that diverged.
    """
    at_once = min(launcher.n_jobs or cpu_count(), len(work.folds))
    lost = BrokenProcessPool if launcher.where == "local" else cluster.lost_worker_error(launcher.where)
    losses, diverged = 0, dict[int, str]()
    with _FollowHistories(work.histories, work.name) as follower:
        while to_do := [k for k in work.folds if k not in diverged and not work.is_finished(k)]:
            before = follower.count()
            try:
                diverged |= _run(work, to_do, launcher, at_once)
                losses = 0
            except OWN_ERRORS:
                raise
            except lost as error:
                losses = 1 if follower.count() > before else losses + 1
                if losses > MAX_LOSSES:
                    raise ValueError(
                        f"{losses} workers in a row died before a step was done ({type(error).__name__}). "
                        "Where memory is short, try --jobs 1; what is finished is kept"
                    ) from error
                at_once = max(1, at_once // 2)  # whoever ran out of memory needs more of it
                log.warning("a worker was lost: it was killed, or memory ran out. Its fold goes on from its checkpoint")
                log.debug("lost worker", exc_info=True)
    if diverged:
        raise FloatingPointError("\n".join(f"fold {k}: {message}" for k, message in diverged.items()))


def _run(work: Work[J], folds: list[int], launcher: Launcher, at_once: int) -> dict[int, str]:
    """The folds that diverged, and how."""
    if launcher.where != "local":
        on_cluster = cluster.run(_guarded, work, folds, launcher.where, launcher.address, launcher.n_jobs, launcher.gpu)
        return dict(filter(None, on_cluster))
    if launcher.n_jobs == 1 or len(work.folds) == 1 or distributed.world_size() > 1:
        return dict(filter(None, (_guarded(work, k) for k in folds)))
    n_workers = max(2, at_once)  # joblib runs a single one in this process, which is to survive it
    loky = {"inner_max_num_threads": 1, "initializer": end_with, "initargs": (os.getpid(),)}
    with warnings.catch_warnings(), parallel_config(backend="loky", n_jobs=n_workers, **loky):
        # loky starts a worker anew between folds where the last one left it large: as wanted
        warnings.filterwarnings("ignore", "A worker stopped while some jobs were given to the executor")
        found = Parallel(pre_dispatch=at_once)(delayed(_guarded)(work, k) for k in folds)
    return dict(filter(None, found))


def _guarded(work: Work[J], k: int) -> tuple[int, str] | None:
    """Runs a fold; what it says where it diverged, so that the others go on."""
    try:
        work.run(work.job, k)
    except FloatingPointError as error:
        return k, str(error)
    return None


class _FollowHistories:
    """A progress bar with an ETA over the lines of several files, read every second while the block runs."""

    def __init__(self, histories: Mapping[Path, int], name: str) -> None:
        self.histories, self.done = histories, threading.Event()
        n_steps = sum(histories.values())
        self.bar = tqdm(total=n_steps, desc=name, unit="step", smoothing=0.05, initial=self.count(), disable=not histories)
        self.thread = threading.Thread(target=self._follow, daemon=True)

    def count(self) -> int:
        """Lines below the headers."""
        return sum(max(0, path.read_bytes().count(b"\n") - 1) for path in self.histories if path.is_file())

    def _follow(self) -> None:
        while not self.done.wait(1.0):
            self.bar.update(self.count() - self.bar.n)

    def __enter__(self) -> "_FollowHistories":
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.done.set()
        self.thread.join()
        self.bar.update(self.count() - self.bar.n)
        self.bar.close()
