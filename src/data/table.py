"""Raw table -> CrystalTable. Crystals are parsed only here; a bad row is rejected with its id and the reason."""

import logging
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Element

from src.data.columns import ColumnNames, Field, columns_of, frame_of, parse_fields, with_columns
from src.data.crystal import N_ELEMENTS, Crystal
from src.data.formats import MAX_REASON, crystal_in_file, crystal_in_text
from src.data.rows import MAX_NAMED, Row, number, read_rows
from src.data.task import Task
from src.storage.cache import in_chunks
from src.storage.ragged import RaggedStore

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)
LEVELS = {"lattice": "lattice", "frac_coords": "atom", "atomic_numbers": "atom"}
ROW_FIELDS = ("ids", "all_targets")  # of a stored table, one entry per row
MAX_ID = 200  # characters; ids are stored at the width of the longest
CHUNK = 64  # rows that a process parses per task
SLACK = 2e-3  # of all atoms, by which counts of elements may differ from a formula: both may be rounded
SYMBOLS = {Element.from_Z(z).symbol: z for z in range(1, N_ELEMENTS)}


class Crystals:
    """Sequence of crystals in a RaggedStore, each created on access."""

    def __init__(self, store: RaggedStore) -> None:
        self.store = store

    def __len__(self) -> int:
        return len(self.store)

    def __getitem__(self, i: int) -> Crystal:
        item = self.store.item(i)
        return Crystal(**{name: item[name] for name in LEVELS})

    def name(self, i: int) -> str:
        """Return the name of crystal i in messages: its id if the table has one, otherwise its number."""
        ids = self.store.arrays.get("ids")
        return f"crystal number {i}" if ids is None else f"crystal {str(ids[i])!r}"

    @property
    def has_structure(self) -> bool:
        """True if all crystals have a structure, False if there are formulas among them."""
        return self.store.offsets["lattice"][-1] == 3 * len(self)

    def check_structures(self, what: str) -> None:
        """Raise ValueError, which names the first crystal that is a formula alone. what: needs structures."""
        if not self.has_structure:
            first = int(np.flatnonzero(np.diff(self.store.offsets["lattice"]) == 0)[0])
            raise ValueError(f"{what}: a structure is needed, and {self.name(first)} is a formula alone")

    @property
    def element_counts(self) -> NDArray[np.int64]:
        """Number of atoms of each element, (n_crystals, N_ELEMENTS), by atomic number."""
        crystal = np.repeat(np.arange(len(self)), np.diff(self.store.offsets["atom"]))
        key = crystal * N_ELEMENTS + self.store.arrays["atomic_numbers"]
        return np.bincount(key, minlength=len(self) * N_ELEMENTS).reshape(-1, N_ELEMENTS)

    @property
    def columns(self) -> "pd.DataFrame | None":
        """Further columns of the table, (n_crystals, n_columns), see src/data/columns.py; None if there are none."""
        return columns_of(self.store)

    @classmethod
    def from_list(cls, crystals: list[Crystal], columns: "pd.DataFrame | None" = None) -> "Crystals":
        """Return the sequence of the given crystals and their further columns, stored in memory."""
        store = RaggedStore.from_items(LEVELS, [vars(crystal) for crystal in crystals])
        return cls(store if columns is None else with_columns(store, columns))


@dataclass(frozen=True, eq=False)
class CrystalTable:
    """Parsed rows of a training or test table.

    ids: (n_crystals,).
    e_form: (n_crystals,), eV/atom or the task's unit; None in a test table.
    all_targets: (n_crystals, n_targets), all targets of the task, of which e_form is one; stored, so that a table is parsed once.
    """

    ids: NDArray[np.str_]
    crystals: Crystals
    e_form: NDArray[np.float64] | None
    all_targets: NDArray[np.float64] | None = None

    @property
    def targets(self) -> NDArray[np.float64]:
        """e_form of a training table, (n_crystals,); raises ValueError for a test table, which has none."""
        if self.e_form is None:
            raise ValueError("a test table has no targets")
        return self.e_form

    def to_store(self) -> RaggedStore:
        """Return the table as a store, which can be saved; `from_store` is the inverse."""
        store, rows = self.crystals.store, {name: values for name in ROW_FIELDS if (values := getattr(self, name)) is not None}
        offsets = {**store.offsets, "row": np.arange(len(self.ids) + 1)}
        return RaggedStore({**store.arrays, **rows}, offsets, {**store.levels, **dict.fromkeys(rows, "row")})

    @classmethod
    def from_store(cls, store: RaggedStore, target_idx: int = 0) -> "CrystalTable":
        """Return the table that `to_store` wrote. target_idx: the column of all_targets that is e_form."""
        values = store.arrays.get("all_targets")
        e_form = None if values is None else np.array(values[:, target_idx])
        return cls(np.array(store.arrays["ids"]), Crystals(store), e_form, values)


class Parsed(NamedTuple):
    """What a row holds.

    targets: none in a test table. reason: what is wrong with the row, '' if nothing is. further: fields of its further columns.
    """

    crystal: Crystal | None
    targets: list[float]
    reason: str
    further: tuple[Field, ...] = ()


def read_table(path: Path, task: Task, has_target: bool, skip_bad_rows: bool = False, n_jobs: int = 1) -> CrystalTable:
    """Read a competition table.

    has_target: True for a training table, all targets of which must be finite numbers in every row.
    skip_bad_rows: leave out the bad rows of a training table and log them; rows of a test table are never left out.
    Raises ValueError listing the bad rows with ids and reasons.
    """
    ids, parsed = parse_table(path, task, has_target, n_jobs)
    bad = [i for i, row in enumerate(parsed) if row.reason]
    if bad:
        messages = [f"record {i + 2}, {ids[i][:MAX_ID]!r}: {parsed[i].reason}" for i in bad]
        _refuse(path, messages, skippable=has_target, skip=skip_bad_rows)
    kept = [i for i, row in enumerate(parsed) if not row.reason]
    if not kept:
        raise ValueError(f"{path}: no rows are left")
    names = ColumnNames.of(task)
    columns = frame_of([parsed[i].further for i in kept], names) if names.all else None
    crystals = Crystals.from_list([crystal for i in kept if (crystal := parsed[i].crystal) is not None], columns)
    values = np.array([parsed[i].targets for i in kept]) if has_target else None
    e_form = None if values is None else values[:, task.target_idx]
    return CrystalTable(np.array([ids[i] for i in kept]), crystals, e_form, values)


def parse_table(path: Path, task: Task, has_target: bool, n_jobs: int = 1) -> tuple[list[str], list[Parsed]]:
    """Return the ids of a table and what its rows hold, or what is wrong with them.

    Raises ValueError if it is no table, or if it lacks a column that task.toml names.
    """
    check_header(path, task, has_target)
    names = ColumnNames.of(task)
    ids, further = [], []
    for row in read_rows(path):  # one pass over the whole file before any structure is parsed
        ids.append(row[task.id_column])
        further.append(parse_fields(row, names))
    parse = partial(parse_rows, task=task, has_target=has_target, folder=structures_folder(task, path))
    chunks = in_chunks(parse, read_rows(path), len(ids), CHUNK, f"reading {path.name}", n_jobs)
    parsed = [row for chunk in chunks for row in chunk]
    seen: set[str] = set()
    for i, (fields, flaw) in enumerate(further):
        reasons = parsed[i].reason, flaw, "duplicate id" if ids[i] in seen else ""
        seen.add(ids[i])
        parsed[i] = parsed[i]._replace(reason="; ".join(filter(None, reasons)), further=fields)
    return ids, parsed


def check_header(path: Path, task: Task, has_target: bool) -> None:
    """Raise ValueError if a table lacks a column that task.toml names; only its first row is read."""
    first = next(read_rows(path))
    targets = [target.column for target in task.targets if has_target]
    needed = [task.id_column, task.structure_column, *targets, *ColumnNames.of(task).all]
    if missing := [column for column in needed if column not in first]:
        raise ValueError(f"{path}: no column {', '.join(map(repr, missing))}, named in task.toml; the header has {list(first)}")


def structures_folder(task: Task, table: Path) -> Path | None:
    """Return the folder that the names in a table are relative to; None if the table names no files.

    For tables inside the task's folder it is the one that task.toml names, for others their own folder.
    """
    if task.structure_format != "file":
        return None
    inside = table.resolve().is_relative_to(task.folder.resolve())
    return task.path("structures") if inside else table.parent


def _refuse(path: Path, messages: list[str], skippable: bool, skip: bool) -> None:
    shown = "\n  ".join(messages[:MAX_NAMED])
    more = f"\n  and {len(messages) - MAX_NAMED} more" if len(messages) > MAX_NAMED else ""
    text = f"{path}: {len(messages)} bad rows\n  {shown}{more}"
    if not (skippable and skip):
        remedy = (
            "correct them, or leave them out with --skip-bad-rows" if skippable else "a test row is never left out: correct them"
        )
        raise ValueError(f"{text}\n{remedy}")
    log.warning("%s\nthese rows are left out", text)


def parse_rows(rows: Sequence[Row], task: Task, has_target: bool, folder: Path | None = None) -> list[Parsed]:
    """Return what each row holds. folder: that of the structure files, if the rows name files."""
    parsed = []
    for row in rows:
        crystal, reasons = None, []
        try:
            crystal = _crystal(row[task.structure_column], task, folder)
            reasons += contradictions(crystal, row, (*task.numeric_columns, *task.categorical_columns))
        except ValueError as error:
            reasons.append(f"unreadable structure in {task.structure_column!r} ({error})")
        reasons += _flaws_of_id(row[task.id_column], task.id_column)
        columns = [target.column for target in task.targets if has_target]
        values = [number(row[column]) for column in columns]
        reasons += [
            f"{column!r} is {row[column][:MAX_ID]!r}, not a finite number"
            for column, value in zip(columns, values, strict=True)
            if not math.isfinite(value)
        ]
        text = "; ".join(reasons).replace("\n", " ")
        parsed.append(Parsed(crystal, values, text if len(text) <= MAX_REASON else f"{text[:MAX_REASON]} ..."))
    return parsed


def _crystal(text: str, task: Task, folder: Path | None) -> Crystal:
    return crystal_in_text(text, task.structure_format) if folder is None else crystal_in_file(folder, text)


def _flaws_of_id(text: str, column: str) -> list[str]:
    """Return the reasons why an id cannot be written, read and compared unchanged."""
    if not text:
        return [f"empty {column!r}"]
    if text != text.strip() or not text.isprintable():
        return [f"{column!r} has leading or trailing spaces, line breaks or control characters"]
    return [f"{column!r} has {len(text)} characters; the limit is {MAX_ID}"] if len(text) > MAX_ID else []


def contradictions(crystal: Crystal, row: Row, other: Collection[str] = ()) -> list[str]:
    """Return the contradictions between a crystal and the count columns (element symbols and nsites).

    A formula is only compared with the proportions of the elements. other: columns that count nothing, whatever their names.
    """
    counts = crystal.element_counts
    listed = {symbol: z for symbol, z in SYMBOLS.items() if symbol in row and symbol not in other}
    written = {symbol: number(row[symbol]) for symbol in listed}
    total = sum(written.values())
    factor, slack, where = (
        (1.0, 0.0, "structure") if crystal.has_structure else (total / crystal.n_atoms, SLACK * total, "formula")
    )
    wrong = [
        f"{symbol}={row[symbol]!r} but {counts[z]} in the {where}"
        for symbol, z in listed.items()
        if not abs(written[symbol] - counts[z] * factor) <= slack
    ]
    if listed:
        absent = [z for z in np.flatnonzero(counts) if z not in listed.values()]
        wrong += [f"no count column for {Element.from_Z(z).symbol}" for z in absent]
    if crystal.has_structure and "nsites" in row and "nsites" not in other and number(row["nsites"]) != crystal.n_atoms:
        wrong.append(f"nsites={row['nsites']!r} but {crystal.n_atoms} atoms in the structure")
    return [f"composition contradicts the counts: {', '.join(wrong)}"] if wrong else []
