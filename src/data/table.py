"""Raw table -> CrystalTable. Crystals are parsed only here; a bad row is rejected with its id and the reason."""

import logging
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Element

from src.data.crystal import N_ELEMENTS, Crystal
from src.data.formats import MAX_REASON, crystal_in
from src.data.rows import MAX_ROWS_NAMED, Row, number, read_rows
from src.data.task import ColumnNames, Task
from src.storage.cache import in_chunks
from src.storage.ragged import RaggedStore

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)
CRYSTAL_LEVELS = {"lattice": "lattice", "frac_coords": "atom", "atomic_numbers": "atom", "mixtures": "mixture"}
ROW_FIELDS = ("ids", "all_targets")  # of a stored table, one entry per row
MAX_ID = 200  # characters; ids are stored at the width of the longest
ROWS_PER_TASK = 64  # rows that a process parses per task
SLACK = 2e-3  # of all atoms, by which counts of elements may differ from a formula: both may be rounded
COLUMN_FIELDS = {"numeric": "row", "categorical": "row", "column_names": "column"}  # of a store -> level; one item has all names
MAX_NUMBER = 1e100  # so that no square and no sum of squares overflows
MAX_CATEGORY = 200  # characters; categories are stored at the width of the longest
Field = float | str  # of a further column: a number, or a category
NO_COLUMNS = ColumnNames((), ())
DUPLICATE = "duplicate id"  # reason why a row is bad
SYMBOLS = {Element.from_Z(z).symbol: z for z in range(1, N_ELEMENTS)}


def parse_fields(row: Mapping[str, str], names: ColumnNames) -> tuple[tuple[Field, ...], str]:
    """Return the fields of a row and what is wrong with them ('' if nothing).

    A number is NaN if its field is empty. A category is text without spaces around it, and '' if it is missing.
    """
    fields: list[Field] = []
    flaws: list[str] = []
    for name in names.all:
        text, is_numeric = row.get(name), name in names.numeric
        fields.append(number(text or "") if is_numeric else (text or "").strip())
        if text is None:
            flaws.append(f"no column {name!r}, which the models were trained with; predict from a table that has it")
        elif is_numeric and text.strip() and not abs(number(text)) <= MAX_NUMBER:
            known = f"{name!r} is {text[:MAX_CATEGORY]!r}, not a number up to {MAX_NUMBER:g}"
            flaws.append(f"{known}; leave the field empty if it is unknown")
        elif len(text) > MAX_CATEGORY:
            flaws.append(f"{name!r} has {len(text)} characters; the limit is {MAX_CATEGORY}")
    return tuple(fields), "; ".join(flaws)


def frame_of(fields: Sequence[tuple[Field, ...]], names: ColumnNames) -> "pd.DataFrame":
    """Return the fields of several rows as a table, (n_rows, n_columns): numbers as float64, categories as text."""
    import pandas as pd  # half a second, which the processes that read structures do without

    kinds = {**dict.fromkeys(names.numeric, np.float64), **dict.fromkeys(names.categorical, object)}
    return pd.DataFrame(fields, columns=list(names.all), dtype=object).astype(kinds)


def texts_of(columns: "pd.DataFrame", names: ColumnNames) -> list[dict[str, str]]:
    """Return the fields of each row of a data frame as they would be in a table; missing values become ''.

    Raises ValueError if one of the columns is missing, or if categories are numbers with a decimal point.
    """
    if missing := [name for name in names.all if name not in columns]:
        raise ValueError(f"columns: no {', '.join(map(repr, missing))}, which the models were trained with")
    for name in names.categorical:
        if columns[name].dtype.kind == "f" and columns[name].notna().any():
            raise ValueError(f"columns: the categories {name!r} are numbers with a decimal point; give the texts of the table")
    chosen = columns[list(names.all)]
    texts = chosen.astype(str).where(chosen.notna(), "")
    return [dict(zip(names.all, row, strict=True)) for row in texts.itertuples(index=False, name=None)]


class Crystals:
    """Sequence of crystals in a RaggedStore, each created on access."""

    def __init__(self, store: RaggedStore) -> None:
        self.store = store

    def __len__(self) -> int:
        return len(self.store)

    def __getitem__(self, i: int) -> Crystal:
        item = self.store.item(i)
        return Crystal(**{name: item[name] for name in CRYSTAL_LEVELS})

    def name(self, i: int) -> str:
        """Return the name of crystal i in messages: its id if the table has one, otherwise its number."""
        ids = self.store.arrays.get("ids")
        return f"crystal number {i}" if ids is None else f"crystal {str(ids[i])!r}"

    @property
    def has_structure(self) -> bool:
        """True if all crystals have a structure, False if there are formulas among them."""
        return self.store.offsets["lattice"][-1] == 3 * len(self)

    def check_structures(self, what: str) -> None:
        """Raise ValueError, which names the first crystal that is only a formula. what: needs structures."""
        if not self.has_structure:
            first = int(np.flatnonzero(np.diff(self.store.offsets["lattice"]) == 0)[0])
            raise ValueError(f"{what}: a structure is needed, and {self.name(first)} is a formula alone")

    @property
    def is_disordered(self) -> NDArray[np.bool_]:
        """True for crystals with mixed or partly vacant sites, (n_crystals,); formulas have none."""
        return (np.diff(self.store.offsets["mixture"]) > 0) & (np.diff(self.store.offsets["lattice"]) > 0)

    @property
    def element_counts(self) -> NDArray[Any]:
        """Number of atoms of each element, (n_crystals, N_ELEMENTS), by atomic number; floats if there are mixtures."""
        crystal = np.repeat(np.arange(len(self)), np.diff(self.store.offsets["atom"]))
        number = self.store.arrays["atomic_numbers"]
        key = (crystal * N_ELEMENTS + number)[number < N_ELEMENTS]
        counts = np.bincount(key, minlength=len(self) * N_ELEMENTS).reshape(-1, N_ELEMENTS)
        if len(key) == len(number):
            return counts
        mixed = crystal[number >= N_ELEMENTS]
        row = self.store.offsets["mixture"][mixed] + number[number >= N_ELEMENTS] - N_ELEMENTS
        total = counts.astype(np.float64)
        np.add.at(total, mixed, self.store.arrays["mixtures"][row])
        return total

    @property
    def columns(self) -> "pd.DataFrame | None":
        """Further columns of the table, (n_crystals, n_columns), numeric ones first; None if there are none."""
        if "column_names" not in self.store.arrays:
            return None
        import pandas as pd  # see `frame_of`

        numeric, categorical, names = (np.array(self.store.arrays[name]) for name in COLUMN_FIELDS)
        n = numeric.shape[1]
        parts = pd.DataFrame(numeric, columns=names[:n]), pd.DataFrame(categorical.astype(object), columns=names[n:])
        return pd.concat(parts, axis=1)

    @classmethod
    def from_list(cls, crystals: list[Crystal], columns: "pd.DataFrame | None" = None) -> "Crystals":
        """Return the sequence of the given crystals and their further columns, stored in memory."""
        store = RaggedStore.from_items(CRYSTAL_LEVELS, [vars(crystal) for crystal in crystals])
        if columns is None:
            return cls(store)
        numeric, categorical = columns.select_dtypes("number"), columns.select_dtypes(exclude="number")
        names = np.array([*numeric.columns, *categorical.columns], dtype=np.str_)
        arrays = dict(zip(COLUMN_FIELDS, (numeric.to_numpy(np.float64), categorical.to_numpy(np.str_), names), strict=True))
        offsets = {"row": np.arange(len(columns) + 1), "column": np.append(0, np.full(len(columns), len(names)))}
        return cls(RaggedStore({**store.arrays, **arrays}, {**store.offsets, **offsets}, {**store.levels, **COLUMN_FIELDS}))


@dataclass(frozen=True, eq=False)
class CrystalTable:
    """Parsed rows of a training or test table.

    ids: (n_crystals,).
    target: (n_crystals,), eV/atom or the task's unit; None in a test table.
    all_targets: (n_crystals, n_targets), all targets of the task, `target` among them; stored, so that a table is parsed once.
    """

    ids: NDArray[np.str_]
    crystals: Crystals
    target: NDArray[np.float64] | None
    all_targets: NDArray[np.float64] | None = None

    @property
    def targets(self) -> NDArray[np.float64]:
        """target of a training table, (n_crystals,); raises ValueError for a test table, which has none."""
        if self.target is None:
            raise ValueError("a test table has no targets")
        return self.target

    def to_store(self) -> RaggedStore:
        """Return the table as a store, which can be saved; `from_store` is the inverse."""
        store, rows = self.crystals.store, {name: values for name in ROW_FIELDS if (values := getattr(self, name)) is not None}
        offsets = {**store.offsets, "row": np.arange(len(self.ids) + 1)}
        return RaggedStore({**store.arrays, **rows}, offsets, {**store.levels, **dict.fromkeys(rows, "row")})

    @classmethod
    def from_store(cls, store: RaggedStore, target_idx: int = 0) -> "CrystalTable":
        """Return the table that `to_store` wrote. target_idx: the column of all_targets that is `target`."""
        values = store.arrays.get("all_targets")
        target = None if values is None else np.array(values[:, target_idx])
        return cls(np.array(store.arrays["ids"]), Crystals(store), target, values)


class Parsed(NamedTuple):
    """The content of a row.

    targets: none in a test table. reason: what is wrong with the row, '' if nothing. further: fields of its further columns.
    """

    crystal: Crystal | None
    targets: list[float]
    reason: str
    further: tuple[Field, ...] = ()

    @property
    def is_unread(self) -> bool:
        """True if only the structure of the row is wrong."""
        return self.crystal is None and DUPLICATE not in self.reason


def read_table(path: Path, task: Task, has_target: bool, skip_bad_rows: bool = False, n_jobs: int = 1) -> CrystalTable:
    """Read a competition table.

    has_target: True for a training table, all targets of which must be finite numbers, or classes, in every row.
    skip_bad_rows: leave out the bad rows of a training table and log them. Rows of a test table whose structure cannot be
    read are always left out, because a contest's table cannot be corrected.
    Raises ValueError listing the bad rows with ids and reasons.
    """
    ids, parsed = parse_table(path, task, has_target, n_jobs)
    if bad := bad_rows(ids, parsed):
        more = [f"and {len(bad) - MAX_ROWS_NAMED} more"] if len(bad) > MAX_ROWS_NAMED else []
        text = "\n  ".join([f"{path}: {len(bad)} bad rows", *bad[:MAX_ROWS_NAMED], *more])
        if not has_target:
            if not all(row.is_unread for row in parsed if row.reason):
                raise ValueError(f"{text}\na test row is never left out: correct them")
            log.warning("%s\nsubmit.py predicts these test rows from their formulas alone", text)
        elif not skip_bad_rows:
            raise ValueError(f"{text}\ncorrect them, or leave them out with --skip-bad-rows")
        else:
            log.warning("%s\nthese rows are left out", text)
    kept = [i for i, row in enumerate(parsed) if not row.reason]
    if not kept:
        raise ValueError(f"{path}: no rows are left")
    columns = frame_of([parsed[i].further for i in kept], task.columns) if task.columns.all else None
    crystals = Crystals.from_list([crystal for i in kept if (crystal := parsed[i].crystal) is not None], columns)
    values = np.array([parsed[i].targets for i in kept]) if has_target else None
    target = None if values is None else values[:, task.targets.index(task.target)]
    return CrystalTable(np.array([ids[i] for i in kept]), crystals, target, values)


def bad_rows(ids: Sequence[str], parsed: Sequence[Parsed]) -> list[str]:
    """Return a line for each bad row: record, id and reasons."""
    return [f"record {i + 2}, {ids[i][:MAX_ID]!r}: {row.reason}" for i, row in enumerate(parsed) if row.reason]


def parse_table(path: Path, task: Task, has_target: bool, n_jobs: int = 1) -> tuple[list[str], list[Parsed]]:
    """Return the ids of a table and the contents of its rows, or what is wrong with them.

    Raises ValueError if it is not a table, or if it lacks a column that task.toml names.
    """
    check_header(path, task, has_target)
    ids = [row[task.id_column] for row in read_rows(path)]  # one pass over the whole file before any structure is parsed
    parse = partial(parse_rows, task=task, has_target=has_target, folder=structures_folder(task, path), columns=task.columns)
    chunks = in_chunks(parse, read_rows(path), len(ids), ROWS_PER_TASK, f"reading {path.name}", n_jobs)
    parsed = [row for chunk in chunks for row in chunk]
    first = {own: i for i, own in reversed(list(enumerate(ids)))}
    for i in set(range(len(ids))) - set(first.values()):
        parsed[i] = parsed[i]._replace(reason="; ".join(filter(None, (parsed[i].reason, DUPLICATE))))
    return ids, parsed


def check_header(path: Path, task: Task, has_target: bool) -> None:
    """Raise ValueError if a table lacks a column that task.toml names; only its first row is read."""
    first = next(read_rows(path))
    targets = [target.column for target in task.targets if has_target]
    needed = [task.id_column, task.structure_column, *targets, *task.columns.all]
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


def parse_rows(
    rows: Sequence[Row], task: Task, has_target: bool, folder: Path | None = None, columns: ColumnNames = NO_COLUMNS
) -> list[Parsed]:
    """Return the content of each row. folder: of the structure files, if the rows name files. columns: further ones to read."""
    targets = [target.column for target in task.targets if has_target]
    wanted = task.wanted_of_targets
    parsed = []
    for row in rows:
        crystal, reasons = None, []
        try:
            crystal = crystal_in(row[task.structure_column], task.structure_format, folder)
            reasons += contradictions(crystal, row, task.columns.all)
        except ValueError as error:
            reasons.append(f"unreadable structure in {task.structure_column!r} ({error})")
        reasons += _flaws_of_id(row[task.id_column], task.id_column)
        values = [task.class_number(row[name]) if task.of_classes else number(row[name]) for name in targets]
        bad = [name for name, value in zip(targets, values, strict=True) if not math.isfinite(value)]
        reasons += [f"{name!r} is {row[name][:MAX_ID]!r}, not {wanted}" for name in bad]
        fields, flaw = parse_fields(row, columns)
        text = "; ".join(filter(None, [*reasons, flaw])).replace("\n", " ")
        parsed.append(Parsed(crystal, values, text if len(text) <= MAX_REASON else f"{text[:MAX_REASON]} ...", fields))
    return parsed


def _flaws_of_id(text: str, column: str) -> list[str]:
    """Return the reasons why an id cannot be written, read and compared unchanged."""
    if not text:
        return [f"empty {column!r}"]
    if text != text.strip() or not text.isprintable():
        return [f"{column!r} has leading or trailing spaces, line breaks or control characters"]
    return [f"{column!r} has {len(text)} characters; the limit is {MAX_ID}"] if len(text) > MAX_ID else []


def contradictions(crystal: Crystal, row: Row, other: Collection[str] = ()) -> list[str]:
    """Return the contradictions between a crystal and the count columns (element symbols and nsites).

    For a formula, only the proportions of the elements are compared. other: columns that are not counts, whatever their names.
    """
    counts = crystal.element_counts
    listed = {symbol: z for symbol, z in SYMBOLS.items() if symbol in row and symbol not in other}
    written = {symbol: number(row[symbol]) for symbol in listed}
    factor, slack, where = 1.0, SLACK * counts.sum() if len(crystal.mixtures) else 0.0, "structure"
    if not crystal.has_structure:
        total = sum(written.values())
        factor, slack, where = total / counts.sum(), SLACK * total, "formula"
    differ = [symbol for symbol, z in listed.items() if not abs(written[symbol] - counts[z] * factor) <= slack]
    wrong = [f"{symbol}={row[symbol]!r} but {counts[listed[symbol]]} in the {where}" for symbol in differ]
    if listed:
        wrong += [f"no count column for {symbol}" for symbol, z in SYMBOLS.items() if counts[z] and symbol not in listed]
    if crystal.has_structure and "nsites" in row and "nsites" not in other and number(row["nsites"]) != crystal.n_atoms:
        wrong.append(f"nsites={row['nsites']!r} but {crystal.n_atoms} atoms in the structure")
    return [f"composition contradicts the counts: {', '.join(wrong)}"] if wrong else []
