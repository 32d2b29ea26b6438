"""CSV file -> rows of text, within bounded memory. The only reader of files that people bring."""

import csv
import gzip
import io
import math
import zlib
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

Row = dict[str, str]
MAX_NAMED = 50  # bad rows that a message names
MAX_LINE = 1_000_000  # characters of a line, and of a field
MAX_ROWS = 1_000_000
MAX_COLUMNS = 5_000
FREE_CHARACTERS = 100_000_000  # that any file may hold; a compressed one of more is refused where it swells by
MAX_RATIO = 100  # times its size on disk, tables of crystals swell by about ten


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a CSV file (.csv or .csv.gz, UTF-8, commas), one at a time, column -> text.

    Raises ValueError, behind the last row at the latest, where the file is not one.

    Records are counted as a spreadsheet does: the header is record 1.
    """
    try:
        with path.open("rb") as raw, gzip.open(raw) if path.suffix == ".gz" else raw as content:
            text = io.TextIOWrapper(content, encoding="utf-8-sig", newline="")
            yield from _records(path, _lines(path, text))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a readable CSV file: it is not UTF-8 text ({error}); save it as UTF-8") from error
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: not a readable CSV file ({error}); is it whole? Copy or download it again") from error


def batched(rows: Iterable[Row], n: int) -> Iterator[list[Row]]:
    """Lists of n rows, the last one shorter."""
    left = iter(rows)
    while batch := list(islice(left, n)):
        yield batch


def number(text: str) -> float:
    """A number as a table holds it; NaN for anything else."""
    try:
        return math.nan if "_" in text else float(text)  # Python reads 1_0 as ten
    except ValueError:
        return math.nan


def _lines(path: Path, text: io.TextIOWrapper) -> Iterator[str]:
    """The lines of a text; ValueError for one that no table has."""
    most, n_characters, number = max(FREE_CHARACTERS, MAX_RATIO * path.stat().st_size), 0, 0
    while line := text.readline(MAX_LINE):
        number += 1
        n_characters += len(line)
        if len(line) == MAX_LINE:
            raise ValueError(f"{path}: line {number} has {MAX_LINE} characters or more; is it a CSV file?")
        if "\0" in line:
            raise ValueError(f"{path}: line {number} holds NUL bytes; is it a CSV file in UTF-8, and whole?")
        if n_characters > most:
            raise ValueError(f"{path}: more than {most} characters in a file of {path.stat().st_size} bytes; no table swells so")
        yield line


def _records(path: Path, lines: Iterator[str]) -> Iterator[Row]:
    csv.field_size_limit(MAX_LINE)
    reader = csv.reader(lines, strict=True)
    n_rows = 0
    ragged: list[int] = []
    try:
        header = next(reader, [])
        _check_header(path, header)
        for record in reader:
            if not record:  # a blank line
                continue
            if len(record) != len(header):
                ragged.append(n_rows + len(ragged) + 2)
                if len(ragged) == MAX_NAMED:
                    break
            elif n_rows == MAX_ROWS:
                raise ValueError(f"{path}: more than {MAX_ROWS} rows; divide the table")
            else:
                n_rows += 1
                yield dict(zip(header, record, strict=True))
    except csv.Error as error:
        raise ValueError(
            f"{path}: not a readable CSV file (record {n_rows + len(ragged) + 2}: {error}); is a quote missing?"
        ) from error
    if ragged:
        raise ValueError(
            f"{path}: records {ragged} do not have the {len(header)} columns of the header; quote fields that hold "
            "commas or line breaks, and complete what is cut off"
        )
    if not n_rows:
        raise ValueError(f"{path}: the table has no rows")


def _check_header(path: Path, header: list[str]) -> None:
    if not header:
        raise ValueError(f"{path}: the file is empty")
    separators = [name for mark, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")) if mark in header[0]]
    if len(header) == 1 and separators:
        raise ValueError(f"{path}: the header has one column, {header[0][:60]!r}; is it separated by {separators[0]}? Use commas")
    if len(header) > MAX_COLUMNS:
        raise ValueError(f"{path}: the header has {len(header)} columns, at most {MAX_COLUMNS} are read")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise ValueError(f"{path}: the header names {twice[:5]} more than once; remove or rename columns")
