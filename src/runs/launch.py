"""Where folds run: in this process, or in several local ones. A bar follows what they write."""

import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from joblib import Parallel, delayed, parallel_config
from tqdm import tqdm


def run_all(function: Callable[[int], None], folds: Sequence[int], n_jobs: int, histories: Mapping[Path, int], name: str) -> None:
    """Calls function(k) for every fold, n_jobs at once.

    histories: files that grow, and the lines below the header that each ends with: what the bar counts.
    """
    with _FollowHistories(histories, name):
        if n_jobs == 1 or len(folds) == 1:
            for k in folds:
                function(k)
        else:
            with warnings.catch_warnings(), parallel_config(backend="loky", n_jobs=n_jobs, inner_max_num_threads=1):
                # loky starts a worker anew between folds where the last one left it large: as wanted
                warnings.filterwarnings("ignore", "A worker stopped while some jobs were given to the executor")
                Parallel(pre_dispatch=n_jobs)(delayed(function)(k) for k in folds)


class _FollowHistories:
    """A progress bar with an ETA over the lines of several files, read every second while the block runs."""

    def __init__(self, histories: Mapping[Path, int], name: str) -> None:
        self.histories, self.done = histories, threading.Event()
        self.bar = tqdm(total=sum(histories.values()), desc=name, unit="step", smoothing=0.05, initial=self._count())
        self.thread = threading.Thread(target=self._follow, daemon=True)

    def _count(self) -> int:
        return sum(max(0, path.read_bytes().count(b"\n") - 1) for path in self.histories if path.is_file())

    def _follow(self) -> None:
        while not self.done.wait(1.0):
            self.bar.update(self._count() - self.bar.n)

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *error: object) -> None:
        self.done.set()
        self.thread.join()
        self.bar.update(self._count() - self.bar.n)
        self.bar.close()
