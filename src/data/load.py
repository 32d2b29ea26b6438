"""A task's tables and folds in memory: tables are parsed once, then read from the cache in outputs/."""

import hashlib
import logging
import warnings
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold
from tqdm import tqdm

from src.config import FoldConfig
from src.data.crystal import reduced
from src.data.formats import file_in
from src.data.rows import read_rows
from src.data.table import CRYSTAL_LEVELS, Crystals, CrystalTable, check_header, read_table, structures_folder
from src.data.task import Task, read_task
from src.storage.cache import cache_key
from src.storage.files import read_id_table, remedy, write_csv
from src.storage.ragged import RaggedStore

log = logging.getLogger(__name__)
N_BINS = 6  # quantiles of the target, for `stratified`
N_FIRST = 5


@dataclass(frozen=True, eq=False)
class TaskData:
    """The tables of a task; without a test table, `test` has no rows.

    key: hash of the data themselves. train_key, test_key: hashes of all that shaped the tables in memory, including the parser.
    outputs: folder of the runs and caches of all tasks. left_out: ids of the bad training rows. unread: ids of the test rows
    whose structure cannot be read. given_folds: (n_train,), the task's own folds, used instead of those of a config.
    """

    task: Task
    train: CrystalTable
    test: CrystalTable
    train_key: str
    test_key: str
    key: str
    outputs: Path
    left_out: list[str]
    unread: list[str] = field(default_factory=list)
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
    left_out = _left_out(task, "train", train) if skip_bad_rows else []
    unread = _left_out(task, "test", test) if task.has_test else []
    if left_out:
        log.warning("%s: %d bad rows are left out: %s", task.path("train"), len(left_out), " ".join(left_out))
    named = task.id_column, task.structure_column, task.target_column
    parts = [*(task.path(which).read_bytes() for which in tables), repr((named, left_out)).encode()]
    parts += [key.encode() for which in tables for key in structures[which]]
    parts += [repr(("classes", *task.classes)).encode()] if task.of_classes else []
    given = None
    if "folds" in task.files:
        path = task.path("folds")
        given = read_folds(path, task.id_column, train.ids.tolist(), set(left_out))
        parts.append(path.read_bytes())
        log.info("%s: its %d folds are used instead of those of the config", path, given.max() + 1)
    key = hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
    return TaskData(task, train, test, train_key, test_key, key, outputs, left_out, unread, given)


def _no_rows() -> CrystalTable:
    """Return a test table without rows."""
    nothing, offsets = np.zeros(0, dtype=np.int64), np.zeros(1, dtype=np.int64)
    levels = CRYSTAL_LEVELS.values()
    store = RaggedStore(dict.fromkeys(CRYSTAL_LEVELS, nothing), dict.fromkeys(levels, offsets), CRYSTAL_LEVELS)
    return CrystalTable(np.array([], dtype=np.str_), Crystals(store), None)


def _left_out(task: Task, which: str, table: CrystalTable) -> list[str]:
    """Return the ids of the rows of a file that the table lacks; a duplicated id counts if one of its rows is left out."""
    written = Counter(row[task.id_column] for row in read_rows(task.path(which)))
    return sorted((written - Counter(table.ids.tolist())).elements())


def _load(
    task: Task, which: str, skip_bad_rows: bool, outputs: Path, n_jobs: int, structures: list[str]
) -> tuple[CrystalTable, str]:
    """Return a table and the hash of all that shaped it."""
    path, has_target = task.path(which), which == "train"
    content = hashlib.sha256(path.read_bytes()).hexdigest()
    named = task.id_column, task.structure_column, *(target.column for target in task.targets)
    classes = [["classes", *task.classes]] if task.of_classes else []
    key = cache_key(content, [named, has_target, skip_bad_rows, structures, task.columns, *classes], "src.data.table")
    folder = outputs / task.name / "cache" / f"crystals-{key}"
    stored = RaggedStore.cached(folder, lambda: read_table(path, task, has_target, skip_bad_rows, n_jobs).to_store())
    return CrystalTable.from_store(stored, task.targets.index(task.target)), key


def _structures_key(task: Task, table: Path) -> list[str]:
    """Return what shapes the crystals of a table besides its own content: the format and, of files, a hash of all of them.

    It is empty for CIF, so that the keys of older tasks stay as they are.
    """
    if task.structure_format == "cif":
        return []
    if (folder := structures_folder(task, table)) is None:
        return [task.structure_format]
    names = [row[task.structure_column] for row in read_rows(table)]
    digest = hashlib.sha256()
    for name in tqdm(names, "hashing structure files", delay=1):
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
    fold = stored["fold"].to_numpy()
    if list(stored["id"]) != list(data.train.ids) or set(fold) != set(range(config.n_folds)):
        raise ValueError(f"{path}: its ids and folds are not those of the training table and the config; {remedy(path)}")
    return fold.astype(np.int64)


def assign_folds(target: NDArray[np.float64], element_counts: NDArray[Any], config: FoldConfig) -> NDArray[np.int64]:
    """Return the fold in which each crystal is scored, (n_crystals,).

    target: (n_crystals,), used by `stratified`: its quantile bins are spread evenly over the folds.
    element_counts: (n_crystals, N_ELEMENTS), used by `grouped`: crystals with the same reduced formula share a fold.
    """
    n = len(target)
    if n < config.n_folds:
        raise ValueError(f"{n} crystals cannot fill {config.n_folds} folds")
    x = np.zeros((n, 1))
    if config.scheme == "grouped":
        _, group = np.unique(reduced(element_counts), axis=0, return_inverse=True)
        splits = GroupKFold(config.n_folds, shuffle=True, random_state=config.seed).split(x, groups=group)
    elif config.scheme == "stratified":
        n_bins = min(N_BINS, n // config.n_folds)  # so that each bin has a crystal for every fold
        edges = np.quantile(target, np.linspace(0, 1, n_bins + 1)[1:-1])
        bins = np.searchsorted(edges, target)
        if len(values := np.unique(target)) == 2:  # classes
            bins = (target == values[1]) * (np.bincount(target == values[1]).max() >= config.n_folds)
        splits = StratifiedKFold(config.n_folds, shuffle=True, random_state=config.seed).split(x, bins)
    else:
        splits = KFold(config.n_folds, shuffle=True, random_state=config.seed).split(x)
    fold = np.full(n, -1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a class with fewer rows than there are folds
        for k, (_, valid) in enumerate(splits):
            fold[valid] = k
    return fold


def read_folds(path: Path, id_column: str, ids: Sequence[str], left_out: Collection[str]) -> NDArray[np.int64]:
    """Return the given fold of each training crystal, (n_train,), from a table with the columns of ids and `fold`.

    ids: of the training crystals, each of which must be in the table once. left_out: further ids that it may have.
    Raises ValueError, which names the file, the row and the remedy, if it is not such a table, or if a fold is empty.
    """
    found: dict[str, int] = {}
    known, numbers = set(ids), {str(fold): fold for fold in range(len(ids))}
    for record, row in enumerate(read_rows(path), start=2):
        if not {id_column, "fold"} <= set(row):
            raise ValueError(f"{path}: expected the columns {id_column!r} and 'fold', found {list(row)[:N_FIRST]}")
        own, fold = row[id_column], row["fold"]
        place = f"{path}: record {record}, {own[:80]!r}"
        if own not in known and own not in left_out:
            raise ValueError(f"{place}: the training table has no such row; give the folds of its rows alone")
        if own in found:
            raise ValueError(f"{place} is duplicated; give each training row one fold")
        if fold not in numbers:
            raise ValueError(f"{place}: fold is {fold[:80]!r}; number the folds 0, 1, 2, ...")
        found[own] = numbers[fold]
    if missing := [row_id for row_id in ids if row_id not in found]:
        raise ValueError(f"{path}: {len(missing)} training rows have no fold: {missing[:N_FIRST]}; give each of them one")
    fold_of_crystal = np.array([found[row_id] for row_id in ids])
    n_folds = max(int(fold_of_crystal.max()) + 1, 2)
    if empty := sorted(set(range(n_folds)) - set(fold_of_crystal.tolist())):
        raise ValueError(f"{path}: fold {empty[0]} of {n_folds} has no training row; number the folds 0, 1, 2, ... without gaps")
    return fold_of_crystal
