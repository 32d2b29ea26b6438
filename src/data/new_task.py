"""A new task's folder: its tables and structure files, and a description inferred from them."""

import contextlib
import filecmp
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
from tqdm import tqdm

from src.data.formats import crystal_in
from src.data.rows import number, read_rows, table_suffix
from src.data.table import MAX_NUMBER, SYMBOLS, bad_rows, parse_table
from src.data.target import Domain
from src.data.task import CLASS_METRICS, MAX_TEXT, MetricName, StructureFormat, Target, description, is_inside, read_tasks
from src.paths import shown
from src.storage.files import write_atomic

LOOKED_AT = ("train", "test", "sample_submission", "folds")
N_NAMED = 5  # bad rows
WIDE = 100.0  # ratio of the largest and the smallest value, from which on a logarithm is worth a hint
WIDTH = 44  # characters of a field in the summary
N_EXAMPLES = 10  # fields of each column that are read as structures; half of them must be, all but one of formulas
ID_NAMES = re.compile(r"(.*[ _-]|\w{2,5})?id|.*material.*|.*name|key", re.IGNORECASE)
MAX_TEXT_VALUES = 50  # different values of a categorical column of text
ROWS_PER_CATEGORY = 4
CODES = re.compile(r"space_?group|sg_?(num|no)|group|class|type|categor|cluster|label|code|kind", re.IGNORECASE)
DERIVED = re.compile(r"n_?(elements|atoms)|formula\w*|composition|full_formula", re.IGNORECASE)
FILE_NAMES = re.compile(r"(\.(cif|mcif|vasp|poscar|json)(\.gz)?|poscar)$", re.IGNORECASE)
USED = ("id", "structure", "target", "numeric", "categorical")
Tables = Mapping[str, pd.DataFrame]  # all fields are text


def new_task(
    folder: Path,
    files: Mapping[str, Path],
    metric: MetricName | None,
    domain: Domain | None = None,
    id_column: str | None = None,
    structure_column: str | None = None,
    targets: Sequence[str] | None = None,
    units: Sequence[str] = ("units",),
    force: bool = False,
    n_jobs: int = 1,
) -> str:
    """Write the folder of a task, task.toml last, and return what was understood and how many rows are bad.

    files: of those that a task's [files] may name; `train` at least. `structures`: a folder; without it, files are looked for
    beside the training table and in the folders there. What is not in the task's folder yet is copied. metric: None: of a target
    with two classes `roc_auc`. domain: of the metric. force: replace what is there. What is None is inferred.
    Raises ValueError or FileNotFoundError, and changes nothing, if the tables cannot be understood or the task exists.
    """
    written = folder / "task.toml"
    if written.exists() and not force:
        raise ValueError(f"{written} exists: choose another name, or replace it with --force")
    if missing := [path for which, path in files.items() if not (path.is_dir() if which == "structures" else path.is_file())]:
        raise FileNotFoundError(f"{missing[0]} is missing")
    tables = {which: pd.DataFrame(read_rows(files[which]), dtype=object) for which in LOOKED_AT if which in files}
    train, test = tables["train"], tables.get("test", tables["train"])
    for option, name in (("--id", id_column), ("--structure", structure_column), *(("--target", t) for t in targets or ())):
        if name is not None and name not in train:
            raise ValueError(f"{option} {name}: the table has the columns {_listed(train)}")
    ids = _id_column(tables, id_column)
    beside = files.get("structures") or _folder_of_files(train, files["train"].parent)
    structures, form = _structure_column(tables, ids, beside, structure_column)
    names = targets or _targets(tables, (ids, structures), metric)
    metric, classes = _metric_and_classes(train[list(names)], metric)
    units = ("probability",) if classes and tuple(units) == ("units",) else units
    if len(units) not in (1, len(names)):
        raise ValueError(f"--unit: {len(units)} units for {len(names)} targets; give one, or one for each")
    found = [Target(name, units[i % len(units)]) for i, name in enumerate(names)]
    for values in (_numbers(train[target.column]).dropna() for target in found):
        if domain:
            domain.check(files["train"], train.loc[values.index, ids].tolist(), values.to_numpy(), f"metric = {metric!r}")
    kinds = {name: _kind(train[name], test.get(name)) for name in train}
    kinds |= {ids: "id", structures: f"structure ({form})", **{t.column: f"target ({t.unit})" for t in found}}
    if form == "file":
        files = {**files, "structures": beside}
    elif "structures" in files:
        raise ValueError(f"--structures {beside}: no column of the training table names files in it")
    places = {which: _place(which, path, folder) for which, path in files.items()}
    copies = {files[which]: folder / place for which, place in places.items() if which != "structures"}
    if form == "file":
        named = sorted(filter(is_inside, {*train[structures], *test[structures]}))
        copies |= {beside / name: folder / places["structures"] / name for name in named if (beside / name).is_file()}
    for source, target in tqdm(copies.items(), "copying", mininterval=1, delay=1):
        _copy(source, target, force)
    fields: dict[str, Any] = {"id_column": ids, "structure_column": structures, "structure_format": form, "classes": classes}
    fields |= {f"{kind}_columns": [name for name in train if kinds[name] == kind] for kind in ("numeric", "categorical")}
    write_atomic(written, description(found, places, metric, **fields).encode())
    return _summary(folder, train, kinds, n_jobs)


def _listed(names: Iterable[str]) -> str:
    text = ", ".join(names)
    return text if len(text) <= 500 else f"{text[:500]} ..."


def _filled(texts: pd.Series) -> pd.Series:
    return texts[texts.str.strip() != ""]


def _numbers(texts: pd.Series) -> pd.Series:
    """Return the fields that are not empty as numbers; NaN for those that are not numbers."""
    values = _filled(texts).map(number).astype(float)
    return values.where(values.abs() <= MAX_NUMBER)


def _is_numeric(texts: pd.Series, whole: bool = False) -> bool:
    """Return whether every field is empty or a number, and not all are empty. whole: a whole number."""
    values = _numbers(texts)
    return len(values) > 0 and bool((values % 1 == 0 if whole else values.notna()).all())


def _id_column(tables: Tables, wish: str | None) -> str:
    """Return the column whose values are unique in every table that has to have it."""
    train = tables["train"]
    shared = [name for name in train if name and all(name in table for table in tables.values())]
    unique = [name for name in shared if wish in (None, name) and all(table[name].is_unique for table in tables.values())]
    good = [name for name in unique if train[name].str.len().max() <= MAX_TEXT and not (_numbers(train[name]) % 1 > 0).any()]
    if not good:
        what = f"the column {wish!r} is not" if wish is not None else "there is no column that is"
        raise ValueError(
            f"{what} in all tables ({', '.join(tables)}) with a different value in each row of them, as ids need; the tables "
            f"share the columns {_listed(shared) or 'none'}: name the right one with --id, or add one"
        )
    likely = min(good, key=lambda name: (name.lower() != "id", not ID_NAMES.fullmatch(name), _is_numeric(train[name])))
    if "sample_submission" in tables and set(tables["sample_submission"][likely]) != set(tables["test"][likely]):
        raise ValueError(f"the values of {likely!r} in the sample submission are not those of the test table; is it --id?")
    return likely


def _structure_column(tables: Tables, ids: str, folder: Path, wish: str | None) -> tuple[str, StructureFormat]:
    """Return the structure column that training and test tables share, and its format; else a column of formulas."""
    train = tables["train"]
    columns = [name for name in train if name in tables.get("test", train) and name != ids and wish in (None, name)]
    found = {name: form for name in columns if (form := _format(train[name], folder))}
    best = [name for name, form in found.items() if form != "formula"]
    if named := [name for name in columns if not best and not wish and _are_file_names(_filled(train[name]))]:
        raise ValueError(
            f"the column {named[0]!r} names files, {_filled(train[named[0]]).iloc[0]!r} for instance, and {folder} has none of "
            "them: say --structures FOLDER, or choose another column with --structure"
        )
    if not best:
        best = [name for name in found if re.search("formula|compos", name, re.IGNORECASE)][:1] or [*found]
    if len(best) == 1:
        return best[0], found[best[0]]
    if best:
        raise ValueError(f"several columns hold structures: choose one of {_listed(best)} with --structure")
    raise ValueError(
        f"{f'--structure {wish}' if wish else 'no column'} holds CIF, POSCAR or JSON text of pymatgen, names of files in "
        f"{folder} (--structures FOLDER), or formulas; the columns are {_listed(columns)}"
    )


def _are_file_names(texts: pd.Series) -> bool:
    """Return whether all fields, at least one, end as structure files do."""
    return len(texts) > 0 and all(map(FILE_NAMES.search, texts))


def _folder_of_files(train: pd.DataFrame, parent: Path) -> Path:
    """Return the folder of the files that a column names: `parent`, or the first one in it that has them."""
    named = [_filled(train[name]).head(N_EXAMPLES) for name in train]
    for folder in [parent, *sorted(path for path in parent.iterdir() if path.is_dir())]:
        if any(len(texts) and all(is_inside(text) and (folder / text).is_file() for text in texts) for texts in named):
            return folder
    return parent


def _format(texts: pd.Series, folder: Path) -> StructureFormat | None:
    """Return the format of the structures in a column, None if it holds none. folder: of structure files."""
    examples = _filled(texts).head(N_EXAMPLES)
    for form in get_args(StructureFormat):
        n_bad = sum(_is_bad(text, form, folder) for text in examples)
        allowed = 1 if form == "formula" else len(examples) // 2  # many a word is a formula too
        if n_bad <= allowed and n_bad < len(examples):
            return form
    return None


def _is_bad(text: str, form: StructureFormat, folder: Path) -> bool:
    with contextlib.suppress(ValueError):
        return not crystal_in(text, form, folder)
    return True


def _metric_and_classes(targets: pd.DataFrame, metric: MetricName | None) -> tuple[MetricName, tuple[str, ...]]:
    """Return the metric, and the two classes of the targets as the table has them, the one that is not predicted first.

    False comes before True, the smaller number before the larger, and of other texts the first in the alphabet.
    Raises ValueError if the metric is for classes but the targets are not of two, or if there is no metric for their values.
    """
    found = {name: _classes_in(targets[name]) for name in targets}
    each = set(found.values())
    if metric is None and not all(each):
        raise ValueError(
            f"--metric: say how predictions are scored; {_listed(n for n in found if not found[n])} has no two classes"
        )
    if metric is not None and metric not in CLASS_METRICS:
        return metric, ()
    if len(each) > 1 or not all(each):
        name = next((name for name in found if not found[name]), [*found][-1])
        values = _listed(map(repr, sorted(set(targets[name]))[:N_NAMED]))
        raise ValueError(f"--metric {metric or 'roc_auc'} is for two classes, the same in all targets; {name!r} has {values}")
    return metric or "roc_auc", each.pop()


def _classes_in(texts: pd.Series) -> tuple[str, ...]:
    """Return the two classes of a column without empty fields, whole numbers or texts; none if it has no two."""
    found = sorted({text.strip() for text in texts}, key=lambda text: (np.nan_to_num(number(text)), text.lower()))
    kinds = [_is_numeric(pd.Series([text])) for text in found]
    is_number = all(kinds) and _is_numeric(pd.Series(found), whole=True)
    return tuple(found) if len(found) == 2 and "" not in found and (is_number or not any(kinds)) else ()


def _targets(tables: Tables, taken: Sequence[str], metric: MetricName | None) -> Sequence[str]:
    """Return the columns to predict: those of the sample submission or, without one, those that the test table lacks."""
    train, test, sample = tables["train"], tables.get("test"), tables.get("sample_submission")
    others = [name for name in train if name not in taken and (test is None or name not in test)]
    numbers = [name for name in others if len(_filled(train[name])) == len(train) and _is_numeric(train[name])]
    if metric in CLASS_METRICS or (metric is None and not numbers):
        numbers = [name for name in others if _classes_in(train[name])]
    if sample is None:
        if test is not None and numbers:
            return numbers
        raise ValueError(f"which column is to be predicted? Say --target with one or more of {_listed(numbers)}")
    targets = [name for name in sample if name not in taken]
    if unknown := [name for name in targets if name not in train]:
        raise ValueError(
            f"the sample submission has the column {unknown[0]!r}, and the training table has none of that name; it has "
            f"{_listed(numbers)}: give both the same name"
        )
    return targets


def _kind(texts: pd.Series, in_test: pd.Series | None) -> str:
    """Return the role that a column of the training and the test table is given.

    Whole numbers under the symbol of an element, or `nsites`, count atoms; they are compared with the structures.
    """
    name, n_different, is_whole = str(texts.name), texts.nunique(), _is_numeric(texts, whole=True)
    if in_test is None:
        return "left out: not in the test table"
    if not 0 < len(name) <= MAX_TEXT:
        return "left out: its name is empty or too long"
    if is_whole and (name in SYMBOLS or name == "nsites"):
        return "checked against the structures"
    if DERIVED.fullmatch(name):
        return "left out: follows from the structure"
    if n_different == 1:
        return "left out: constant"
    if _is_numeric(texts) and _is_numeric(in_test):
        if is_whole and n_different == len(texts):
            return "left out: numbers the rows"
        return "categorical" if is_whole and CODES.search(name) else "numeric"
    is_few = n_different <= min(MAX_TEXT_VALUES, len(texts) / ROWS_PER_CATEGORY) and texts.str.len().max() <= MAX_TEXT
    return "categorical" if is_few else f"left out: text with {n_different} different values"


def _place(which: str, path: Path, folder: Path) -> str:
    """Return the name of a file in [files]: it stays where it is if it lies inside the folder."""
    absolute, inside = path.resolve(), folder.resolve()
    if absolute.is_relative_to(inside) and absolute != inside:
        return str(absolute.relative_to(inside))
    return which if which == "structures" else f"{which}{table_suffix(path) or '.csv'}"


def _copy(source: Path, target: Path, force: bool) -> None:
    """Copy a file unless it is there already."""
    if target.is_file() and filecmp.cmp(source, target, shallow=False):
        return
    if target.exists() and not force:
        raise ValueError(f"{target} exists and differs from {source}: remove it, or replace it with --force")
    write_atomic(target, source.read_bytes())


def _summary(folder: Path, train: pd.DataFrame, kinds: Mapping[str, str], n_jobs: int) -> str:
    """Return what the columns are, what is wrong with the rows, the targets, and what to do next."""
    task = read_tasks(folder)[0]
    tables = [which for which in ("train", "test") if which in task.files]
    found = {which: parse_table(task.path(which), task, which == "train", n_jobs) for which in tables}
    problems = [f"{task.files[which]}: {text}" for which, table in found.items() for text in bad_rows(*table)]
    used = [name for name in train if kinds[name].split()[0] in USED]
    examples = {name: " ".join(next(iter(_filled(train[name])), "").split())[:WIDTH] for name in used}
    unused = {kind: [name for name in train if kinds[name] == kind] for kind in kinds.values()}
    values = pd.DataFrame([row.targets for row in found["train"][1]], columns=[t.column for t in task.targets])
    ranges = values.describe().loc[["count", "min", "50%", "max"]].rename({"50%": "median"}).T
    ranges.insert(0, "unit", [target.unit for target in task.targets])
    data, skip = f"--data {shown(folder)}", " --skip-bad-rows" if problems else ""
    wide = [name for name in values if values[name].min() > 0 and values[name].max() / values[name].min() > WIDE]
    further = task.columns.all
    which = f"predicted is the probability of {task.texts[-1]!r}, against {task.texts[0]!r}; for the other one exchange `classes`"
    n_disordered = sum(row.crystal is not None and row.crystal.is_disordered for _, rows in found.values() for row in rows)
    return "\n".join(
        [
            f"{shown(folder / 'task.toml')} describes {' and '.join(f'{len(found[t][0])} {t} rows' for t in tables)}:",
            *(f"  {name}: {kinds[name]}, such as {example}" for name, example in examples.items()),
            *(f"  {_listed(names) or '(no name)'}: {kind}" for kind, names in unused.items() if names[0] not in used),
            "",
            f"{len(problems)} of {sum(len(ids) for ids, _ in found.values())} rows are bad{':' if problems else ''}",
            *(f"  {problem}" for problem in problems[:N_NAMED]),
            *([f"  and {len(problems) - N_NAMED} more"] if len(problems) > N_NAMED else []),
            *([f"{n_disordered} structures are disordered: they are used, see docs/own-data.md"] if n_disordered else []),
            "",
            ranges.to_string(float_format="{:.6g}".format),
            "",
            *([which] if task.of_classes else []),
            "Correct task.toml if a column is not what it is taken for. Next:",
            f"  python exp/check_data.py {data}{f' --target {task.target_column}' if len(task.targets) > 1 else ''}{skip}",
            f"  python exp/auto.py {data} --minutes 60{skip}",
            *([f"auto.py tries the logarithm where it helps: the values of {_listed(wide)} span decades"] if wide else []),
            *([f"auto.py tries trees and networks that read {_listed(further)}"] if further else []),
        ]
    )
