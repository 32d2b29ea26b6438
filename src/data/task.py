"""Names of a competition's columns and files, read from input/<task>/task.toml."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

MetricName = Literal["mae", "rmse", "rmsle", "mape", "r2", "spearman"]
StructureFormat = Literal["cif", "poscar", "json", "file", "formula"]
FILES = ("train", "test", "sample_submission", "test_labels", "folds", "structures")
OF_A_TEST = FILES[1:4]  # a task without a test table names none of these
TEXTS = ("id_column", "structure_column", "metric")
LISTS = ("numeric_columns", "categorical_columns")
KEYS = (*TEXTS, *LISTS, "structure_format", "target_column", "targets", "unit", "files")
MAX_BYTES = 100_000  # of a description
MAX_TEXT = 200  # characters of a name in it
MAX_LISTED = 1000  # names in a list of it
WAY_OUT = "compare it with input/flla/task.toml"


class Target(NamedTuple):
    """A column to predict, and the unit shown beside its figures."""

    column: str
    unit: str


@dataclass(frozen=True)
class Task:
    """Description of a task, and the one of its targets that is being predicted.

    structure_format: what the structure column holds: text of a CIF, a POSCAR or pymatgen's JSON, the name of a `file` in the
    folder that [files] calls `structures`, or only a `formula`.
    targets: all of them. target: one of these.
    metric: the competition's score, a key of METRICS in src/results/metrics.py.
    files: the names of those of FILES that the task has, relative to its folder.
    numeric_columns, categorical_columns: further columns that learners may use, in training and test tables.
    """

    name: str
    folder: Path
    id_column: str
    structure_column: str
    structure_format: StructureFormat
    targets: tuple[Target, ...]
    target: Target
    metric: MetricName
    files: dict[str, str]
    numeric_columns: tuple[str, ...] = ()
    categorical_columns: tuple[str, ...] = ()

    @property
    def target_column(self) -> str:
        """Name of the column that is being predicted."""
        return self.target.column

    @property
    def unit(self) -> str:
        """Unit of what is being predicted."""
        return self.target.unit

    @property
    def target_idx(self) -> int:
        """Place of the target among all targets, from 0."""
        return self.targets.index(self.target)

    @property
    def has_test(self) -> bool:
        """True if there is a test table; if not, the out-of-fold predictions are the result."""
        return "test" in self.files

    @property
    def has_labels(self) -> bool:
        """True if the labels of the test table are there."""
        return "test_labels" in self.files

    @property
    def label(self) -> str:
        """Name of the task; if it has several targets, with that of the one being predicted."""
        return self.name if len(self.targets) == 1 else f"{self.name}/{self.target_column}"

    def runs(self, outputs: Path) -> Path:
        """Return the folder of the runs: outputs/<task>, or outputs/<task>/<target> if there are several targets."""
        return outputs / self.label

    def path(self, which: str) -> Path:
        """Return the path of one of FILES; raise ValueError if the task names none, FileNotFoundError if it is missing."""
        if which not in self.files:
            raise ValueError(f"{self.folder / 'task.toml'}: [files] names no {which!r}")
        path = self.folder / self.files[which]
        if not (path.is_dir() if which == "structures" else path.is_file()):
            raise FileNotFoundError(f"{path} is missing; {self.folder / 'task.toml'} names it as the task's {which}")
        return path


def read_task(folder: Path, target: str | None = None) -> Task:
    """Return the task of a folder; raise ValueError if its description lacks keys, has unknown ones, or points outside it.

    target: the column to predict; None: the only one. Raises ValueError if there are several, or no such one.
    """
    return read_tasks(folder, None if target is None else [target], only_one=True)[0]


def read_tasks(folder: Path, targets: Sequence[str] | None = None, only_one: bool = False) -> list[Task]:
    """Return the task of a folder once for each of its targets, or for those named; raises as `read_task`."""
    path = folder / "task.toml"
    fields = _read(path)
    task = _task(path, fields)
    columns = [target.column for target in task.targets]
    if unknown := [name for name in targets or () if name not in columns]:
        raise ValueError(f"--target {unknown[0]}: {path} has the targets {', '.join(columns)}")
    if only_one and targets is None and len(columns) > 1:
        raise ValueError(f"{path} has several targets; choose one with --target: {', '.join(columns)}")
    return [replace(task, target=target) for target in task.targets if targets is None or target.column in targets]


def description(
    id_column: str,
    structure_column: str,
    targets: Sequence[Target],
    metric: MetricName,
    files: Mapping[str, str],
    structure_format: StructureFormat = "cif",
    numeric: Sequence[str] = (),
    categorical: Sequence[str] = (),
) -> str:
    """Return the text of a task.toml, which `read_task` reads. files: name in [files] -> file or folder."""
    units = [target.unit for target in targets]
    fields = {
        "id_column": id_column,
        "structure_column": structure_column,
        **({} if structure_format == "cif" else {"structure_format": structure_format}),
        **({"targets": [t.column for t in targets]} if len(targets) > 1 else {"target_column": targets[0].column}),
        "metric": metric,
        "unit": units if len(set(units)) > 1 else units[0],
        **({"numeric_columns": [*numeric]} if numeric else {}),
        **({"categorical_columns": [*categorical]} if categorical else {}),
    }
    lines = ["# What the columns and files of this task are called, and what is predicted. Read by src/data/task.py."]
    lines += [*map(_line, fields, fields.values()), "", "[files]", *map(_line, files, files.values()), ""]
    return "\n".join(lines)


def _line(key: str, value: object) -> str:
    return f"{key} = {json.dumps(value, ensure_ascii=False)}"  # of texts and lists of them, JSON is TOML


def _read(path: Path) -> dict[str, Any]:
    """Return the fields of a description, of which only the size, the form, texts and lists have been checked."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: input/new_task.py writes it from your tables")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path}: {path.stat().st_size} bytes, at most {MAX_BYTES} are read; {WAY_OUT}")
    try:
        fields = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: {error}; {WAY_OUT}") from error
    for name in TEXTS:
        if not _is_text(fields.get(name)):
            raise ValueError(f"{path}: {name} is {_shown(fields.get(name))}, expected a text of 1 to {MAX_TEXT} characters")
    for name in LISTS:
        if not _is_list(fields.get(name, [])):
            raise ValueError(f"{path}: {name} is {_shown(fields[name])}, expected a list of names of columns")
    return fields


def _task(path: Path, fields: dict[str, Any]) -> Task:
    """Return the task that the fields of a description stand for, with its first target; raise ValueError if they contradict."""
    targets = _targets(path, fields)
    numeric, categorical = (tuple(fields.get(name, ())) for name in LISTS)
    columns = [fields["id_column"], fields["structure_column"], *(t.column for t in targets), *numeric, *categorical]
    if len(set(columns)) < len(columns):
        twice = next(name for name in columns if columns.count(name) > 1)
        raise ValueError(
            f"{path}: {twice!r} is named as two columns, expected different columns for ids, structures, targets, ..."
        )
    if fields["metric"] not in get_args(MetricName):
        raise ValueError(f"{path}: metric = {_shown(fields['metric'])}, expected one of {', '.join(get_args(MetricName))}")
    form = fields.get("structure_format", "cif")
    if form not in get_args(StructureFormat):
        raise ValueError(f"{path}: structure_format = {_shown(form)}, expected one of {', '.join(get_args(StructureFormat))}")
    files = _files(path, fields)
    if unknown := sorted(set(fields) - set(KEYS)):
        raise ValueError(f"{path}: unknown {', '.join(unknown)[:MAX_TEXT]}; there are {', '.join(KEYS)}")
    if (form == "file") != ("structures" in files):
        raise ValueError(
            f"{path}: structure_format = {form!r}; [files] must name the folder `structures` for 'file', and only for it"
        )
    return Task(
        name=path.parent.resolve().name,
        folder=path.parent,
        **{name: fields[name] for name in TEXTS},
        structure_format=form,
        targets=targets,
        target=targets[0],
        files=files,
        numeric_columns=numeric,
        categorical_columns=categorical,
    )


def _targets(path: Path, fields: dict[str, Any]) -> tuple[Target, ...]:
    """Return the targets: that of `target_column`, or those of the list `targets`, with one unit for all or one for each."""
    if ("target_column" in fields) == ("targets" in fields):
        raise ValueError(f'{path}: expected target_column = "..." or, for several, targets = ["...", "..."]; {WAY_OUT}')
    columns = [fields["target_column"]] if "target_column" in fields else fields["targets"]
    if not _is_list(columns) or not columns:
        raise ValueError(
            f"{path}: the target is {_shown(columns)}, expected a text of 1 to {MAX_TEXT} characters, or a list of them"
        )
    unit: Any = fields.get("unit")
    units = [unit] * len(columns) if isinstance(unit, str) else unit
    if not _is_list(units) or len(units) != len(columns):
        raise ValueError(
            f"{path}: unit is {_shown(unit)}, expected a text of 1 to {MAX_TEXT} characters, or a list with one for each target"
        )
    bad = [name for name in columns if "/" in name or name in (".", "..")]
    if bad and len(columns) > 1:  # their names become folders
        raise ValueError(f"{path}: the target {bad[0]!r} has a slash or is a dot; rename the column, its runs get a folder")
    return tuple(Target(column, unit) for column, unit in zip(columns, units, strict=True))


def _files(path: Path, fields: dict[str, Any]) -> dict[str, str]:
    files = fields.get("files")
    if not isinstance(files, dict) or set(files) - set(FILES) or "train" not in files:
        raise ValueError(f"{path}: [files] must name train (and may name {', '.join(FILES[1:])})")
    if set(files) & set(OF_A_TEST) and not {"test", "sample_submission"} <= set(files):
        raise ValueError(f"{path}: [files] must name both test and sample_submission, or none of {', '.join(OF_A_TEST)}")
    for which, name in files.items():
        if not is_inside(name):
            raise ValueError(f"{path}: [files] {which} = {_shown(name)} is not a file inside {path.parent}")
    return files


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_TEXT


def _is_list(value: object) -> bool:
    return isinstance(value, list) and len(value) <= MAX_LISTED and all(map(_is_text, value))


def _shown(value: object) -> str:
    return repr(value)[:MAX_TEXT]


def is_inside(name: object) -> bool:
    """Return whether a name is a relative one that does not climb out of the folder; links are the user's own affair."""
    if not isinstance(name, str) or not _is_text(name) or not name.isprintable():
        return False
    return not Path(name).is_absolute() and ".." not in Path(name).parts
