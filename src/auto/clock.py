"""The clock of a budget, which goes on where an earlier start was killed."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from src.storage.files import read_json, write_json

BEAT = 5.0  # seconds between two notes of the time used


class Clock:
    """The seconds that are left of a budget; earlier starts that were killed count too."""

    def __init__(self, path: Path, seconds: float) -> None:
        self.path, self.seconds = path, seconds
        self.before = float(read_json(path, {"used": float})["used"]) if path.is_file() else 0.0
        self.start = time.monotonic()

    @property
    def used(self) -> float:
        """Seconds that all starts together have taken."""
        return self.before + time.monotonic() - self.start

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return max(0.0, self.seconds - self.used)

    @contextmanager
    def running(self) -> "Iterator[Clock]":
        """Yield the clock, and note the time used every few seconds while the block runs, for the next start."""
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(BEAT):
                write_json(self.path, {"used": self.used})

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            ended.set()
            thread.join()
            write_json(self.path, {"used": self.used})
