"""Names of a competition's columns and files, read from input/<task>/task.toml."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

MetricName = Literal["mae", "rmse", "rmsle", "mape", "r2", "spearman"]
FILES = ("train", "test", "sample_submission", "test_labels", "folds")
OF_A_TEST = FILES[1:4]  # a task without a test table names none of these
TEXTS = ("id_column", "structure_column", "target_column", "metric", "unit")
COLUMNS = TEXTS[:3]
MAX_BYTES = 100_000  # of a description
MAX_TEXT = 200  # characters of a name in it


@dataclass(frozen=True)
class Task:
    """Description of a task.

    files: the names of those of FILES that the task has, relative to its folder.
    metric: the competition's score, a key of METRICS in src/results/metrics.py.
    """

    name: str
    folder: Path
    id_column: str
    structure_column: str
    target_column: str
    metric: MetricName
    unit: str
    files: dict[str, str]

    @property
    def has_test(self) -> bool:
        """True if there is a test table; if not, the out-of-fold predictions are the result."""
        return "test" in self.files

    def path(self, which: str) -> Path:
        """Return the path of one of FILES; raise ValueError if the task names none, FileNotFoundError if it is missing."""
        if which not in self.files:
            raise ValueError(f"{self.folder / 'task.toml'}: [files] names no {which!r}")
        path = self.folder / self.files[which]
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing; {self.folder / 'task.toml'} names it as the task's {which}")
        return path


def read_task(folder: Path) -> Task:
    """Return the task of a folder; raise ValueError if its description lacks keys, has unknown ones, or points outside it."""
    path = folder / "task.toml"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: copy input/flla/task.toml there and name the columns of your table")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path}: {path.stat().st_size} bytes, at most {MAX_BYTES} are read; copy input/flla/task.toml there")
    try:
        fields = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: {error}; compare it with input/flla/task.toml") from error
    for name in TEXTS:
        if not isinstance(fields.get(name), str) or not 0 < len(fields[name]) <= MAX_TEXT:
            raise ValueError(
                f"{path}: {name} is {repr(fields.get(name))[:MAX_TEXT]}, expected a text of 1 to {MAX_TEXT} characters"
            )
    if len({fields[name] for name in COLUMNS}) < len(COLUMNS):
        raise ValueError(
            f"{path}: {', '.join(COLUMNS)} are {[fields[name] for name in COLUMNS]}, expected three different columns"
        )
    if fields["metric"] not in get_args(MetricName):
        raise ValueError(f"{path}: metric = {fields['metric']!r}, expected one of {', '.join(get_args(MetricName))}")
    files = fields.get("files")
    if not isinstance(files, dict) or set(files) - set(FILES) or "train" not in files:
        raise ValueError(f"{path}: [files] must name train (and may name {', '.join(FILES[1:])})")
    if set(files) & set(OF_A_TEST) and not {"test", "sample_submission"} <= set(files):
        raise ValueError(f"{path}: [files] must name both test and sample_submission, or none of {', '.join(OF_A_TEST)}")
    unknown = sorted(set(fields) - {*TEXTS, "files"})
    if unknown:
        raise ValueError(f"{path}: unknown {', '.join(unknown)[:MAX_TEXT]}; there are {', '.join(TEXTS)} and [files]")
    for which, name in files.items():
        if not _is_inside(name):
            raise ValueError(f"{path}: [files] {which} = {str(name)[:MAX_TEXT]!r} is not a file inside {folder}")
    return Task(folder.resolve().name, folder, **{name: fields[name] for name in TEXTS}, files=files)


def _is_inside(name: object) -> bool:
    """Return whether a name is a relative one that does not climb out of the folder; links are the user's own affair."""
    if not isinstance(name, str) or not 0 < len(name) <= MAX_TEXT or not name.isprintable():
        return False
    return not Path(name).is_absolute() and ".." not in Path(name).parts
