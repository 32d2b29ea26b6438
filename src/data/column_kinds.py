"""What the columns of a table are taken for that are neither ids nor structures nor targets."""

import contextlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from src.data.formats import crystal_in_file, crystal_in_text
from src.data.rows import Row
from src.data.sniff import SURE, Column, format_of
from src.data.table import SYMBOLS, contradictions
from src.data.task import MAX_TEXT, StructureFormat

MAX_CATEGORIES = 50  # different values of a categorical column of text
MAX_CODES = 20  # different values of whole numbers that are taken for codes
ROWS_PER_CATEGORY = 4
CODES = re.compile(r"space_?group|sg_?(num|no)|group|class|type|categor|cluster|label|code|kind", re.IGNORECASE)
COUNTS = re.compile(r"^n_|^n(sites|atoms|elem)|number_of|num_|_num|count|total", re.IGNORECASE)
DERIVED = re.compile(r"n_?(sites|elements|atoms)|formula\w*|composition|full_formula", re.IGNORECASE)


def counts(rows: Sequence[Row], column: str, form: StructureFormat, folder: Path, kinds: Mapping[str, str]) -> dict[str, str]:
    """Return what columns are taken for that are named like elements or `nsites`: checks if they agree with the structures."""
    names = [name for name in kinds if name in SYMBOLS or name == "nsites"]
    agree = []
    for row in rows:
        with contextlib.suppress(ValueError):  # a bad row is reported later
            crystal = crystal_in_file(folder, row[column]) if form == "file" else crystal_in_text(row[column], form)
            agree.append(not contradictions(crystal, {name: row[name] for name in names}))
    if sum(agree) >= SURE * max(1, len(agree)):
        return dict.fromkeys(names, "checked against the structures")
    return {name: "numeric" for name in names if kinds[name].startswith("left out")}  # unless named they would be checked


def kind(parts: Sequence[Column], folder: Path) -> str:
    """Return what a column of the training table is taken for. parts: of the training and, if there is one, the test table."""
    column = parts[0]
    n_different = len(column.values)
    is_few = n_different * ROWS_PER_CATEGORY <= column.n_rows
    if not 0 < len(column.name) <= MAX_TEXT:
        return "left out: its name is empty or too long"
    if n_different == 1:
        return "left out: constant"
    if DERIVED.fullmatch(column.name):
        return "left out: follows from the structure"
    if all(part.is_numeric for part in parts):
        return _kind_of_number(column, is_few)
    if (form := format_of(column, folder)) and not (form == "formula" and is_few and n_different <= MAX_CATEGORIES):
        return f"left out: another column of structures ({form})"
    if column.n_numbers > column.n_rows / 2:
        return "left out: numbers and text; leave the fields of missing numbers empty to use it"
    if is_few and n_different <= MAX_CATEGORIES and column.is_short:
        return "categorical"
    return f"left out: text with {n_different}{'' if column.is_unique or n_different < 1000 else ' or more'} different values"


def _kind_of_number(column: Column, is_few: bool) -> str:
    if column.numbers_rows:
        return "left out: numbers the rows"
    n_different = len(column.values)
    is_code = bool(CODES.search(column.name)) and n_different <= column.n_rows / 2
    is_plain = n_different <= MAX_CODES and is_few and not COUNTS.search(column.name)
    return "categorical" if column.is_integer and (is_code or is_plain) else "numeric"
