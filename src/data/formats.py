"""Structures in all supported formats, as text or as files -> Crystal, or the reason why there is none."""

import gzip
import io
import json
import warnings
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from pymatgen.core import Lattice, Structure

from src.data.cif import MAX_ATOMS, blocks_in
from src.data.crystal import Crystal
from src.data.task import StructureFormat, is_inside

MAX_FILE = 50_000_000  # characters of a structure file; 2,000 atoms take a few hundred thousand
MAX_REASON = 300  # characters of a reason
CELL_LINES = 5  # of a POSCAR, before the elements and the numbers of atoms
MISSING_ELEMENTS = "the POSCAR names no elements; write their symbols into line 6, above the numbers of atoms"


class Entry(NamedTuple):
    """A structure in a file or field, not parsed yet. name: within the file, such as that of a data block; '' if it has none."""

    name: str
    parse: Callable[[], Any]

    def crystal(self) -> Crystal:
        """Return the crystal. Raises ValueError with the reason if it is none."""
        try:
            return to_crystal(self.parse())
        except Exception as error:  # pymatgen and ASE raise exceptions of nearly any type
            raise ValueError(reason(error)) from error


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
    _check_size(len(structure))
    return Crystal.from_structure(structure)


def crystal_in(text: str, form: StructureFormat, folder: Path | None = None) -> Crystal:
    """Return the crystal in a field of a table; that of a formula has no structure.

    folder: of the files that fields name, for the format `file`. Raises ValueError with the reason if it is not one crystal.
    """
    found = structures_in(file_in(folder, text)) if form == "file" and folder else _entries(text, form)
    if len(found) > 1:
        where = f"{text}: the file" if form == "file" else "the field"
        raise ValueError(f"{where} holds {len(found)} structures, expected one")
    return found[0].crystal()


def file_in(folder: Path, name: str) -> Path:
    """Return the path of a file named in a table. Raises ValueError if it lies outside the folder or is missing."""
    if not is_inside(name):
        raise ValueError(f"{name[:MAX_REASON]!r} is not the name of a file inside {folder}")
    if not (folder / name).is_file():
        raise ValueError(f"{folder / name} is missing")
    return folder / name


def structures_in(path: Path) -> list[Entry]:
    """Return all structures in a file: of a CIF each data block is one. Raises ValueError with the reason if there is none."""
    form = format_of(path)
    if form is None:
        raise ValueError(f"{path.name}: not a kind of file that is read: {', '.join(KINDS)}")
    try:
        with (gzip.open if path.suffix.lower() == ".gz" else open)(path, "rt", encoding="utf-8", errors="replace") as file:
            text = file.read(MAX_FILE + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"the file cannot be read ({error}); is it complete?") from error
    if len(text) > MAX_FILE:
        raise ValueError(f"the file has more than {MAX_FILE} characters, which is the limit")
    if form == "cif":
        return [Entry(name, partial(Crystal.from_cif, block)) for name, block in blocks_in(text)]
    return _entries(text, form)


def format_of(path: Path) -> str | None:
    """Return the format of a structure file by its name, compressed (.gz) or not; None if it is not supported."""
    name = path.name.lower().removesuffix(".gz")
    return next((form for kind, form in KINDS.items() if name.endswith(kind) or name.startswith(kind)), None)


def reason(error: Exception) -> str:
    """Return the message of an error in one line."""
    text = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:MAX_REASON]


def _entries(text: str, form: str) -> list[Entry]:
    try:
        found = TEXTS[form](text)
    except Exception as error:  # pymatgen and ASE raise exceptions of nearly any type
        raise ValueError(reason(error)) from error
    if not found:
        raise ValueError("the file holds no structure")
    return found


def _check_size(n_atoms: int) -> None:
    if n_atoms > MAX_ATOMS:
        raise ValueError(f"the cell has {n_atoms} atoms; the limit is {MAX_ATOMS}")


def _from_poscar(text: str) -> Structure:
    from pymatgen.io.vasp.inputs import Poscar  # takes a second to import

    lines = text.splitlines()[CELL_LINES : CELL_LINES + 2]
    counts = next((words for line in lines if (words := line.split()) and all(map(str.isdecimal, words))), [])
    if not counts:
        raise ValueError("not a POSCAR: neither line 6 nor line 7 has the numbers of atoms")
    _check_size(sum(int(count.lstrip("0")[:9] or 0) for count in counts))  # before pymatgen makes lists of that length
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", message="Elements in POSCAR cannot be determined")  # it would make up elements
        try:
            return Poscar.from_str(text).structure
        except UserWarning as error:
            raise ValueError(MISSING_ELEMENTS) from error


def _from_dict(data: Any) -> Structure:
    """Return pymatgen's structure from its dictionary, without properties: it would import and call what these name."""
    try:
        _check_size(len(data["sites"]))
        sites = [
            {"species": [{"element": one["element"], "occu": one["occu"]} for one in site["species"]], "abc": site["abc"]}
            for site in data["sites"]
        ]
        return Structure.from_dict({"lattice": {"matrix": data["lattice"]["matrix"]}, "sites": sites})
    except (KeyError, TypeError) as error:
        raise ValueError(f"not the JSON of a pymatgen Structure ({type(error).__name__}: {error})") from error


def _from_json(text: str) -> list[Entry]:
    """Return the structures of a list or of one: pymatgen's, or in documents of the Materials Project, which name them."""
    data = json.loads(text)
    if isinstance(data, dict) and isinstance(data.get("data"), list):  # what the Materials Project's API answers
        data = data["data"]
    found = []
    for one in data if isinstance(data, list) else [data]:
        is_document = isinstance(one, dict) and "structure" in one
        name = str(one.get("material_id") or "") if is_document else ""
        found.append(Entry(name, partial(_from_dict, one["structure"] if is_document else one)))
    return found


def _from_xyz(text: str) -> list[Entry]:
    from ase.io import read

    return [Entry("", atoms.copy) for atoms in read(io.StringIO(text), index=":", format="extxyz")]


TEXTS: dict[str, Callable[[str], list[Entry]]] = {
    "cif": lambda text: [Entry("", partial(Crystal.from_cif, text))],
    "poscar": lambda text: [Entry("", partial(_from_poscar, text))],
    "json": _from_json,
    "xyz": _from_xyz,
    "formula": lambda text: [Entry("", partial(Crystal.from_formula, text))],
}
KINDS = {  # how a name ends, or begins: VASP's files -> format
    ".cif": "cif",
    ".json": "json",
    ".xyz": "xyz",
    ".extxyz": "xyz",
    ".vasp": "poscar",
    "poscar": "poscar",
    "contcar": "poscar",
}
