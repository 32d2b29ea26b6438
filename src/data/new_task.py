"""A new task's folder: its tables and structure files, its description by looking at them, and what its rows hold."""

import contextlib
import filecmp
import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from src.data.formats import crystal_in_file, crystal_in_text, file_in, is_structure_file
from src.data.formula import parse_formula
from src.data.load import names_of_files
from src.data.rows import number, read_rows
from src.data.table import SYMBOLS, contradictions, parse_table
from src.data.task import MAX_TEXT, MetricName, StructureFormat, Target, Task, description, is_inside, read_tasks
from src.paths import shown
from src.storage.files import write_atomic

ENDINGS = (".csv", ".csv.gz")
LOOKED_AT = ("train", "test", "sample_submission", "folds")
N_NAMED = 5  # bad rows
WIDTH = 44  # characters of a field in the summary
N_EXAMPLES = 50  # fields of each column that are looked at closely
SURE = 0.9  # of the examples must be of a format
LARGEST = 1e100  # larger numbers are no measurements
VECTOR = re.compile(r"\s*[-+.\dEe]+\s+[-+.\dEe]+\s+[-+.\dEe]+\s*")
ID_NAMES = (r"id", r".*[ _-]id|\w{2,5}id", r".*material.*|.*name|key", r"(?s).*")  # the likelier first
UNITS = {  # part of a column's name -> unit
    r"ev[ _/(]*(per[ _])?n?atom": "eV/atom",
    r"energy\w*per_atom|^e_form$|e_?hull|above_?hull": "eV/atom",
    r"band_?gap|(^|[ _(])ev\b|_ev($|_)": "eV",
    r"(^|[ _(])gpa|k_?vrh|g_?vrh": "GPa",
    r"1/cm|cm-1": "1/cm",
}
MAX_CATEGORIES = 50  # different values of a categorical column of text
MAX_CODES = 20  # different values of whole numbers that are taken for codes
ROWS_PER_CATEGORY = 4
CODES = re.compile(r"space_?group|sg_?(num|no)|group|class|type|categor|cluster|label|code|kind", re.IGNORECASE)
COUNTS = re.compile(r"^n_|^n(sites|atoms|elem)|number_of|num_|_num|count|total", re.IGNORECASE)
DERIVED = re.compile(r"n_?(sites|elements|atoms)|formula\w*|composition|full_formula", re.IGNORECASE)
NOT_USED = ("left out", "checked")


class Wishes(NamedTuple):
    """What the user has said about a task; None: find out."""

    id_column: str | None = None
    structure_column: str | None = None
    targets: Sequence[str] | None = None
    units: Sequence[str] | None = None


class Column:
    """A column of a table. texts: (n_rows,), its fields."""

    def __init__(self, name: str, texts: pd.Series) -> None:
        self.name, self.texts, self.n_rows = name, texts, len(texts)
        self.is_unique = bool(texts.is_unique)
        self.examples = texts[texts.str.strip() != ""].head(N_EXAMPLES).tolist()
        self.is_short = max(map(len, self.examples), default=0) <= MAX_TEXT

    @cached_property
    def n_different(self) -> int:
        """Number of different fields."""
        return int(self.texts.nunique())

    @cached_property
    def numbers(self) -> NDArray[np.float64]:
        """Fields that are not empty as numbers; NaN for those that are none."""
        values = self.texts[self.texts.str.strip() != ""].map(number).to_numpy(np.float64)
        return np.where(np.abs(values) <= LARGEST, values, np.nan)

    @property
    def is_numeric(self) -> bool:
        """True if every field is a number or empty."""
        return len(self.numbers) > 0 and bool(np.isfinite(self.numbers).all())

    @property
    def is_integer(self) -> bool:
        """True if every field is a whole number or empty."""
        return self.is_numeric and bool((self.numbers % 1 == 0).all())

    @property
    def numbers_rows(self) -> bool:
        """True for consecutive whole numbers, which say nothing about the rows."""
        return self.is_unique and self.is_integer and np.ptp(self.numbers) + 1 == self.n_rows > 1


Columns = Mapping[str, Column]


def new_task(
    folder: Path,
    files: Mapping[str, Path],
    metric: MetricName,
    wishes: Wishes,
    link: bool = False,
    force: bool = False,
    n_jobs: int = 1,
) -> str:
    """Write the folder of a task, task.toml last, and return what was understood and how many rows are bad.

    files: of those that a task's [files] may name; `train` at least. `structures`: a folder; without it, files are looked for
    beside the training table. What is not in the task's folder yet is copied, or linked to. force: replace what is there.
    Raises ValueError or FileNotFoundError, and changes nothing, if the tables cannot be understood or the task exists.
    """
    written = folder / "task.toml"
    if written.exists() and not force:
        raise ValueError(f"{written} exists: choose another name, or replace it with --force")
    for which, path in files.items():
        if not (path.is_dir() if which == "structures" else path.is_file()):
            raise FileNotFoundError(f"{path} is missing")
        if which != "structures" and not path.name.lower().endswith(ENDINGS):
            raise ValueError(f"{path}: expected a table, .csv or .csv.gz")
    beside = files.get("structures", files["train"].parent)
    tables = {which: _columns(files[which]) for which in LOOKED_AT if which in files}
    id_column = _id_column(tables, wishes.id_column)
    shared = {name: column for name, column in tables["train"].items() if name in tables.get("test", tables["train"])}
    structure_column, form = _structure_column(
        {name: column for name, column in shared.items() if name != id_column}, beside, wishes.structure_column
    )
    names = _targets(tables, [id_column, structure_column], wishes.targets)
    targets = [Target(name, unit) for name, unit in zip(names, _units(names, wishes.units), strict=True)]
    kinds = _kinds(tables, [id_column, structure_column, *names], structure_column, form, beside)
    kinds |= {id_column: "id", structure_column: f"structure ({form})", **{t.column: f"target ({t.unit})" for t in targets}}
    if form == "file":
        files = {**files, "structures": beside}
    elif "structures" in files:
        raise ValueError(f"--structures {beside}: no column of the training table names files in it")
    places = {which: _place_in_task(which, path, folder) for which, path in files.items()}
    for which, path in files.items():
        if which != "structures":
            _place(path, folder / places[which], link, force)
    if form == "file":
        named = {name for which in ("train", "test") if which in files for name in names_of_files(files[which], structure_column)}
        _place_structures(beside, folder / places["structures"], named, link, force)
    numeric, categorical = ([name for name in tables["train"] if kinds[name] == kind] for kind in ("numeric", "categorical"))
    text = description(id_column, structure_column, targets, metric, places, form, numeric, categorical)
    write_atomic(written, text.encode())
    return _summary(folder, {name: (kinds[name], column) for name, column in tables["train"].items()}, n_jobs)


def _columns(path: Path) -> Columns:
    """Return the columns of a table by name. Raises ValueError if it is no table."""
    table = pd.DataFrame(tqdm(read_rows(path), f"looking at {path.name}", mininterval=1, delay=1), dtype=object)
    return {name: Column(name, table[name]) for name in table}


def _named(name: str, columns: Columns, option: str) -> str:
    """Return a column that the user has named; raise ValueError if the table lacks it."""
    if name not in columns:
        raise ValueError(f"{option} {name}: the table has the columns {_listed(columns)}")
    return name


def _listed(names: Iterable[str]) -> str:
    text = ", ".join(names)
    return text if len(text) <= 500 else f"{text[:500]} ..."


def _id_column(tables: Mapping[str, Columns], wish: str | None) -> str:
    """Return the column whose values are unique in every table that has to have it."""
    train = tables["train"]
    found = [name for name in train if name and all(name in columns for columns in tables.values())]
    unique = [name for name in found if all(columns[name].is_unique for columns in tables.values())]
    texts = [name for name in unique if not train[name].is_numeric] + [name for name in unique if train[name].is_integer]
    if wish is not None:
        _named(wish, train, "--id")
        texts = [name for name in texts if name == wish]
    short = [name for name in texts if train[name].is_short]
    likely = [name for pattern in ID_NAMES for name in short if re.fullmatch(pattern, name, re.IGNORECASE)]
    if not likely:
        what = f"the column {wish!r} is not" if wish is not None else "there is no column that is"
        raise ValueError(
            f"{what} in all tables ({', '.join(tables)}) with a different value in each row of them, as ids need; the tables "
            f"share the columns {_listed(found) or 'none'}: name the right one with --id, or add one"
        )
    sample, test = tables.get("sample_submission", {}), tables.get("test", {})
    if sample and set(sample[likely[0]].texts) != set(test[likely[0]].texts):
        raise ValueError(f"the values of {likely[0]!r} in the sample submission are not those of the test table; is it --id?")
    return likely[0]


def _structure_column(columns: Columns, folder: Path, wish: str | None) -> tuple[str, StructureFormat]:
    """Return the column of structures, which training and test tables share, and its format; a formula if there is none."""
    if wish is not None:
        _named(wish, columns, "--structure")
    found = {name: form for name in ([wish] if wish else columns) if (form := _format(columns[name], folder))}
    best = [name for name, form in found.items() if form != "formula"]
    if not best:
        best = [name for name in found if re.search("formula|compos", name, re.IGNORECASE)][:1] or [*found]
    if len(best) == 1:
        return best[0], found[best[0]]
    if not best:
        raise ValueError(
            f"{f'--structure {wish}' if wish else 'no column'} holds CIF, POSCAR or JSON text of pymatgen, names of files in "
            f"{folder} (--structures FOLDER), or formulas; the columns are {_listed(columns)}"
        )
    raise ValueError(f"several columns hold structures: choose one of {_listed(best)} with --structure")


def _format(column: Column, folder: Path) -> StructureFormat | None:
    """Return the format of the structures in a column, None if it holds none. folder: of structure files."""
    tests: dict[StructureFormat, Callable[[str], bool]] = {
        "cif": lambda text: "_cell_length_a" in text,
        "json": lambda text: text.lstrip().startswith("{") and '"lattice"' in text,
        "poscar": _is_poscar,
        "file": lambda text: is_structure_file(Path(text)) and file_in(folder, text).is_file(),
        "formula": lambda text: bool(parse_formula(text)),
    }
    needed = SURE * len(column.examples)
    for form, test in tests.items():
        if column.examples and sum(_holds(test, text) for text in column.examples) >= needed:
            return form
    return None


def _holds(test: Callable[[str], bool], text: str) -> bool:
    try:
        return test(text)
    except ValueError:
        return False


def _is_poscar(text: str) -> bool:
    lines = text.strip().splitlines()
    return len(lines) > 7 and number(lines[1]) == number(lines[1]) and all(map(VECTOR.fullmatch, lines[2:5]))


def _targets(tables: Mapping[str, Columns], taken: Sequence[str], wish: Sequence[str] | None) -> Sequence[str]:
    """Return the columns to predict: those of the sample submission or, without one, those that the test table lacks."""
    train, test, sample = tables["train"], tables.get("test", {}), tables.get("sample_submission")
    others = [column for name, column in train.items() if name not in (*taken, *test)]
    numbers = [column.name for column in others if column.is_numeric and len(column.numbers) == column.n_rows]
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
    """Return a unit for each target: the user's, or what the name says."""
    if wish is None:
        return [next((unit for part, unit in UNITS.items() if re.search(part, name, re.IGNORECASE)), "units") for name in targets]
    if len(wish) not in (1, len(targets)):
        raise ValueError(f"--unit: {len(wish)} units for {len(targets)} targets; give one, or one for each")
    return list(wish) * (len(targets) // len(wish))


def _kinds(
    tables: Mapping[str, Columns], taken: Sequence[str], structure: str, form: StructureFormat, folder: Path
) -> dict[str, str]:
    """Return what each column of the training table is taken for that is not taken yet.

    Columns named like elements or `nsites` are checks if they agree with the structures.
    """
    train, kinds = tables["train"], {}
    for name in train:
        if name not in tables.get("test", train):
            kinds[name] = "left out: not in the test table"
        elif name not in taken:
            kinds[name] = _kind([tables[which][name] for which in ("train", "test") if which in tables], folder)
    counts = [name for name, kind in kinds.items() if (name in SYMBOLS or name == "nsites") and not kind.endswith("test table")]
    agree = []
    for i in range(min(N_EXAMPLES, train[structure].n_rows)):
        with contextlib.suppress(ValueError):  # a bad row is reported later
            text = train[structure].texts.iloc[i]
            crystal = crystal_in_file(folder, text) if form == "file" else crystal_in_text(text, form)
            agree.append(not contradictions(crystal, {name: train[name].texts.iloc[i] for name in counts}))
    if sum(agree) >= SURE * max(1, len(agree)):
        return kinds | dict.fromkeys(counts, "checked against the structures")
    return kinds | {name: "numeric" for name in counts if kinds[name].startswith(NOT_USED)}  # unless named they would be checked


def _kind(parts: Sequence[Column], folder: Path) -> str:
    """Return what a column of the training table is taken for. parts: of the training and, if there is one, the test table."""
    column = parts[0]
    is_few = column.n_different * ROWS_PER_CATEGORY <= column.n_rows
    if not 0 < len(column.name) <= MAX_TEXT:
        return "left out: its name is empty or too long"
    if column.n_different == 1:
        return "left out: constant"
    if DERIVED.fullmatch(column.name):
        return "left out: follows from the structure"
    if all(part.is_numeric for part in parts):
        if column.numbers_rows:
            return "left out: numbers the rows"
        is_code = bool(CODES.search(column.name)) and column.n_different <= column.n_rows / 2
        is_plain = column.n_different <= MAX_CODES and is_few and not COUNTS.search(column.name)
        return "categorical" if column.is_integer and (is_code or is_plain) else "numeric"
    is_category = is_few and column.n_different <= MAX_CATEGORIES
    if (form := _format(column, folder)) and not (form == "formula" and is_category):
        return f"left out: another column of structures ({form})"
    if np.isfinite(column.numbers).sum() > column.n_rows / 2:
        return "left out: numbers and text; leave the fields of missing numbers empty to use it"
    return "categorical" if is_category and column.is_short else f"left out: text with {column.n_different} different values"


def _place_in_task(which: str, path: Path, folder: Path) -> str:
    """Return the name of a file in [files]: it stays where it is if it lies inside the folder."""
    absolute, inside = path.absolute(), folder.absolute()
    if absolute.is_relative_to(inside) and is_inside(name := str(absolute.relative_to(inside))) and absolute != inside:
        return name
    return which if which == "structures" else f"{which}{'.csv.gz' if path.suffix == '.gz' else '.csv'}"


def _place(source: Path, target: Path, link: bool, force: bool) -> None:
    """Copy a file, or link to it, unless it is there already."""
    if target.is_file() and (target.samefile(source) or filecmp.cmp(source, target, shallow=False)):
        return
    if (target.exists() or target.is_symlink()) and not force:
        raise ValueError(f"{target} exists and differs from {source}: remove it, or replace it with --force")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}-{os.getpid()}")
    if link:
        temporary.symlink_to(source.resolve())
    else:
        shutil.copyfile(source, temporary)
    temporary.replace(target)


def _place_structures(source: Path, target: Path, named: Iterable[str], link: bool, force: bool) -> None:
    """Copy the structure files that the tables name, or link to their folder."""
    if target.exists() and target.samefile(source):
        return
    if link:
        if target.exists() and not force:
            raise ValueError(f"{target} exists: remove it, or replace it with --force")
        if target.is_symlink():
            target.unlink()
        elif target.is_dir():
            shutil.rmtree(target)
        target.symlink_to(source.resolve(), target_is_directory=True)
        return
    target.mkdir(exist_ok=True)
    for name in tqdm(sorted(named), "copying structure files", mininterval=1, delay=1):
        if is_inside(name) and (source / name).is_file():
            _place(source / name, target / name, link=False, force=force)


def _summary(folder: Path, columns: Mapping[str, tuple[str, Column]], n_jobs: int) -> str:
    """Return what the columns are, what is wrong with the rows, the targets, and what to do next.

    columns: name -> what it is taken for, and the column itself.
    """
    task = read_tasks(folder)[0]
    values = {target: columns[target.column][1].texts.map(number).to_numpy(np.float64) for target in task.targets}
    problems, n_rows = [], {}
    for which in ("train", "test") if task.has_test else ("train",):
        found = _problems(task, which, values if which == "train" else {}, n_jobs)
        n_rows[which] = len(found)
        problems += [f"{task.files[which]}: {problem}" for problem in found if problem]
    one = f" --target {task.target_column}" if len(task.targets) > 1 else ""
    data = f"--data {shown(folder)}"
    return "\n".join(
        [
            f"{shown(folder / 'task.toml')} describes {' and '.join(f'{n} {which} rows' for which, n in n_rows.items())}:",
            *_table(["column", "is", "example"], _roles(columns)),
            "",
            f"{len(problems)} of {sum(n_rows.values())} rows are bad{':' if problems else ''}",
            *(f"  {problem}" for problem in problems[:N_NAMED]),
            *([f"  and {len(problems) - N_NAMED} more"] if len(problems) > N_NAMED else []),
            "",
            *_table(["target", "unit", "n", "min", "median", "max"], [_range(t, column) for t, column in values.items()]),
            "",
            "Correct task.toml if a column is not what it is taken for. Next:",
            f"  python exp/check_data.py {data}{one}",
            f"  python exp/exp001/train.py {data}{' --skip-bad-rows' if problems else ''}",
        ]
    )


def _problems(task: Task, which: str, values: Mapping[Target, NDArray[np.float64]], n_jobs: int) -> list[str]:
    """Return what is wrong with each row of a table, '' if nothing is. values: (n_rows,) of each target."""
    ids, parsed = parse_table(task.path(which), task, has_target=False, n_jobs=n_jobs)
    found = []
    for i, (row_id, row) in enumerate(zip(ids, parsed, strict=True)):
        bad = [f"{t.column!r} is not a finite number" for t, column in values.items() if not np.isfinite(column[i])]
        reasons = "; ".join(filter(None, [row.reason, *bad]))
        found.append(f"record {i + 2}, {row_id[:WIDTH]!r}: {reasons}" if reasons else "")
    return found


def _roles(columns: Mapping[str, tuple[str, Column]]) -> list[list[str]]:
    """Return a line for each column that is used, and one for all columns that are left out or checked for one reason."""
    used = {name: (kind, column) for name, (kind, column) in columns.items() if not kind.startswith(NOT_USED)}
    lines = [[name, kind, next(iter(column.examples), "")] for name, (kind, column) in used.items()]
    for kind in dict.fromkeys(kind for kind, _ in columns.values() if kind.startswith(NOT_USED)):
        names = [name or "(no name)" for name, (other, _) in columns.items() if other == kind]
        lines.append([", ".join(names), kind, f"{len(names)} columns" if len(names) > 1 else ""])
    return lines


def _range(target: Target, values: NDArray[np.float64]) -> list[str]:
    finite = values[np.isfinite(values)]
    low, middle, high = (f"{x:.6g}" for x in np.quantile(finite, [0, 0.5, 1])) if len(finite) else ("", "", "")
    return [target.column, target.unit, str(len(finite)), low, middle, high]


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    """Return the lines of a table for people."""
    cells = [[_short(text) for text in row] for row in [header, *rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  " + "  ".join(text.ljust(w) for text, w in zip(row, widths, strict=True)).rstrip() for row in cells]


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 4]} ..."
