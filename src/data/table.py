"""Raw table -> CrystalTable. Crystals are parsed only here; a bad row is rejected with its id and the reason."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pymatgen.core import Element

from src.data.crystal import N_ELEMENTS, Crystal
from src.data.rows import MAX_NAMED, Row, number, read_rows
from src.data.task import Task
from src.storage.cache import in_chunks
from src.storage.ragged import RaggedStore

log = logging.getLogger(__name__)
LEVELS = {"lattice": "lattice", "frac_coords": "atom", "atomic_numbers": "atom"}
ROW_FIELDS = ("ids", "all_targets")  # of a stored table, one entry per row
MAX_ID = 200  # characters; ids are stored at the width of the longest
MAX_SHOWN = 300  # characters of a reason
CHUNK = 64  # rows that a process parses per task
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
    def element_counts(self) -> NDArray[np.int64]:
        """Number of atoms of each element, (n_crystals, N_ELEMENTS), by atomic number."""
        crystal = np.repeat(np.arange(len(self)), np.diff(self.store.offsets["atom"]))
        key = crystal * N_ELEMENTS + self.store.arrays["atomic_numbers"]
        return np.bincount(key, minlength=len(self) * N_ELEMENTS).reshape(-1, N_ELEMENTS)

    @classmethod
    def from_list(cls, crystals: list[Crystal]) -> "Crystals":
        """Return the sequence of the given crystals, stored in memory."""
        return cls(RaggedStore.from_items(LEVELS, [vars(crystal) for crystal in crystals]))


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


def read_table(path: Path, task: Task, has_target: bool, skip_bad_rows: bool = False, n_jobs: int = 1) -> CrystalTable:
    """Read a competition table.

    has_target: True for a training table, all targets of which must be finite numbers in every row.
    skip_bad_rows: leave out the bad rows of a training table and log them; rows of a test table are never left out.
    Raises ValueError listing the bad rows with ids and reasons.
    """
    needed = [task.id_column, task.structure_column, *(target.column for target in task.targets if has_target)]
    ids = []
    for row in read_rows(path):  # one pass over the whole file before any structure is parsed
        missing = [column for column in needed if column not in row]
        if missing:
            raise ValueError(f"{path}: no column {', '.join(map(repr, missing))}, named in task.toml; the header has {list(row)}")
        ids.append(row[task.id_column])
    parse = partial(parse_rows, task=task, has_target=has_target)
    chunks = in_chunks(parse, read_rows(path), len(ids), CHUNK, f"reading {path.name}", n_jobs)
    parsed = [row for chunk in chunks for row in chunk]
    reasons = [reason for _, _, reason in parsed]
    for i in np.flatnonzero(pd.Index(ids).duplicated()):
        reasons[i] = "; ".join(filter(None, [reasons[i], "duplicate id"]))
    bad = [i for i, reason in enumerate(reasons) if reason]
    if bad:
        messages = [f"record {i + 2}, {ids[i][:MAX_ID]!r}: {reasons[i]}" for i in bad]
        _refuse(path, messages, skippable=has_target, skip=skip_bad_rows)
    kept = [i for i, reason in enumerate(reasons) if not reason]
    if not kept:
        raise ValueError(f"{path}: no rows are left")
    crystals = Crystals.from_list([crystal for i in kept if (crystal := parsed[i][0]) is not None])
    values = np.array([parsed[i][1] for i in kept]) if has_target else None
    e_form = None if values is None else values[:, task.target_idx]
    return CrystalTable(np.array([ids[i] for i in kept]), crystals, e_form, values)


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


def parse_rows(rows: Sequence[Row], task: Task, has_target: bool) -> list[tuple[Crystal | None, list[float], str]]:
    """Return for each row the crystal, the targets (none in a test table) and what is wrong with it ('' if nothing is)."""
    parsed = []
    for row in rows:
        crystal, reasons = None, []
        try:
            crystal = Crystal.from_cif(row[task.structure_column])
            reasons += _contradictions(crystal, row)
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
        parsed.append((crystal, values, text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]} ..."))
    return parsed


def _flaws_of_id(text: str, column: str) -> list[str]:
    """Return the reasons why an id cannot be written, read and compared unchanged."""
    if not text:
        return [f"empty {column!r}"]
    if text != text.strip() or not text.isprintable():
        return [f"{column!r} has leading or trailing spaces, line breaks or control characters"]
    return [f"{column!r} has {len(text)} characters; the limit is {MAX_ID}"] if len(text) > MAX_ID else []


def _contradictions(crystal: Crystal, row: Row) -> list[str]:
    """Return the contradictions between the structure and the count columns (element symbols and nsites)."""
    counts = crystal.element_counts
    listed = {symbol: z for symbol, z in SYMBOLS.items() if symbol in row}
    wrong = [f"{s}={row[s]!r} but {counts[z]} in the structure" for s, z in listed.items() if number(row[s]) != counts[z]]
    if listed:
        absent = [z for z in np.flatnonzero(counts) if z not in listed.values()]
        wrong += [f"no count column for {Element.from_Z(z).symbol}" for z in absent]
    if "nsites" in row and number(row["nsites"]) != crystal.n_atoms:
        wrong.append(f"nsites={row['nsites']!r} but {crystal.n_atoms} atoms in the structure")
    return [f"composition contradicts the counts: {', '.join(wrong)}"] if wrong else []
