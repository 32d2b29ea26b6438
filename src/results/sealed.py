"""Predictions of sealed experiments, kept in two tables that have columns of each."""

import csv
import functools
import gzip
import io
import zlib

import numpy as np
import pandas as pd

from src.paths import SEALED
from src.results.folder import OOF_COLUMNS
from src.storage import names
from src.storage.files import damaged, read_json

OOF, TEST = "oof.csv.gz", "test.csv.gz"


@functools.cache
def sealed_metrics() -> dict[str, dict]:
    """Return the published metrics of sealed experiments, by name; those whose predictions were not published have none."""
    path = SEALED / names.METRICS
    return read_json(path, {})


def sealed_predictions(name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the out-of-fold and the test predictions of an experiment in `sealed_metrics`, as they were published."""
    return _table(OOF, name, OOF_COLUMNS[:3]), _table(TEST, name, OOF_COLUMNS[:1])


def _table(file: str, name: str, shared: list[str]) -> pd.DataFrame:
    """Return the columns that all experiments share and those of one, without its name."""
    columns, prefix = _columns(file), f"{name}_"
    own = {column.removeprefix(prefix): column for column in columns if column.startswith(prefix)}
    texts = {column: columns[column] for column in shared} | {short: columns[column] for short, column in own.items()}
    kinds = {"id": object, "fold": np.int64}
    return pd.DataFrame({column: np.array(text, dtype=kinds.get(column, np.float64)) for column, text in texts.items()})


@functools.cache
def _columns(file: str) -> dict[str, tuple[str, ...]]:
    """Return the columns of a table as text, of which only those that are asked for become numbers."""
    path = SEALED / file
    try:
        header, *rows = csv.reader(io.StringIO(gzip.decompress(path.read_bytes()).decode()))
        return dict(zip(header, zip(*rows, strict=True), strict=True))
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise damaged(path, error) from error
