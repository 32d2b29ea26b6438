"""Writing files so that one that exists is whole: to a temporary name first, then renamed."""

import gzip
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd


def write_atomic(path: Path, write: Callable[[Path], object]) -> None:
    """Calls `write` with a temporary name of the same ending, then renames that file to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Writes a CSV (.csv or .csv.gz) whose bytes depend on the table alone."""
    text = table.to_csv(index=False, lineterminator="\n").encode()
    content = gzip.compress(text, compresslevel=9, mtime=0) if path.suffix == ".gz" else text
    write_atomic(path, lambda temporary: temporary.write_bytes(content))


def write_json(path: Path, data: object) -> None:
    """Writes data as indented JSON."""
    text = json.dumps(data, indent=1) + "\n"
    write_atomic(path, lambda temporary: temporary.write_text(text))
