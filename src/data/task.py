"""Task: what the columns and files of a competition are called, read from input/<task>/task.toml."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

FILES = ("train", "test", "sample_submission", "test_labels")
TEXTS = ("id_column", "structure_column", "target_column", "metric", "unit")
COLUMNS = TEXTS[:3]
MAX_BYTES = 100_000  # of a description
MAX_TEXT = 200  # characters of a name in it


@dataclass(frozen=True)
class Task:
    """A task's description.

    files: what each of FILES is called, relative to the task's folder.
    metric: `mae` or `rmse`, the competition's score.
    """

    name: str
    folder: Path
    id_column: str
    structure_column: str
    target_column: str
    metric: str
    unit: str
    files: dict[str, str]

    def path(self, which: str) -> Path:
        """Where one of FILES is; ValueError where the task names none, FileNotFoundError where it is not there."""
        if which not in self.files:
            raise ValueError(f"{self.folder / 'task.toml'}: [files] names no {which!r}")
        path = self.folder / self.files[which]
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing; {self.folder / 'task.toml'} names it as the task's {which}")
        return path


def read_task(folder: Path) -> Task:
    """The task of a folder; ValueError where its description is incomplete, says what nobody reads, or leaves the folder."""
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
    if fields["metric"] not in ("mae", "rmse"):
        raise ValueError(f"{path}: metric = {fields['metric']!r}, expected 'mae' or 'rmse'")
    files = fields.get("files")
    if not isinstance(files, dict) or set(files) - set(FILES) or not {"train", "test", "sample_submission"} <= set(files):
        raise ValueError(f"{path}: [files] must name train, test and sample_submission (and may name test_labels)")
    unknown = sorted(set(fields) - {*TEXTS, "files"})
    if unknown:
        raise ValueError(f"{path}: unknown {', '.join(unknown)[:MAX_TEXT]}; there are {', '.join(TEXTS)} and [files]")
    for which, name in files.items():
        if not _lies_inside(folder.resolve(), name):
            raise ValueError(f"{path}: [files] {which} = {str(name)[:MAX_TEXT]!r} is not a file inside {folder}")
    return Task(folder.resolve().name, folder, **{name: fields[name] for name in TEXTS}, files=files)


def _lies_inside(root: Path, name: object) -> bool:
    """Whether a name, links followed, is a file's inside the folder."""
    if not isinstance(name, str) or len(name) > MAX_TEXT or not name.isprintable():
        return False
    return root in (root / name).resolve().parents
