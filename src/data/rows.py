"""CSV file -> rows of text in bounded memory. All user-supplied tables are read here."""

import csv
import gzip
import io
import math
import zlib
from collections.abc import Iterator
from pathlib import Path

Row = dict[str, str]
TABLE_SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz")
MAX_ROWS_NAMED = 50  # bad rows listed in a message
MAX_LINE = 1_000_000  # characters of a line, and of a field
MAX_ROWS = 1_000_000
MAX_COLUMNS = 5_000


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a CSV file (.csv or .csv.gz, UTF-8, commas; .tsv: tabs) one at a time, as column -> text.

    Raises ValueError, after the last row at the latest, if the file is not a valid table. Records are numbered as in a
    spreadsheet: the header is record 1.
    """
    try:
        with path.open("rb") as raw, gzip.open(raw) if path.suffix == ".gz" else raw as content:
            text = io.TextIOWrapper(content, encoding="utf-8-sig", newline="")
            yield from _records(path, _lines(path, text))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a readable CSV file: it is not UTF-8 text ({error}); save it as UTF-8") from error
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: not a readable CSV file ({error}); is it complete? Copy or download it again") from error


def table_suffix(path: Path) -> str:
    """Return which of TABLE_SUFFIXES the name of a table ends in, in small letters; '' if in none."""
    return next((suffix for suffix in reversed(TABLE_SUFFIXES) if path.name.lower().endswith(suffix)), "")


def number(text: str) -> float:
    """Return the number in a table's field; NaN if it is not one."""
    try:
        return math.nan if "_" in text else float(text)  # Python reads 1_0 as ten
    except ValueError:
        return math.nan


def _lines(path: Path, text: io.TextIOWrapper) -> Iterator[str]:
    """Yield the lines of a text; raise ValueError if a line cannot belong to a table."""
    for number, line in enumerate(iter(lambda: text.readline(MAX_LINE), ""), start=1):
        if len(line) == MAX_LINE:
            raise ValueError(f"{path}: line {number} has {MAX_LINE} characters or more; is it a CSV file?")
        if "\0" in line:
            raise ValueError(f"{path}: line {number} contains NUL bytes; is it a complete CSV file in UTF-8?")
        yield line


def _records(path: Path, lines: Iterator[str]) -> Iterator[Row]:
    csv.field_size_limit(MAX_LINE)
    reader = csv.reader(lines, strict=True, delimiter="\t" if table_suffix(path).startswith(".tsv") else ",")
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
                if len(ragged) == MAX_ROWS_NAMED:
                    break
            elif n_rows == MAX_ROWS:
                raise ValueError(f"{path}: more than {MAX_ROWS} rows; split the table")
            else:
                n_rows += 1
                yield dict(zip(header, record, strict=True))
    except csv.Error as error:
        where = f"record {n_rows + len(ragged) + 2}"
        raise ValueError(f"{path}: not a readable CSV file ({where}: {error}); is a quote missing?") from error
    if ragged:
        what = f"records {ragged} do not have the {len(header)} columns of the header"
        raise ValueError(f"{path}: {what}; quote fields that contain commas or line breaks, and complete truncated records")
    if not n_rows:
        raise ValueError(f"{path}: the table has no rows")


def _check_header(path: Path, header: list[str]) -> None:
    if not header:
        raise ValueError(f"{path}: the file is empty")
    separators = [name for mark, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")) if mark in header[0]]
    if len(header) == 1 and separators:
        hint = f"is it separated by {separators[0]}? Use commas{', or name it .tsv' if separators[0] == 'tabs' else ''}"
        raise ValueError(f"{path}: the header has one column, {header[0][:60]!r}; {hint}")
    if len(header) > MAX_COLUMNS:
        raise ValueError(f"{path}: the header has {len(header)} columns; the limit is {MAX_COLUMNS}")
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise ValueError(f"{path}: the header has duplicate columns {twice[:5]}; remove or rename them")
