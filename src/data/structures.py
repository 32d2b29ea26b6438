"""Structure files, folders and tables of unknown crystals -> crystals, each with its name or the reason why it is unreadable."""

import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from pymatgen.core import Lattice, Structure

from src.data.cif import MAX_ATOMS
from src.data.crystal import Crystal
from src.data.rows import Row, read_rows
from src.data.table import parse_rows
from src.data.task import Task
from src.storage.cache import in_chunks

TABLES = (".csv", ".csv.gz")
CHUNK = 32  # files or rows that a process reads per task
MAX_BYTES = 50_000_000  # of a structure file; 2,000 atoms take a few hundred thousand
MAX_SHOWN = 300  # characters of a reason


class Found(NamedTuple):
    """A crystal, or the reason why there is none."""

    name: str
    crystal: Crystal | None
    reason: str = ""


class Source(NamedTuple):
    """A file, or a row of a table. reason: why it cannot be read, if that is known already."""

    name: str
    path: Path
    row: Row | None = None
    reason: str = ""


def to_crystal(structure: Any) -> Crystal:
    """Return the Crystal of a pymatgen Structure or of ASE's Atoms; a Crystal stays as it is.

    Raises ValueError for anything else, for atoms that are not periodic in all directions, and as `Crystal.from_structure`.
    """
    if isinstance(structure, Crystal):
        return structure
    if hasattr(structure, "get_scaled_positions"):
        if not all(structure.pbc):
            raise ValueError("the atoms are not periodic in all three directions")
        cell, symbols = structure.cell.array, structure.get_chemical_symbols()
        structure = Structure(Lattice(cell), symbols, structure.get_scaled_positions(wrap=False))
    if not hasattr(structure, "frac_coords"):
        raise ValueError(f"{type(structure).__name__} is neither a pymatgen Structure nor ASE's Atoms")
    if len(structure) > MAX_ATOMS:
        raise ValueError(f"the cell has {len(structure)} atoms; the limit is {MAX_ATOMS}")
    return Crystal.from_structure(structure)


def read_structures(paths: Iterable[Path], task: Task, n_jobs: int = 1) -> list[Found]:
    """Return every structure in the files, in order; of a folder all files of known kinds, by name, subfolders included.

    task: names the columns of ids and structures in tables; a target is not needed.
    """
    sources = [source for path in paths for source in _sources(path, task)]
    chunks = in_chunks(partial(_read_chunk, task), sources, len(sources), CHUNK, "reading structures", n_jobs, worth_workers=200)
    return [found for chunk in chunks for found in chunk]


def _sources(path: Path, task: Task) -> Iterator[Source]:
    """Yield the files or rows that a path stands for."""
    if path.is_dir():
        files = [file for file in sorted(path.rglob("*")) if _is_known(file) and file.is_file()]
        if not files:
            yield Source(str(path), path, reason="no structure files in this folder")
        for file in files:
            yield from _sources(file, task)
    elif not path.is_file():
        yield Source(str(path), path, reason="no such file")
    elif not _is_known(path):
        yield Source(str(path), path, reason=f"not a kind of file that is read: {', '.join((*READERS, *TABLES))}")
    elif path.name.lower().endswith(TABLES):
        yield from _rows(path, task)
    else:
        yield Source(str(path), path)


def _rows(path: Path, task: Task) -> Iterator[Source]:
    needed = [task.id_column, task.structure_column]
    try:
        for row in read_rows(path):
            if missing := [column for column in needed if column not in row]:
                raise ValueError(
                    f"no column {', '.join(map(repr, missing))}, named in task.toml; the header has {list(row)[:20]}"
                )
            yield Source(row[task.id_column], path, row)
    except ValueError as error:
        yield Source(str(path), path, reason=str(error))


def _is_known(path: Path) -> bool:
    return not path.name.startswith(".") and (path.name.lower().endswith(TABLES) or _reader(path) is not None)


def _reader(path: Path) -> "Callable[[Path], list[Any]] | None":
    """Return the function that reads a structure file, chosen by the file's name."""
    name = path.name.lower()
    kind = next((kind for kind in READERS if name.endswith(kind) or (kind in NAMES and name.startswith(kind))), None)
    return READERS[kind] if kind else None


def _read_chunk(task: Task, chunk: Sequence[Source]) -> list[Found]:
    found: list[Found] = []
    for source in chunk:
        if source.row is not None:
            crystal, _, reason = parse_rows([source.row], task, has_target=False)[0]
            found.append(Found(source.name, None if reason else crystal, reason))
        else:
            found += [Found(source.name, None, source.reason)] if source.reason else _read_file(source)
    return found


def _read_file(source: Source) -> list[Found]:
    """Return the structures of a file; if it holds several, their numbers are added to its name."""
    reader = _reader(source.path)
    try:
        if reader is None or source.path.stat().st_size > MAX_BYTES:
            raise ValueError(f"the file has {source.path.stat().st_size} bytes; the limit is {MAX_BYTES}")
        structures = reader(source.path)
        if not structures:
            raise ValueError("the file holds no structure")
    except Exception as error:  # pymatgen and ASE raise exceptions of nearly any type
        return [Found(source.name, None, _shortened(error))]
    names = [source.name] if len(structures) == 1 else [f"{source.name}#{i}" for i in range(len(structures))]
    return [checked(name, structure) for name, structure in zip(names, structures, strict=True)]


def checked(name: str, structure: Any) -> Found:
    """Return the crystal of a structure, or the reason why it is none."""
    try:
        return Found(name, to_crystal(structure))
    except ValueError as error:
        return Found(name, None, _shortened(error))


def _shortened(error: Exception) -> str:
    text = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:MAX_SHOWN]


def _read_cif(path: Path) -> list[Any]:
    return [Crystal.from_cif(path.read_text(encoding="utf-8", errors="replace"))]


def _read_poscar(path: Path) -> list[Any]:
    from pymatgen.io.vasp.inputs import Poscar  # takes a second to import

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", message="Elements in POSCAR cannot be determined")  # it would make up elements
        return [Poscar.from_str(path.read_text(encoding="utf-8")).structure]


def _read_json(path: Path) -> list[Any]:
    data = json.loads(path.read_text(encoding="utf-8"))
    return [_from_dict(one) for one in (data if isinstance(data, list) else [data])]


def _from_dict(data: Any) -> Structure:
    """Return pymatgen's structure from its dictionary, without properties: it would import and call what these name."""
    try:
        sites = [
            {"species": [{"element": one["element"], "occu": one["occu"]} for one in site["species"]], "abc": site["abc"]}
            for site in data["sites"]
        ]
        return Structure.from_dict({"lattice": {"matrix": data["lattice"]["matrix"]}, "sites": sites})
    except (KeyError, TypeError) as error:
        raise ValueError(f"not the JSON of a pymatgen Structure ({type(error).__name__}: {error})") from error


def _read_xyz(path: Path) -> list[Any]:
    from ase.io import read

    return list(read(path, index=":", format="extxyz"))


READERS: dict[str, Callable[[Path], list[Any]]] = {
    ".cif": _read_cif,
    ".json": _read_json,
    ".xyz": _read_xyz,
    ".extxyz": _read_xyz,
    ".vasp": _read_poscar,
    "poscar": _read_poscar,
    "contcar": _read_poscar,
}
NAMES = ("poscar", "contcar")  # VASP's files begin with these names, or end with them after a dot
