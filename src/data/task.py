"""Names of a competition's columns and files, read from input/<task>/task.toml."""

import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

ClassMetricName = Literal["roc_auc", "logloss", "accuracy", "balanced_accuracy", "f1"]
MetricName = Literal["mae", "rmse", "rmsle", "mape", "r2", "spearman", ClassMetricName]
CLASS_METRICS, METRIC_NAMES = get_args(ClassMetricName), get_args(MetricName)
USUAL_CLASSES = {"0": 0.0, "1": 1.0, "0.0": 0.0, "1.0": 1.0, "false": 0.0, "true": 1.0}  # in any case
StructureFormat = Literal["cif", "poscar", "json", "file", "formula"]
FILES = ("train", "test", "sample_submission", "test_labels", "folds", "structures")
OF_A_TEST = FILES[1:4]  # a task without a test table names none of these
MAX_DESCRIPTION = 100_000  # of a description
MAX_TEXT = 200  # characters of a name in it
MAX_LISTED = 1000  # names in a list of it
WAY_OUT = "compare it with input/flla/task.toml"

Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
Texts = Annotated[list[Text], Field(max_length=MAX_LISTED)]
OneOrMore = Annotated[Texts, Field(min_length=1), BeforeValidator(lambda value: [value] if isinstance(value, str) else value)]


class Target(NamedTuple):
    """A column to predict, and the unit shown beside its figures."""

    column: str
    unit: str


class ColumnNames(NamedTuple):
    """Names of further columns by kind."""

    numeric: tuple[str, ...]
    categorical: tuple[str, ...]

    @property
    def all(self) -> tuple[str, ...]:
        """All names, those of numeric columns first."""
        return self.numeric + self.categorical


@dataclass(frozen=True)
class Task:
    """Description of a task, and the one of its targets that is being predicted.

    structure_format: what the structure column holds: text of a CIF, a POSCAR or pymatgen's JSON, the name of a `file` in the
    folder that [files] calls `structures`, or only a `formula`.
    targets: all of them. target: one of these.
    metric: the competition's score, a key of METRICS in src/results/metrics.py.
    files: the names of those of FILES that the task has, relative to its folder.
    columns: further ones that learners may use, in training and test tables.
    classes: the texts of both classes in the tables, the one that is not predicted first; none if they are the usual ones, or if
        the target is a number.
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
    columns: ColumnNames
    classes: tuple[str, ...] = ()

    @property
    def of_classes(self) -> bool:
        """True if the probability of the second of two classes is predicted; False if a number is."""
        return self.metric in CLASS_METRICS

    def class_number(self, text: str) -> float:
        """Return 0 or 1 for the text of a class in a table; NaN if it is none."""
        numbers = dict(zip(self.classes, (0.0, 1.0), strict=True)) if self.classes else USUAL_CLASSES
        return numbers.get(text.strip() if self.classes else text.strip().lower(), math.nan)

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts of both classes, as a submission has them."""
        return self.classes or ("0", "1")

    @property
    def wanted_of_targets(self) -> str:
        """The requirement for every target in a table, in words."""
        if not self.of_classes:
            return "a finite number"
        return f"one of the classes {', '.join(map(repr, self.classes))}" if self.classes else "0, 1, True or False"

    @property
    def target_column(self) -> str:
        """Name of the column that is being predicted."""
        return self.target.column

    @property
    def unit(self) -> str:
        """Unit of what is being predicted."""
        return self.target.unit

    @property
    def has_test(self) -> bool:
        """True if there is a test table; if not, the out-of-fold predictions are the result."""
        return "test" in self.files

    @property
    def has_labels(self) -> bool:
        """True if the task has labels for the test table."""
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
    tasks = read_tasks(folder, None if target is None else [target])
    if len(tasks) > 1:
        columns = ", ".join(task.target_column for task in tasks)
        raise ValueError(f"{folder / 'task.toml'} has several targets; choose one with --target: {columns}")
    return tasks[0]


def read_tasks(folder: Path, targets: Sequence[str] | None = None) -> list[Task]:
    """Return the task of a folder once for each of its targets, or for those named; raises like `read_task`."""
    path = folder / "task.toml"
    fields = _read(path)
    units = fields.unit * (len(fields.target_columns) // len(fields.unit))
    found = tuple(map(Target, fields.target_columns, units))
    if unknown := [name for name in targets or () if name not in fields.target_columns]:
        raise ValueError(f"--target {unknown[0]}: {path} has the targets {', '.join(fields.target_columns)}")
    columns = ColumnNames(tuple(fields.numeric_columns), tuple(fields.categorical_columns))
    classes = tuple(fields.classes or ())
    shared = fields.model_dump(include={"id_column", "structure_column", "structure_format", "metric", "files"})
    name = folder.resolve().name
    wanted = [target for target in found if targets is None or target.column in targets]
    shared |= {"name": name, "folder": folder, "targets": found, "columns": columns, "classes": classes}
    return [Task(target=target, **shared) for target in wanted]


def description(targets: Sequence[Target], files: Mapping[str, str], metric: MetricName = "mae", **fields: Any) -> str:
    """Return the text of a task.toml, which `read_task` reads. files: name in [files] -> file or folder.

    fields: others of `Description`; what is empty or equals its default is left out.
    """
    units = [target.unit for target in targets]
    fields |= {"metric": metric, "unit": units if len(set(units)) > 1 else units[0]}
    fields |= {"targets": [t.column for t in targets]} if len(targets) > 1 else {"target_column": targets[0].column}
    known = Description.model_fields
    written = [name for name in sorted(fields, key=[*known].index) if fields[name] and fields[name] != known[name].default]
    lines = ["# What the columns and files of this task are called, and what is predicted. Read by src/data/task.py."]
    lines += [f"{key} = {json.dumps(fields[key], ensure_ascii=False)}" for key in written]  # texts and lists: it is TOML
    lines += ["", "[files]", *(f"{key} = {json.dumps(name, ensure_ascii=False)}" for key, name in files.items()), ""]
    return "\n".join(lines)


class Description(BaseModel):
    """The fields of a task.toml."""

    model_config = ConfigDict(extra="forbid", strict=True)
    id_column: Text
    structure_column: Text
    structure_format: StructureFormat = "cif"
    target_column: Text | None = None
    targets: Annotated[Texts, Field(min_length=1)] | None = None
    metric: MetricName
    classes: Annotated[Texts, Field(min_length=2, max_length=2)] | None = None
    unit: OneOrMore
    numeric_columns: Texts = []
    categorical_columns: Texts = []
    files: dict[str, Any]

    @model_validator(mode="after")
    def check(self) -> "Description":
        """Raise ValueError if fields contradict each other."""
        if (self.target_column is None) == (self.targets is None):
            raise ValueError('expected target_column = "..." or, for several, targets = ["...", "..."]')
        columns = self.target_columns
        named = [self.id_column, self.structure_column, *columns, *self.numeric_columns, *self.categorical_columns]
        if twice := [name for name in named if named.count(name) > 1]:
            raise ValueError(f"{twice[0]!r} is named as two columns, expected different columns for ids, structures, ...")
        if len(self.unit) not in (1, len(columns)):
            raise ValueError(f"unit is {self.unit}, expected one text, or a list with one for each target")
        if self.classes and self.metric not in CLASS_METRICS:
            raise ValueError(f"classes need a metric of classes, {', '.join(CLASS_METRICS)}; metric is {self.metric!r}")
        if self.classes and len({text.strip() for text in self.classes}) < 2:
            raise ValueError(f"classes are {self.classes}, expected two different texts")
        bad = [name for name in columns if "/" in name or name in (".", "..")]
        if bad and len(columns) > 1:  # their names become folders
            raise ValueError(f"the target {bad[0]!r} has a slash or is a dot; rename the column, its runs get a folder")
        if set(self.files) - set(FILES) or "train" not in self.files:
            raise ValueError(f"[files] must name train (and may name {', '.join(FILES[1:])})")
        if set(self.files) & set(OF_A_TEST) and not {"test", "sample_submission"} <= set(self.files):
            raise ValueError(f"[files] must name both test and sample_submission, or none of {', '.join(OF_A_TEST)}")
        if outside := [which for which, name in self.files.items() if not is_inside(name)]:
            name = repr(self.files[outside[0]])[:MAX_TEXT]
            raise ValueError(f"[files] {outside[0]} = {name} is not a file inside the task's folder")
        if (self.structure_format == "file") != ("structures" in self.files):
            wanted = "[files] must name the folder `structures` for 'file', and only for it"
            raise ValueError(f"structure_format = {self.structure_format!r}; {wanted}")
        return self

    @property
    def target_columns(self) -> list[str]:
        """Names of the columns to predict."""
        return self.targets or [str(self.target_column)]


def _read(path: Path) -> Description:
    """Return the fields of a description; raise ValueError, which names the file and the key, if one is invalid."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: input/new_task.py writes it from your tables")
    if path.stat().st_size > MAX_DESCRIPTION:
        raise ValueError(f"{path}: {path.stat().st_size} bytes, at most {MAX_DESCRIPTION} are read; {WAY_OUT}")
    try:
        return Description.model_validate(tomllib.loads(path.read_bytes().decode("utf-8-sig")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: {error}; {WAY_OUT}") from error
    except ValidationError as error:
        raise ValueError(f"{path}: {_fault(error)}; {WAY_OUT}") from error


def _fault(error: ValidationError) -> str:
    """Return the first fault of a description in one line."""
    fault = error.errors(include_url=False)[0]
    key = ".".join(map(str, fault["loc"]))
    if fault["type"] == "missing":
        return f"no {key}"
    if fault["type"] == "extra_forbidden":
        return f"unknown {key[:MAX_TEXT]}; there are {', '.join(Description.model_fields)}"
    if not key:
        return str(fault["ctx"]["error"])
    return f"{key} is {repr(fault['input'])[:MAX_TEXT]}: {fault['msg']}"


def is_inside(name: object) -> bool:
    """Return whether a name is relative and stays inside the folder; links are the user's responsibility."""
    if not isinstance(name, str) or not 0 < len(name) <= MAX_TEXT or not name.isprintable():
        return False
    return not Path(name).is_absolute() and ".." not in Path(name).parts
