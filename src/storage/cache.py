"""Files and folders that are built once and read from then on."""

import contextlib
import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from filelock import FileLock

log = logging.getLogger(__name__)
T = TypeVar("T")


def cached(path: Path, read: Callable[[Path], T], build: Callable[[], object]) -> T:
    """What `read` makes of a file or folder; where it is not there, or `read` calls it damaged, `build` writes it first.

    The name must say everything that shapes the content: then what is built anew is what was lost.
    read: raises ValueError, with the remedy of removing it, where it is damaged.
    """
    if path.exists():
        try:
            return read(path)
        except ValueError as error:
            log.warning("%s: this is done now", error)
            _remove(path)
    with built_once(path) as is_mine:
        if is_mine:
            build()
    return read(path)


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


@contextlib.contextmanager
def built_once(path: Path) -> Iterator[bool]:
    """Gives the block the right to build `path`; False where it is there, another process having built it meanwhile.

    What a killed process left of it is removed first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.parent / f".{path.name}.lock"):
        if path.exists():
            yield False
            return
        for left in path.parent.glob(f".{path.name}-*"):
            _remove(left)
        yield True
