"""A new task's folder: its tables and structure files, its description by looking at them, and what its rows hold."""

import contextlib
import filecmp
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from src.data.crystal import parse_formula
from src.data.formats import crystal_in, file_in, format_of
from src.data.rows import number, read_rows
from src.data.table import SYMBOLS, contradictions, parse_table
from src.data.task import MAX_TEXT, MetricName, StructureFormat, Target, description, is_inside, read_tasks
from src.paths import shown
from src.storage.files import write_atomic

ENDINGS = (".csv", ".csv.gz")
LOOKED_AT = ("train", "test", "sample_submission", "folds")
N_NAMED = 5  # bad rows
WIDTH = 44  # characters of a field in the summary
N_EXAMPLES = 50  # fields of each column that are looked at closely
SURE = 0.9  # of the examples must be of a format
LARGEST = 1e100  # larger numbers are no measurements
ID_NAMES = (r"id", r".*[ _-]id|\w{2,5}id", r".*material.*|.*name|key", r"(?s).*")  # the likelier first
UNITS = {  # part of a column's name -> unit
    r"ev[ _/(]*(per[ _])?n?atom": "eV/atom",
    r"energy\w*per_atom|^e_form$|e_?hull|above_?hull": "eV/atom",
    r"band_?gap|(^|[ _(])ev\b|_ev($|_)": "eV",
    r"(^|[ _(])gpa|k_?vrh|g_?vrh": "GPa",
    r"1/cm|cm-1": "1/cm",
}
MAX_TEXT_VALUES = 50  # different values of a categorical column of text
ROWS_PER_CATEGORY = 4
CODES = re.compile(r"space_?group|sg_?(num|no)|group|class|type|categor|cluster|label|code|kind", re.IGNORECASE)
DERIVED = re.compile(r"n_?(sites|elements|atoms)|formula\w*|composition|full_formula", re.IGNORECASE)
CHECKED = "checked against the structures"
Tables = Mapping[str, pd.DataFrame]  # all fields are text


def new_task(
    folder: Path,
    files: Mapping[str, Path],
    metric: MetricName,
    id_column: str | None = None,
    structure_column: str | None = None,
    targets: Sequence[str] | None = None,
    units: Sequence[str] | None = None,
    link: bool = False,
    force: bool = False,
    n_jobs: int = 1,
) -> str:
    """Write the folder of a task, task.toml last, and return what was understood and how many rows are bad.

    files: of those that a task's [files] may name; `train` at least. `structures`: a folder; without it, files are looked for
    beside the training table. What is not in the task's folder yet is copied, or linked to. force: replace what is there.
    What is None is found out. Raises ValueError or FileNotFoundError, and changes nothing, if the tables cannot be understood
    or the task exists.
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
    tables = {which: _read(files[which]) for which in LOOKED_AT if which in files}
    for option, name in (("--id", id_column), ("--structure", structure_column), *(("--target", t) for t in targets or ())):
        if name is not None and name not in tables["train"]:
            raise ValueError(f"{option} {name}: the table has the columns {_listed(tables['train'])}")
    ids = _id_column(tables, id_column)
    structures, form = _structure_column(tables, ids, beside, structure_column)
    names = targets or _targets(tables, (ids, structures))
    found = [Target(name, unit) for name, unit in zip(names, _units(names, units), strict=True)]
    kinds = _kinds(tables, (ids, structures, *names), structures, form, beside)
    kinds |= {ids: "id", structures: f"structure ({form})", **{t.column: f"target ({t.unit})" for t in found}}
    if form == "file":
        files = {**files, "structures": beside}
    elif "structures" in files:
        raise ValueError(f"--structures {beside}: no column of the training table names files in it")
    places = {which: _place_in_task(which, path, folder) for which, path in files.items()}
    for which, path in files.items():
        if which != "structures" or link:
            _place(path, folder / places[which], link, force)
    if form == "file" and not link:
        named = {name for which in ("train", "test") if which in tables for name in tables[which][structures]}
        for name in tqdm(sorted(filter(is_inside, named)), "copying structure files", mininterval=1, delay=1):
            if (beside / name).is_file():
                _place(beside / name, folder / places["structures"] / name, link, force)
    numeric, categorical = ([name for name in tables["train"] if kinds[name] == kind] for kind in ("numeric", "categorical"))
    write_atomic(written, description(ids, structures, found, metric, places, form, numeric, categorical).encode())
    return _summary(folder, tables["train"], kinds, n_jobs)


def _read(path: Path) -> pd.DataFrame:
    return pd.DataFrame(tqdm(read_rows(path), f"looking at {path.name}", mininterval=1, delay=1), dtype=object)


def _listed(names: Iterable[str]) -> str:
    text = ", ".join(names)
    return text if len(text) <= 500 else f"{text[:500]} ..."


def _filled(texts: pd.Series) -> pd.Series:
    return texts[texts.str.strip() != ""]


def _numbers(texts: pd.Series) -> pd.Series:
    """Return the fields that are not empty as numbers; NaN for those that are none."""
    values = _filled(texts).map(number).astype(float)
    return values.where(values.abs() <= LARGEST)


def _is_numeric(texts: pd.Series, whole: bool = False) -> bool:
    """Return whether every field is empty or a number, and not all are empty. whole: a whole number."""
    values = _numbers(texts)
    return len(values) > 0 and bool((values % 1 == 0 if whole else values.notna()).all())


def _id_column(tables: Tables, wish: str | None) -> str:
    """Return the column whose values are unique in every table that has to have it."""
    train = tables["train"]
    shared = [name for name in train if name and all(name in table for table in tables.values())]
    unique = [name for name in shared if all(table[name].is_unique for table in tables.values())]
    good = [name for name in unique if _is_numeric(train[name], whole=True) or not _is_numeric(train[name])]
    short = sorted((name for name in good if train[name].str.len().max() <= MAX_TEXT), key=lambda name: _is_numeric(train[name]))
    likely = [name for pattern in ID_NAMES for name in short if re.fullmatch(pattern, name, re.IGNORECASE)]
    if not (likely := [name for name in likely if wish in (None, name)]):
        what = f"the column {wish!r} is not" if wish is not None else "there is no column that is"
        raise ValueError(
            f"{what} in all tables ({', '.join(tables)}) with a different value in each row of them, as ids need; the tables "
            f"share the columns {_listed(shared) or 'none'}: name the right one with --id, or add one"
        )
    if "sample_submission" in tables and set(tables["sample_submission"][likely[0]]) != set(tables["test"][likely[0]]):
        raise ValueError(f"the values of {likely[0]!r} in the sample submission are not those of the test table; is it --id?")
    return likely[0]


def _structure_column(tables: Tables, ids: str, folder: Path, wish: str | None) -> tuple[str, StructureFormat]:
    """Return the column of structures, which training and test tables share, and its format; a formula if there is none."""
    train = tables["train"]
    columns = [name for name in train if name in tables.get("test", train) and name != ids and wish in (None, name)]
    found = {name: form for name in columns if (form := _format(train[name], folder))}
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


def _format(texts: pd.Series, folder: Path) -> StructureFormat | None:
    """Return the format of the structures in a column, None if it holds none. folder: of structure files."""
    tests: dict[StructureFormat, Callable[[str], bool]] = {
        "cif": lambda text: "_cell_length_a" in text,
        "json": lambda text: text.lstrip().startswith("{") and '"lattice"' in text,
        "poscar": _is_poscar,
        "file": lambda text: format_of(Path(text)) is not None and file_in(folder, text).is_file(),
        "formula": lambda text: bool(parse_formula(text)),
    }
    examples = _filled(texts).head(N_EXAMPLES)
    for form, test in tests.items():
        if len(examples) and sum(_holds(test, text) for text in examples) >= SURE * len(examples):
            return form
    return None


def _holds(test: Callable[[str], bool], text: str) -> bool:
    try:
        return test(text)
    except ValueError:
        return False


def _is_poscar(text: str) -> bool:
    lines = text.strip().splitlines()
    numbers = [number(word) for line in lines[1:5] for word in line.split()]  # a scale and three vectors
    return len(lines) > 7 and len(numbers) == 10 and bool(np.isfinite(numbers).all())


def _targets(tables: Tables, taken: Sequence[str]) -> Sequence[str]:
    """Return the columns to predict: those of the sample submission or, without one, those that the test table lacks."""
    train, test, sample = tables["train"], tables.get("test"), tables.get("sample_submission")
    others = [name for name in train if name not in taken and (test is None or name not in test)]
    numbers = [name for name in others if len(_filled(train[name])) == len(train) and _is_numeric(train[name])]
    if sample is not None:
        targets = [name for name in sample if name not in taken]
        if unknown := [name for name in targets if name not in train]:
            raise ValueError(
                f"the sample submission has the column {unknown[0]!r}, and the training table has none of that name; it has "
                f"{_listed(numbers)}: give both the same name"
            )
        return targets
    if test is not None and numbers:
        return numbers
    raise ValueError(f"which column is to be predicted? Say --target with one or more of {_listed(numbers)}")


def _units(targets: Sequence[str], wish: Sequence[str] | None) -> Sequence[str]:
    """Return a unit for each target: the user's, or what the name says."""
    if wish is None:
        return [next((unit for part, unit in UNITS.items() if re.search(part, name, re.IGNORECASE)), "units") for name in targets]
    if len(wish) not in (1, len(targets)):
        raise ValueError(f"--unit: {len(wish)} units for {len(targets)} targets; give one, or one for each")
    return list(wish) * (len(targets) // len(wish))


def _kinds(tables: Tables, taken: Sequence[str], structures: str, form: StructureFormat, folder: Path) -> dict[str, str]:
    """Return what each column of the training table is taken for that is not taken yet.

    Columns named like elements or `nsites` are checks if they agree with the structures.
    """
    train = tables["train"]
    test = tables.get("test", train)
    absent = {name: "left out: not in the test table" for name in train if name not in test}
    kinds = {name: _kind(train[name], test[name]) for name in train if name not in (*taken, *absent)}
    counts = [name for name in kinds if name in SYMBOLS or name == "nsites"]
    agree = []
    for row in train.head(N_EXAMPLES).to_dict("records"):
        with contextlib.suppress(ValueError):  # a bad row is reported later
            agree.append(not contradictions(crystal_in(row[structures], form, folder), {name: row[name] for name in counts}))
    if sum(agree) >= SURE * max(1, len(agree)):
        return absent | kinds | dict.fromkeys(counts, CHECKED)
    unnamed = [name for name in counts if kinds[name].startswith("left out")]  # they would be checked
    return absent | kinds | dict.fromkeys(unnamed, "numeric")


def _kind(texts: pd.Series, in_test: pd.Series) -> str:
    """Return what a column of the training and the test table is taken for."""
    name, n_different, numbers = str(texts.name), texts.nunique(), _numbers(texts)
    if not 0 < len(name) <= MAX_TEXT:
        return "left out: its name is empty or too long"
    if n_different == 1:
        return "left out: constant"
    if DERIVED.fullmatch(name):
        return "left out: follows from the structure"
    if _is_numeric(texts) and _is_numeric(in_test):
        is_whole = _is_numeric(texts, whole=True)
        if is_whole and n_different == len(texts) == np.ptp(numbers) + 1:
            return "left out: numbers the rows"
        return "categorical" if is_whole and CODES.search(name) and n_different <= len(texts) / 2 else "numeric"
    if numbers.notna().sum() > len(texts) / 2:
        return "left out: numbers and text; leave the fields of missing numbers empty to use it"
    is_few = n_different <= min(MAX_TEXT_VALUES, len(texts) / ROWS_PER_CATEGORY)
    is_category = is_few and texts.str.len().max() <= MAX_TEXT
    return "categorical" if is_category else f"left out: text with {n_different} different values"


def _place_in_task(which: str, path: Path, folder: Path) -> str:
    """Return the name of a file in [files]: it stays where it is if it lies inside the folder."""
    absolute, inside = path.absolute(), folder.absolute()
    if absolute.is_relative_to(inside) and is_inside(name := str(absolute.relative_to(inside))) and absolute != inside:
        return name
    return which if which == "structures" else f"{which}{'.csv.gz' if path.suffix == '.gz' else '.csv'}"


def _place(source: Path, target: Path, link: bool, force: bool) -> None:
    """Copy a file, or link to it or to a folder, unless it is there already."""
    if target.exists() and target.samefile(source):
        return
    if target.is_file() and source.is_file() and filecmp.cmp(source, target, shallow=False):
        return
    if target.exists() or target.is_symlink():
        if not force:
            raise ValueError(f"{target} exists and differs from {source}: remove it, or replace it with --force")
        shutil.rmtree(target) if target.is_dir() and not target.is_symlink() else target.unlink()
    target.parent.mkdir(parents=True, exist_ok=True)
    if link:
        target.symlink_to(source.resolve())
    else:
        shutil.copyfile(source, target)


def _summary(folder: Path, train: pd.DataFrame, kinds: Mapping[str, str], n_jobs: int) -> str:
    """Return what the columns are, what is wrong with the rows, the targets, and what to do next."""
    task = read_tasks(folder)[0]
    values = {target: train[target.column].map(number) for target in task.targets}
    problems, n_rows = [], {}
    for which in ("train", "test") if task.has_test else ("train",):
        ids, parsed = parse_table(task.path(which), task, has_target=False, n_jobs=n_jobs)
        n_rows[which] = len(ids)
        for i, row in enumerate(parsed):
            columns = [t.column for t, column in values.items() if which == "train" and not np.isfinite(column[i])]
            reasons = [*filter(None, [row.reason]), *(f"{name!r} is not a finite number" for name in columns)]
            if reasons:
                problems.append(f"{task.files[which]}: record {i + 2}, {ids[i][:WIDTH]!r}: {'; '.join(reasons)}")
    ranges = [[t.column, t.unit, *_range(column[np.isfinite(column)])] for t, column in values.items()]
    one = f" --target {task.target_column}" if len(task.targets) > 1 else ""
    data = f"--data {shown(folder)}"
    return "\n".join(
        [
            f"{shown(folder / 'task.toml')} describes {' and '.join(f'{n} {which} rows' for which, n in n_rows.items())}:",
            *_table(["column", "is", "example"], _roles(train, kinds)),
            "",
            f"{len(problems)} of {sum(n_rows.values())} rows are bad{':' if problems else ''}",
            *(f"  {problem}" for problem in problems[:N_NAMED]),
            *([f"  and {len(problems) - N_NAMED} more"] if len(problems) > N_NAMED else []),
            "",
            *_table(["target", "unit", "n", "min", "median", "max"], ranges),
            "",
            "Correct task.toml if a column is not what it is taken for. Next:",
            f"  python exp/check_data.py {data}{one}",
            f"  python exp/exp001/train.py {data}{' --skip-bad-rows' if problems else ''}",
        ]
    )


def _roles(train: pd.DataFrame, kinds: Mapping[str, str]) -> list[list[str]]:
    """Return a line for each column that is used, and one for all columns that are left out or checked for one reason."""
    unused = {kind: [name or "(no name)" for name in train if kinds[name] == kind] for kind in kinds.values() if _is_unused(kind)}
    used = [[name, kinds[name], next(iter(_filled(train[name])), "")] for name in train if not _is_unused(kinds[name])]
    return used + [[", ".join(names), kind, f"{len(names)} columns" if len(names) > 1 else ""] for kind, names in unused.items()]


def _is_unused(kind: str) -> bool:
    return kind == CHECKED or kind.startswith("left out")


def _range(values: pd.Series) -> list[str]:
    """Return the number of values, the least, the median and the largest."""
    return [str(len(values)), *(f"{x:.6g}" for x in values.quantile([0, 0.5, 1]) if len(values))]


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    """Return the lines of a table for people."""
    cells = [[_short(text) for text in (*row, *[""] * (len(header) - len(row)))] for row in [header, *rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  " + "  ".join(text.ljust(w) for text, w in zip(row, widths, strict=True)).rstrip() for row in cells]


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 4]} ..."
