"""Structure files, folders and tables of unknown crystals -> crystals, each with its name or the reason why it is unreadable."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from src.data.crystal import Crystal
from src.data.formats import KINDS, crystal_in, format_of, reason, structures_in, to_crystal
from src.data.rows import TABLE_SUFFIXES, Row, read_rows, table_suffix
from src.data.table import Crystals, frame_of, parse_fields, parse_rows, structures_folder, texts_of
from src.data.task import MAX_TEXT, ColumnNames, StructureFormat, Task
from src.storage.cache import in_chunks

if TYPE_CHECKING:
    import pandas as pd

FILES_PER_TASK = 32  # files or rows that a process reads per task
N_LOOKED_AT = 10  # rows that tell the format of a foreign table


class Found(NamedTuple):
    """A crystal, or the reason why there is none. fields: of the further columns that its table has, as text."""

    name: str
    crystal: Crystal | None
    reason: str = ""
    fields: Mapping[str, str] = MappingProxyType({})


class Source(NamedTuple):
    """A file, or a row of a table. reason: why it cannot be read, if that is known already. form: of a row's structure."""

    name: str
    path: Path
    row: Row | None = None
    reason: str = ""
    form: StructureFormat = "cif"


def read_structures(
    paths: Iterable[Path], task: Task, n_jobs: int = 1, is_foreign: bool = False, without: Path | None = None
) -> list[Found]:
    """Return every structure in the files, in order; for a folder, all files of known kinds, by name, including subfolders.

    task: names the columns of ids and structures in tables; a target is not needed. is_foreign: the format of structures in
    tables is detected, and no other columns are compared with them. without: a file that is left out, wherever it is.
    """
    every = (source for path in paths for source in _sources(path, task, is_foreign))
    sources = [source for source in every if without is None or source.path.resolve() != without.resolve()]
    chunks = in_chunks(
        partial(_read_chunk, task), sources, len(sources), FILES_PER_TASK, "reading structures", n_jobs, worth_workers=200
    )
    return [found for chunk in chunks for found in chunk]


def _sources(path: Path, task: Task, is_foreign: bool) -> Iterator[Source]:
    """Yield the files in a folder, the rows of a table, or a single file."""
    if path.is_dir():
        files = [file for file in sorted(path.rglob("*")) if _is_known(file) and file.is_file()]
        if not files:
            yield Source(str(path), path, reason="no structure files in this folder")
        for file in files:
            yield from _sources(file, task, is_foreign)
    elif not path.is_file():
        yield Source(str(path), path, reason="no such file")
    elif not _is_known(path):
        yield Source(str(path), path, reason=f"not a kind of file that is read: {', '.join((*KINDS, *TABLE_SUFFIXES))}")
    elif table_suffix(path):
        yield from _rows(path, task, is_foreign)
    else:
        yield Source(str(path), path)


def _rows(path: Path, task: Task, is_foreign: bool) -> Iterator[Source]:
    needed = [task.id_column, task.structure_column]
    try:
        form = _format(path, task) if is_foreign else task.structure_format
        for row in read_rows(path):
            if missing := [column for column in needed if column not in row]:
                what = f"no column {', '.join(map(repr, missing))}; the header has {list(row)[:20]}"
                raise ValueError(f"{what}: name the columns of ids and structures with --id and --structure")
            known = {name: row[name] for name in (*needed, *task.columns.all) if name in row}
            yield Source(row[task.id_column], path, known if is_foreign else row, form=form)
    except ValueError as error:
        yield Source(str(path), path, reason=str(error))


def _format(path: Path, task: Task) -> StructureFormat:
    """Return the format in which structures of the first rows can be read; the task's if there is none."""
    texts = [row.get(task.structure_column, "") for row in islice(read_rows(path), N_LOOKED_AT)]
    for form in (task.structure_format, *get_args(StructureFormat)):
        for text in texts:
            with suppress(ValueError):
                if crystal_in(text, form, path.parent):
                    return form
    return task.structure_format


def _is_known(path: Path) -> bool:
    return not path.name.startswith(".") and bool(table_suffix(path) or format_of(path))


def _read_chunk(task: Task, chunk: Sequence[Source]) -> list[Found]:
    found: list[Found] = []
    for source in chunk:
        if source.row is not None:
            own = replace(task, structure_format=source.form)
            (row,) = parse_rows([source.row], own, has_target=False, folder=structures_folder(own, source.path))
            fields = {name: source.row[name] for name in task.columns.all if name in source.row}
            found.append(Found(source.name, None if row.reason else row.crystal, row.reason, fields))
        else:
            found += [Found(source.name, None, source.reason)] if source.reason else _read_file(source)
    return found


def _read_file(source: Source) -> list[Found]:
    """Return the structures of a file; if it holds several, their names or numbers in it are added to its name."""
    try:
        entries = structures_in(source.path)
    except ValueError as error:
        return [Found(source.name, None, reason(error))]
    own = [entry.name[:MAX_TEXT] for entry in entries]
    are_names = all(own) and len(set(own)) == len(own)
    ends = [f"#{name if are_names else i}" for i, name in enumerate(own)] if len(own) > 1 else [""]
    return [_found(source.name + end, entry.crystal) for end, entry in zip(ends, entries, strict=True)]


def checked(name: str, structure: Any) -> Found:
    """Return the crystal of a structure, or the reason why there is none."""
    return _found(name, partial(to_crystal, structure))


def _found(name: str, crystal: Callable[[], Crystal]) -> Found:
    try:
        return Found(name, crystal())
    except ValueError as error:
        return Found(name, None, reason(error))


def with_fields(found: Sequence[Found], columns: "pd.DataFrame", names: ColumnNames) -> list[Found]:
    """Return the structures with the fields of further columns, a row of `columns` for each.

    Raises ValueError if the numbers of rows differ, and like `texts_of`.
    """
    if len(columns) != len(found):
        raise ValueError(f"columns: {len(columns)} rows for {len(found)} structures; give a row for each structure")
    return [one._replace(fields=fields) for one, fields in zip(found, texts_of(columns, names), strict=True)]


def crystals_of(found: Sequence[Found], names: ColumnNames) -> Crystals:
    """Return the crystals with further columns. Raises ValueError if a field of any of them is missing or wrong."""
    fields, flaws = zip(*(parse_fields(one.fields, names) for one in found), strict=True)
    if flaw := next(filter(None, flaws), ""):
        raise ValueError(flaw)
    crystals = [one.crystal for one in found if one.crystal is not None]
    return Crystals.from_list(crystals, frame_of(fields, names) if names.all else None)
