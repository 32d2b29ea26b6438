"""What the columns of a table hold, as far as one pass over their text shows."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from src.data.formats import file_in, is_structure_file
from src.data.formula import parse_formula
from src.data.rows import Row, number, read_rows
from src.data.task import MAX_TEXT, StructureFormat

N_EXAMPLES = 50  # fields of each column that are looked at closely
MAX_DIFFERENT = 1000  # values that are told apart in a column with duplicates
MAX_NUMBER = 1e100  # larger ones are no measurements
SURE = 0.9  # of the examples must be of a format
VECTOR = re.compile(r"\s*[-+.\dEe]+\s+[-+.\dEe]+\s+[-+.\dEe]+\s*")


@dataclass
class Column:
    """A column of a table.

    values: hashes of its different values; at most MAX_DIFFERENT if one is duplicated. examples: the first fields that are not
    empty. n_empty, n_numbers, n_integers: fields of the kind. low, high: of the numbers.
    """

    name: str
    values: set[int] = field(default_factory=set)
    examples: list[str] = field(default_factory=list)
    n_rows: int = 0
    n_empty: int = 0
    n_numbers: int = 0
    n_integers: int = 0
    low: float = float("inf")
    high: float = float("-inf")
    is_unique: bool = True

    def add(self, text: str) -> None:
        """Take note of a field."""
        self.n_rows += 1
        key = hash(text)
        if key in self.values:
            self.is_unique = False
        elif self.is_unique or len(self.values) < MAX_DIFFERENT:
            self.values.add(key)
        if not text.strip():
            self.n_empty += 1
            return
        if len(self.examples) < N_EXAMPLES:
            self.examples.append(text)
        if abs(value := number(text)) <= MAX_NUMBER:
            self.n_numbers += 1
            self.n_integers += value.is_integer()
            self.low, self.high = min(self.low, value), max(self.high, value)

    @property
    def is_numeric(self) -> bool:
        """True if every field is a number or empty."""
        return 0 < self.n_numbers == self.n_rows - self.n_empty

    @property
    def is_integer(self) -> bool:
        """True if every field is a whole number or empty."""
        return self.is_numeric and self.n_integers == self.n_numbers

    @property
    def is_short(self) -> bool:
        """True if no example is longer than the names in a task's description."""
        return max(map(len, self.examples), default=0) <= MAX_TEXT

    @property
    def numbers_rows(self) -> bool:
        """True for consecutive whole numbers, which say nothing about the rows."""
        return self.is_unique and self.is_integer and self.high - self.low + 1 == self.n_rows > 1


def columns_of(path: Path) -> tuple[dict[str, Column], list[Row]]:
    """Return the columns of a table by name, and its first N_EXAMPLES rows. Raises ValueError if it is no table."""
    columns: dict[str, Column] = {}
    first: list[Row] = []
    for row in tqdm(read_rows(path), f"looking at {path.name}", mininterval=1, delay=1):
        if not columns:
            columns = {name: Column(name) for name in row}
        if len(first) < N_EXAMPLES:
            first.append(row)
        for name, text in row.items():
            columns[name].add(text)
    return columns, first


def format_of(column: Column, folder: Path | None) -> StructureFormat | None:
    """Return the format of the structures in a column, None if it holds none. folder: of structure files."""
    tests: dict[StructureFormat, Iterable[bool]] = {
        "cif": ("_cell_length_a" in text for text in column.examples),
        "json": (text.lstrip().startswith("{") and '"lattice"' in text for text in column.examples),
        "poscar": map(_is_poscar, column.examples),
        "file": (folder is not None and _is_file(folder, text) for text in column.examples),
        "formula": map(_is_formula, column.examples),
    }
    needed = SURE * len(column.examples)
    return next((form for form, found in tests.items() if column.examples and sum(found) >= needed), None)


def _is_poscar(text: str) -> bool:
    lines = text.strip().splitlines()
    return len(lines) > 7 and number(lines[1]) == number(lines[1]) and all(map(VECTOR.fullmatch, lines[2:5]))


def _is_file(folder: Path, text: str) -> bool:
    try:
        return is_structure_file(Path(text)) and file_in(folder, text).is_file()
    except ValueError:
        return False


def _is_formula(text: str) -> bool:
    try:
        return bool(parse_formula(text))
    except ValueError:
        return False
