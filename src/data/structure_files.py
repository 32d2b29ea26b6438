"""The structure files that a table names: where they lie, and a hash of their contents."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from src.data.formats import file_in
from src.data.rows import read_rows
from src.data.task import Task

WORTH_A_BAR = 2000  # files


def structures_folder(task: Task, table: Path) -> Path | None:
    """Return the folder that the names in a table are relative to; None if the table names no files.

    For tables inside the task's folder it is the one that task.toml names, for others their own folder.
    """
    if task.structure_format != "file":
        return None
    inside = table.resolve().is_relative_to(task.folder.resolve())
    return task.path("structures") if inside else table.parent


def structures_key(task: Task, table: Path) -> list[str]:
    """Return what shapes the crystals of a table besides its own content: the format and, of files, a hash of all of them.

    It is empty for CIF, so that the keys of tasks that know no other format stay as they are.
    """
    if task.structure_format == "cif":
        return []
    folder = structures_folder(task, table)
    return [
        task.structure_format,
        *([] if folder is None else [_hash_of_files(folder, names_of_files(table, task.structure_column))]),
    ]


def names_of_files(table: Path, column: str) -> list[str]:
    """Return the names in the structure column of a table, one for each row; none if it lacks the column."""
    return [row[column] for row in read_rows(table) if column in row]


def _hash_of_files(folder: Path, names: list[str]) -> str:
    digest = hashlib.sha256()
    for part in tqdm(_contents(folder, names), "hashing structure files", len(names), disable=len(names) < WORTH_A_BAR):
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


def _contents(folder: Path, names: list[str]) -> Iterator[bytes]:
    """Yield the name and the content of each file; nothing for one that cannot be read, which the table's reader refuses."""
    for name in names:
        try:
            yield name.encode() + b"\0" + file_in(folder, name).read_bytes()
        except (ValueError, OSError):
            yield name.encode()
