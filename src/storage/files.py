"""Files that are whole if they exist, remedies for damaged ones, and locks that one process holds at a time."""

import contextlib
import errno
import gzip
import io
import json
import os
import re
import socket
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from src.paths import SEALED, shown

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

RESULTS = "results"  # folder of what is published of an experiment
STALE_SECONDS = 3600.0  # a temporary file this old was left by a killed process


def write_atomic(path: Path, content: bytes) -> None:
    """Write to a temporary name and rename it: a reader of `path` finds either the whole old content or the whole new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{path.name}-*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > STALE_SECONDS:
                left.unlink()
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # before the rename, so that a power failure leaves no empty file
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def named(path: Path) -> Iterator[None]:
    """Name the path in write errors that lack it. NumPy's error for a full disk says only how many items were written."""
    try:
        yield
    except OSError as error:
        if error.errno is None and " requested and " in str(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def to_bytes(write: Callable[[io.BytesIO], object]) -> bytes:
    """Return what `write` writes to the binary file that it is given."""
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def packed(path: Path, content: bytes) -> bytes:
    """Return a content as stored in its file: if the name ends in .gz, compressed to bytes that depend only on the content."""
    return gzip.compress(content, compresslevel=9, mtime=0) if path.suffix == ".gz" else content


def unpacked(path: Path) -> bytes:
    """Return the content of a file, decompressed if its name ends in .gz."""
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def write_csv(path: Path, table: "pd.DataFrame") -> None:
    """Write a CSV (.csv or .csv.gz) whose bytes depend only on the table."""
    write_atomic(path, packed(path, table.to_csv(index=False, lineterminator="\n").encode()))


def write_json(path: Path, data: object) -> None:
    """Write data as indented JSON."""
    write_atomic(path, (json.dumps(data, indent=1) + "\n").encode())


def read_json(path: Path, kinds: Mapping[str, type | tuple[type, ...]]) -> dict[str, Any]:
    """Return the object in a JSON file.

    kinds: for each key that it must have, the types of its value. Raises ValueError, which names the file, if it is not such an
    object, and FileNotFoundError if it is missing.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path} is missing; {remedy(path)}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(path, error) from error
    if wrong := [key for key, kind in kinds.items() if not isinstance(data, dict) or not isinstance(data.get(key), kind)]:
        raise damaged(path, f"{', '.join(wrong)} missing or of another kind")
    return data


def npz_bytes(arrays: "Mapping[str, ArrayLike]") -> bytes:
    """Return arrays as the content of a compressed .npz file."""
    import numpy as np

    return to_bytes(lambda file: np.savez_compressed(file, allow_pickle=False, **arrays))


def read_npz(path: Path, names: Iterable[str], way_out: str | None = None) -> "list[NDArray]":
    """Return the arrays of these names in an .npz file. Raises ValueError, which says what to do, if it is damaged."""
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as stored:
            return [stored[name] for name in names]
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise damaged(path, error, way_out) from error


def read_id_table(path: Path, columns: list[str]) -> "pd.DataFrame":
    """Return a table that this repository has written, with ids as text and finite numbers in all other columns.

    Raises ValueError, which names file, row and what to do, if it was damaged or edited.
    """
    import numpy as np
    import pandas as pd

    numbers = {name: ["nan", ""] for name in ("e_form", "e_form_pred")}  # an id may be NaN: sodium nitride
    try:
        table = pd.read_csv(path, dtype={"id": str}, keep_default_na=False, na_values=numbers, float_precision="round_trip")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise damaged(path, error) from error
    if missing := [column for column in columns if column not in table]:
        raise ValueError(f"{path}: no column {', '.join(missing)}; {remedy(path)}")
    if len(twice := table["id"][table["id"].duplicated()]):
        raise ValueError(f"{path}: {twice.iloc[0]!r} is duplicated; {remedy(path)}")
    for name in table.columns.drop("id"):
        bad = np.flatnonzero(~np.isfinite(pd.to_numeric(table[name], errors="coerce").to_numpy(dtype=np.float64)))
        if len(bad):
            row = table.iloc[bad[0]]
            raise ValueError(f"{path}: {name} of {row['id']!r} is {row[name]!r}, not finite; {remedy(path)}")
    return table


@contextlib.contextmanager
def locked(path: Path, held: str) -> Iterator[None]:
    """Hold the lock file `path` while the block runs; the system releases it however the process ends.

    Raises ValueError with `held`, the holder's process and its machine if another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock, holder = FileLock(path), path.with_name(f"{path.name}.holder")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        who = holder.read_text() if holder.is_file() else "another process"
        raise ValueError(f"{held} ({who})") from None
    try:
        holder.write_text(f"process {os.getpid()} on {socket.gethostname()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def published_in(path: Path) -> Path | None:
    """Return the folder exp/expNNN/results that a path is in, itself included; None if it is in none."""
    folders = (path, *path.parents)
    return next((f for f in folders if f.name == RESULTS and re.fullmatch(r"exp\d{3}", f.parent.name)), None)


def damaged(path: Path, what: object, way_out: str | None = None) -> ValueError:
    """Return the error for a file that cannot be read. what: is wrong with it. way_out: used instead of its `remedy`."""
    return ValueError(f"{path} is damaged ({what}); {way_out or remedy(path)}")


def remedy(path: Path) -> str:
    """Return what to do about a damaged file of a run or of published results, as the second half of a message."""
    if folder := SEALED if path.is_relative_to(SEALED) else published_in(path):
        return f"restore it: git checkout {shown(folder)}"
    if path.name == "config.json":
        return f"restore it, or remove {path.parent} to train it again"
    of_runs = (f for f in path.parents if f.name.startswith("fold_") and (f.parent / "config.json").is_file())
    if fold := next(of_runs, None):
        return f"remove the folder {fold}, and train.py will train that fold again"
    return "remove it, and train.py will write it again"
