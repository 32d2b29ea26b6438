"""Run folds in this process, in local workers, or on a Ray cluster. A bar follows what they write."""

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

from src.storage.cache import end_with

log = logging.getLogger(__name__)
Where = Literal["local", "ray"]  # what --launcher takes
MAX_LOSSES = 3  # in a row, with no step of progress between them
OWN_ERRORS = (ValueError, OSError, MemoryError)  # a fold's own, not those of a lost worker
J = TypeVar("J")


@dataclass(frozen=True)
class Launcher:
    """The place where folds run, and the number that run at once.

    n_jobs: folds at once; None: as many as there are cores, here or on the cluster. address: of the cluster, HOST:PORT.
    gpu: each fold takes a GPU of the cluster. n_gpus: of this machine, on which as many folds run at once, as several on one take
    turns; None: the folds run on the cores.
    """

    where: Where = "local"
    n_jobs: int | None = None
    address: str | None = None
    gpu: bool = False
    n_gpus: int | None = None

    @property
    def lost_worker_error(self) -> type[Exception]:
        """The exception that signals a lost worker."""
        if self.where == "local":
            return BrokenProcessPool
        from src.runs import cluster

        return cluster.lost_worker_error()

    @property
    def at_once(self) -> int:
        """Number of folds at once on this machine."""
        return int(self.n_jobs or self.n_gpus or cpu_count())

    @property
    def n_local(self) -> int:
        """Number of processes for the work on this machine before the folds."""
        return cpu_count() if self.n_jobs is None or self.where == "ray" else self.n_jobs


@dataclass(frozen=True, eq=False)
class Work(Generic[J]):
    """The folds to train.

    run: called as run(job, k) for every fold, in any process; returns None, or how the training diverged.
    is_finished: whether fold k has written all its files. histories: files that grow, and the number of lines below the header
    that each gets: the bar counts them.
    """

    name: str
    run: Callable[[J, int], str | None]
    job: J
    is_finished: Callable[[int], bool]
    histories: Mapping[Path, int]
    folds: Sequence[int]


def run_all(work: Work[J], launcher: Launcher) -> None:
    """Run the folds. One whose worker was lost resumes from its checkpoint; one that diverges does not stop the others.

    Raises what a fold raises; ValueError if workers are lost again and again; FloatingPointError for folds that diverged.
    """
    in_this_process = launcher.where == "local" and 1 in (launcher.n_jobs or launcher.n_gpus, len(work.folds))
    at_once = min(launcher.at_once, len(work.folds))
    losses, diverged = 0, dict[int, str]()
    with _FollowHistories(work.histories, work.name) as follower:
        while to_do := [k for k in work.folds if k not in diverged and not work.is_finished(k)]:
            before = follower.count()
            try:
                said = [work.run(work.job, k) for k in to_do] if in_this_process else _in_workers(work, to_do, launcher, at_once)
                diverged |= {k: how for k, how in zip(to_do, said, strict=True) if how}
                losses = 0
            except OWN_ERRORS:
                raise
            except launcher.lost_worker_error as error:
                losses = 1 if follower.count() > before else losses + 1
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


def _in_workers(work: Work[J], folds: list[int], launcher: Launcher, at_once: int) -> list[str | None]:
    """Return what `work.run` returns for each fold, in workers on a cluster or on this machine."""
    if launcher.where == "ray":
        from src.runs import cluster

        return cluster.run(work.run, work.job, folds, str(launcher.address), launcher.n_jobs, launcher.gpu)
    n_workers = max(2, at_once)  # joblib would run a single one in this process, which has to survive it
    loky = {"inner_max_num_threads": 1, "initializer": end_with, "initargs": (os.getpid(),)}
    with warnings.catch_warnings(), parallel_config(backend="loky", n_jobs=n_workers, **loky):
        # loky restarts a worker between folds if the last one left it large, as it should
        warnings.filterwarnings("ignore", "A worker stopped while some jobs were given to the executor")
        return Parallel(pre_dispatch=at_once)(delayed(work.run)(work.job, k) for k in folds)


class _FollowHistories:
    """Progress bar with an ETA over the lines of several files, read every second while the block runs."""

    def __init__(self, histories: Mapping[Path, int], name: str) -> None:
        self.histories, self.done = histories, threading.Event()
        n_steps = sum(histories.values())
        self.bar = tqdm(total=n_steps, desc=name, unit="step", smoothing=0.05, initial=self.count(), disable=not histories)
        self.thread = threading.Thread(target=self._follow, daemon=True)

    def count(self) -> int:
        """Return the number of lines below the headers."""
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
