"""What all commands share: their options, and one message for people when something goes wrong."""

import argparse
import atexit
import contextlib
import errno
import gc
import logging
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from src.paths import DEFAULT_TASK, OUTPUTS

log = logging.getLogger(__name__)
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)
atexit.register(gc.freeze)  # otherwise Python looks for cycles in all of torch before it ends: half a second


def command(description: str | None, *options: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Return the parser of a command whose help is its module's docstring, with shared options."""
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, parents=list(options)
    )


def task_options(targets: Literal["any", "one", "none"] = "any") -> argparse.ArgumentParser:
    """Return the options `--data`, `--outputs` and `--target`. targets: how many `--target` takes; none: it is left out."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--data", type=Path, default=DEFAULT_TASK, help="folder of the task (default: input/flla)")
    parser.add_argument("--outputs", type=Path, default=OUTPUTS, help="folder of runs and caches (default: outputs/)")
    if targets == "any":
        parser.add_argument(
            "--target", metavar="NAME", nargs="+", help="if the task has several, only these targets (default: all)"
        )
    elif targets == "one":
        parser.add_argument("--target", metavar="NAME", help="the target to predict, if the task has several")
    return parser


def rows_option() -> argparse.ArgumentParser:
    """Return the option `--skip-bad-rows`, for all commands that read the training table."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--skip-bad-rows", action="store_true", help="leave bad training rows out instead of stopping")
    return parser


def choice_options() -> argparse.ArgumentParser:
    """Return the options that choose finished experiments: their numbers, `--track`, and `--score` for their test scores."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("numbers", nargs="*", help="experiments (default: all finished ones of the track)")
    parser.add_argument("--track", choices=("closed", "open"), default="closed", help="track, if no experiments are named")
    parser.add_argument("--score", action="store_true", help="add scores on the task's test labels")
    return parser


def out_option(text: str, default: Path | None = None) -> argparse.ArgumentParser:
    """Return the option `--out`. text: the default as its help describes it."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--out", type=Path, default=default, help=f"file to write (default: {text})")
    return parser


@contextlib.contextmanager
def one_message(name: str) -> Iterator[None]:
    """End the command with its name and what went wrong; finished work stays, and the same command continues from there."""
    in_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, _interrupt) if in_main else None  # batch systems send it before they kill
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(f"\n{name}: interrupted. Finished work stays; the same command continues from the last checkpoints")
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
        return f"out of memory ({error}). Try --jobs 1; finished work stays"
    if isinstance(error, OSError) and error.errno in (*NO_SPACE, *NOT_ALLOWED):
        file = error.filename or "a file"
        if error.errno in NO_SPACE:
            where = f" for {Path(file).resolve().parent}" if error.filename else ""
            return f"{file} cannot be written: {error.strerror}. Free some space{where} and run the same command: it continues"
        return f"{file}: {error.strerror}. Change its permissions, or name another folder with --outputs or --out"
    return str(error)
