"""What every command does with an error: one message for people, the traceback for the log."""

import contextlib
import errno
import logging
import signal
import sys
import threading
from collections.abc import Iterator

log = logging.getLogger(__name__)
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextlib.contextmanager
def one_message(name: str) -> Iterator[None]:
    """Ends the command with `name` and what went wrong; what is finished stays, and the same command goes on from there."""
    in_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, _interrupt) if in_main else None  # what a batch system sends ahead of a kill
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(f"\n{name}: interrupted. What is finished stays; the same command goes on from the last checkpoints")
    except (ValueError, FloatingPointError, OSError, MemoryError) as error:
        log.debug("stopped", exc_info=True)
        sys.exit(f"{name}: {_explain(error)}")
    finally:
        if in_main:
            signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _explain(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return f"memory ran out ({error}). Try --jobs 1; what is finished stays"
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        return f"{error.filename or 'a file'} cannot be written, {error.strerror}. Make room and run the same command: it goes on"
    if isinstance(error, OSError) and error.errno in NOT_ALLOWED:
        return f"{error.filename or 'a file'}: {error.strerror}. Allow it, or name another folder with --outputs or --out"
    return str(error)
