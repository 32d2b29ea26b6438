"""A task's tables in memory: parsed once, then read from the cache in outputs/."""

import hashlib
import logging
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from src.config import FoldConfig
from src.data.folds import assign_folds, read_folds
from src.data.formats import file_in
from src.data.rows import read_rows
from src.data.table import CRYSTAL_LEVELS, ColumnNames, Crystals, CrystalTable, check_header, read_table, structures_folder
from src.data.task import Task, read_task
from src.storage.cache import cache_key
from src.storage.files import read_id_table, remedy, write_csv
from src.storage.ragged import RaggedStore

log = logging.getLogger(__name__)
MANY_FILES = 2000  # of structures, whose hashing a bar shows


@dataclass(frozen=True, eq=False)
class TaskData:
    """The tables of a task; without a test table, `test` has no rows.

    key: hash of the data themselves. train_key, test_key: hashes of all that shaped the tables in memory, parser included.
    outputs: folder of the runs and caches of all tasks. left_out: ids of the bad training rows. given_folds: (n_train,), the
    task's own folds, used instead of those of a config.
    """

    task: Task
    train: CrystalTable
    test: CrystalTable
    train_key: str
    test_key: str
    key: str
    outputs: Path
    left_out: list[str]
    given_folds: NDArray[np.int64] | None = None

    @property
    def folder(self) -> Path:
        """Folder of the runs and folds: outputs/<task> or, with several targets, outputs/<task>/<target>."""
        return self.task.runs(self.outputs)

    @property
    def cache(self) -> Path:
        """Folder of the stores that are built from the tables, for all targets."""
        return self.outputs / self.task.name / "cache"

    def n_folds(self, config: FoldConfig) -> int:
        """Return the number of the task's own folds or, if it has none, that of the config."""
        return config.n_folds if self.given_folds is None else int(self.given_folds.max()) + 1


def load_task_data(data: Path, outputs: Path, skip_bad_rows: bool, n_jobs: int, target: str | None = None) -> TaskData:
    """Return the tables of the task in the folder `data`; its runs and its cache go to outputs/<task>.

    target: the column to predict (None: the only one). Tables are parsed once for all targets.
    """
    task = read_task(data, target)
    tables = ("train", "test") if task.has_test else ("train",)
    for which in tables:  # before the structures of any are parsed
        check_header(task.path(which), task, has_target=which == "train")
    structures = {which: _structures_key(task, task.path(which)) for which in tables}
    train, train_key = _load(task, "train", skip_bad_rows, outputs, n_jobs, structures["train"])
    test, test_key = _load(task, "test", False, outputs, n_jobs, structures["test"]) if task.has_test else (_no_rows(), "")
    left_out = _left_out(task, train) if skip_bad_rows else []
    if left_out:
        log.warning("%s: %d bad rows are left out: %s", task.path("train"), len(left_out), " ".join(left_out))
    named = task.id_column, task.structure_column, task.target_column
    parts = [*(task.path(which).read_bytes() for which in tables), repr((named, left_out)).encode()]
    parts += [key.encode() for which in tables for key in structures[which]]
    given = None
    if "folds" in task.files:
        path = task.path("folds")
        given = read_folds(path, task.id_column, train.ids.tolist(), set(left_out))
        parts.append(path.read_bytes())
        log.info("%s: its %d folds are used instead of those of the config", path, given.max() + 1)
    key = hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
    return TaskData(task, train, test, train_key, test_key, key, outputs, left_out, given)


def _no_rows() -> CrystalTable:
    """Return a test table without rows."""
    arrays = {"lattice": np.zeros((0, 3)), "frac_coords": np.zeros((0, 3)), "atomic_numbers": np.zeros(0, dtype=np.int64)}
    none = np.zeros(1, dtype=np.int64)
    store = RaggedStore(arrays, {"lattice": none, "atom": none}, CRYSTAL_LEVELS)
    return CrystalTable(np.array([], dtype=np.str_), Crystals(store), None)


def _left_out(task: Task, train: CrystalTable) -> list[str]:
    """Return the ids of the training rows that the table lacks; a duplicated id counts if one of its rows is left out."""
    written = Counter(row[task.id_column] for row in read_rows(task.path("train")))
    return sorted((written - Counter(train.ids.tolist())).elements())


def _load(
    task: Task, which: str, skip_bad_rows: bool, outputs: Path, n_jobs: int, structures: list[str]
) -> tuple[CrystalTable, str]:
    """Return a table and the hash of all that shaped it."""
    path, has_target = task.path(which), which == "train"
    content = hashlib.sha256(path.read_bytes()).hexdigest()
    named = task.id_column, task.structure_column, *(target.column for target in task.targets)
    further = tuple(ColumnNames.of(task))  # their names: none of them counts an element
    key = cache_key(content, [named, has_target, skip_bad_rows, structures, further], "src.data.table")
    folder = outputs / task.name / "cache" / f"crystals-{key}"
    stored = RaggedStore.cached(folder, lambda: read_table(path, task, has_target, skip_bad_rows, n_jobs).to_store())
    return CrystalTable.from_store(stored, task.target_idx), key


def _structures_key(task: Task, table: Path) -> list[str]:
    """Return what shapes the crystals of a table besides its own content: the format and, of files, a hash of all of them.

    It is empty for CIF, so that the keys of tasks that know no other format stay as they are.
    """
    if task.structure_format == "cif":
        return []
    if (folder := structures_folder(task, table)) is None:
        return [task.structure_format]
    names = [row[task.structure_column] for row in read_rows(table)]
    digest = hashlib.sha256()
    for name in tqdm(names, "hashing structure files", disable=len(names) < MANY_FILES):
        content = b""
        with suppress(ValueError, OSError):  # the table's reader refuses a file that cannot be read
            content = b"\0" + file_in(folder, name).read_bytes()
        digest.update(hashlib.sha256(name.encode() + content).digest())
    return [task.structure_format, digest.hexdigest()]


def load_folds(data: TaskData, config: FoldConfig) -> NDArray[np.int64]:
    """Return the fold of each training crystal, (n_train,).

    A task's own folds are used if it has them; those of a config are written once for each task and scheme, then read.
    """
    if data.given_folds is not None:
        return data.given_folds
    name = f"{config.scheme}-{config.n_folds}-{config.seed}-{data.train_key}"
    path = data.folder / "folds" / f"{name}.csv"
    if not path.is_file():
        fold = assign_folds(data.train.targets, data.train.crystals.element_counts, config)
        write_csv(path, pd.DataFrame({"id": data.train.ids, "fold": fold}))
    stored = read_id_table(path, ["id", "fold"])
    if list(stored["id"]) != list(data.train.ids):
        raise ValueError(f"{path}: its ids are not those of the training table; {remedy(path)}")
    fold = stored["fold"].to_numpy()
    if set(fold) != set(range(config.n_folds)):
        raise ValueError(
            f"{path}: it has the folds {sorted(set(fold.tolist()))[:20]}, not 0 to {config.n_folds - 1}; {remedy(path)}"
        )
    return fold.astype(np.int64)
