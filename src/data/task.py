"""Task: what the columns and files of a competition are called, read from input/<task>/task.toml."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

FILES = ("train", "test", "sample_submission", "test_labels")


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
    """The task of a folder; ValueError where its description is incomplete or leaves the folder."""
    path = folder / "task.toml"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: copy input/flla/task.toml there and name the columns of your table")
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {error}") from error
    wanted = ("id_column", "structure_column", "target_column", "metric", "unit")
    for name in wanted:
        if not isinstance(fields.get(name), str) or not fields[name]:
            raise ValueError(f"{path}: {name} is {fields.get(name)!r}, expected a text")
    if fields["metric"] not in ("mae", "rmse"):
        raise ValueError(f"{path}: metric = {fields['metric']!r}, expected 'mae' or 'rmse'")
    files = fields.get("files")
    if not isinstance(files, dict) or set(files) - set(FILES) or not {"train", "test", "sample_submission"} <= set(files):
        raise ValueError(f"{path}: [files] must name train, test and sample_submission (and may name test_labels)")
    root = folder.resolve()
    for which, name in files.items():
        if not isinstance(name, str) or root not in (root / name).resolve().parents:
            raise ValueError(f"{path}: [files] {which} = {name!r} is not a file inside {folder}")
    return Task(root.name, folder, **{name: fields[name] for name in wanted}, files=files)
