"""Tables of a competition -> the description of a task: which column is what."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from src.data.column_kinds import counts, kind
from src.data.sniff import Column, columns_of, format_of
from src.data.task import MetricName, StructureFormat, Target, description

LOOKED_AT = ("train", "test", "sample_submission", "folds")
ID_NAMES = (r"id", r".*[ _-]id|\w{2,5}id", r".*material.*|.*name|key", r"(?s).*")  # the likelier first
UNITS = {  # part of a column's name -> unit
    r"ev[ _/(]*(per[ _])?n?atom": "eV/atom",
    r"energy\w*per_atom|^e_form$|e_?hull|above_?hull": "eV/atom",
    r"band_?gap|(^|[ _(])ev\b|_ev($|_)": "eV",
    r"(^|[ _(])gpa|k_?vrh|g_?vrh": "GPa",
    r"1/cm|cm-1": "1/cm",
}
UNKNOWN_UNIT = "units"


@dataclass(frozen=True)
class Wishes:
    """What the user has said about a task; None: find out."""

    id_column: str | None = None
    structure_column: str | None = None
    targets: Sequence[str] | None = None
    units: Sequence[str] | None = None


class Role(NamedTuple):
    """A column, what it is taken for, and a field of it."""

    column: str
    role: str
    example: str


@dataclass(frozen=True)
class Proposal:
    """What a task's tables were understood to be.

    folder: of the structure files, if the structure column names some. roles: one for each column of the training table.
    """

    id_column: str
    structure_column: str
    structure_format: StructureFormat
    folder: Path | None
    targets: Sequence[str]
    units: Sequence[str]
    numeric: Sequence[str] = ()
    categorical: Sequence[str] = ()
    roles: Sequence[Role] = field(default_factory=list)

    def to_toml(self, metric: MetricName, files: Mapping[str, str]) -> str:
        """Return the text of task.toml. files: name in [files] -> file or folder."""
        named = [Target(column, unit) for column, unit in zip(self.targets, self.units, strict=True)]
        return description(
            self.id_column, self.structure_column, named, metric, files, self.structure_format, self.numeric, self.categorical
        )


def propose(files: Mapping[str, Path], wishes: Wishes) -> Proposal:
    """Return what the tables are understood to be.

    files: of those that a task's [files] may name; `train` at least. `structures`: a folder; without it, files are looked for
    beside the training table. Raises ValueError, which says how to name the column, if something cannot be told.
    """
    looks = {which: columns_of(files[which]) for which in LOOKED_AT if which in files}
    tables = {which: columns for which, (columns, _) in looks.items()}
    train = tables["train"]
    folder = files.get("structures", files["train"].parent)
    id_column = _id_column(tables, wishes.id_column)
    shared = [name for name in train if name != id_column and name in tables.get("test", train)]
    structure_column, form = _structure_column([train[name] for name in shared], folder, wishes.structure_column)
    targets = _targets(tables, [id_column, structure_column], wishes.targets)
    units = _units(targets, wishes.units)
    further = [name for name in shared if name not in (structure_column, *targets)]
    parts = [tables[which] for which in ("train", "test") if which in tables]
    kinds = {name: kind([columns[name] for columns in parts], folder) for name in further}
    kinds |= counts(looks["train"][1], structure_column, form, folder, kinds)
    kinds |= dict.fromkeys([name for name in train if name not in tables.get("test", train)], "left out: not in the test table")
    kinds |= {id_column: "id", structure_column: f"structure ({form})"}
    kinds |= {target: f"target ({unit})" for target, unit in zip(targets, units, strict=True)}
    numeric, categorical = ([name for name in further if kinds[name] == kind] for kind in ("numeric", "categorical"))
    roles = [Role(name, kinds[name], next(iter(column.examples), "")) for name, column in train.items()]
    source = folder if form == "file" else None
    return Proposal(id_column, structure_column, form, source, targets, units, numeric, categorical, roles)


def _named(name: str, columns: Mapping[str, Column], option: str) -> str:
    """Return a column that the user has named; raise ValueError if the table lacks it."""
    if name not in columns:
        raise ValueError(f"{option} {name}: the table has the columns {_listed(columns)}")
    return name


def _listed(names: "Mapping[str, Column] | Sequence[str]") -> str:
    text = ", ".join(names)
    return text if len(text) <= 500 else f"{text[:500]} ..."


def _id_column(tables: Mapping[str, Mapping[str, Column]], wish: str | None) -> str:
    """Return the column whose values are unique in every table that has to have it."""
    train = tables["train"]
    others = [columns for which, columns in tables.items() if which != "train"]
    found = [name for name, column in train.items() if name and all(name in columns for columns in others)]
    unique = [name for name in found if all(columns[name].is_unique for columns in tables.values())]
    texts = [name for name in unique if not train[name].is_numeric] + [name for name in unique if train[name].is_integer]
    if wish is not None:
        _named(wish, train, "--id")
        texts = [name for name in texts if name == wish]
    for pattern in ID_NAMES:
        if likely := [name for name in texts if re.fullmatch(pattern, name, re.IGNORECASE) and train[name].is_short]:
            break
    else:
        what = f"the column {wish!r} is not" if wish is not None else "there is no column that is"
        raise ValueError(
            f"{what} in all tables ({', '.join(tables)}) with a different value in each row of them, as ids need; the tables "
            f"share the columns {_listed(found) or 'none'}: name the right one with --id, or add one"
        )
    sample, test = tables.get("sample_submission", {}), tables.get("test", {})
    if sample and sample[likely[0]].values != test[likely[0]].values:
        raise ValueError(f"the values of {likely[0]!r} in the sample submission are not those of the test table; is it --id?")
    return likely[0]


def _structure_column(columns: Sequence[Column], folder: Path, wish: str | None) -> tuple[str, StructureFormat]:
    """Return the column of structures, which training and test tables share, and its format; a formula if there is none."""
    names = {column.name: column for column in columns}
    if wish is not None:
        _named(wish, names, "--structure")
    found = {name: form for name in ([wish] if wish else names) if (form := format_of(names[name], folder))}
    best: Sequence[str] = [name for name, form in found.items() if form != "formula"]
    if not best:
        formulas = [name for name, form in found.items() if form == "formula"]
        best = [name for name in formulas if re.search("formula|compos", name, re.IGNORECASE)][:1] or formulas
    if len(best) == 1:
        return best[0], found[best[0]]
    if not best:
        raise ValueError(
            f"{f'--structure {wish}' if wish else 'no column'} holds CIF, POSCAR or JSON text of pymatgen, names of files in "
            f"{folder} (--structures FOLDER), or formulas; the columns are {_listed(names)}"
        )
    raise ValueError(f"several columns hold structures: choose one of {_listed(best)} with --structure")


def _targets(tables: Mapping[str, Mapping[str, Column]], taken: Sequence[str], wish: Sequence[str] | None) -> Sequence[str]:
    """Return the columns to predict: those of the sample submission or, without one, those that the test table lacks."""
    train, test, sample = tables["train"], tables.get("test", {}), tables.get("sample_submission")
    numbers = [
        name for name, column in train.items() if name not in (*taken, *test) and column.is_numeric and column.n_empty == 0
    ]
    if wish is not None:
        return [_named(name, train, "--target") for name in wish]
    if sample is not None:
        targets = [name for name in sample if name not in taken]
        if unknown := [name for name in targets if name not in train]:
            raise ValueError(
                f"the sample submission has the column {unknown[0]!r}, and the training table has none of that name; it has "
                f"{_listed(numbers)}: give both the same name"
            )
        return targets
    if test and numbers:
        return numbers
    raise ValueError(f"which column is to be predicted? Say --target with one or more of {_listed(numbers)}")


def _units(targets: Sequence[str], wish: Sequence[str] | None) -> Sequence[str]:
    """Return a unit for each target: the user's, or what the name says, or UNKNOWN_UNIT."""
    if wish is not None and len(wish) not in (1, len(targets)):
        raise ValueError(f"--unit: {len(wish)} units for {len(targets)} targets; give one, or one for each")
    if wish is not None:
        return list(wish) * (len(targets) // len(wish))
    return [
        next((unit for part, unit in UNITS.items() if re.search(part, name, re.IGNORECASE)), UNKNOWN_UNIT) for name in targets
    ]
