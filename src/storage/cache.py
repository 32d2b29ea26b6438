"""The caches in outputs/: their keys, how they are opened, refused and rebuilt, and the parallel loop that fills them."""

import ast
import hashlib
import json
import logging
import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import TypeVar

from filelock import FileLock
from tqdm import tqdm

from src.paths import ROOT
from src.storage.files import named

log = logging.getLogger(__name__)
ALL_CORES = -1  # as a number of jobs, which joblib understands
DISTRIBUTIONS = {"pymatgen": "pymatgen-core", "sklearn": "scikit-learn"}  # name in an import -> name of what is installed
IMPORT = re.compile(r"^[ \t]*(?:from [\w.]+ import (?:\([^)]*\)|[^\n]*)|import [^\n]*)", re.MULTILINE)  # parsing all takes 0.2 s
Item = TypeVar("Item")
T = TypeVar("T")


def cache_key(data: str, settings: object, *builders: str) -> str:
    """Return the hash of everything that shapes what is cached.

    data: identifies what it is made from. settings: JSON-serialisable; a user's file is represented by its `file_key`.
    builders: the modules that make it, such as "src.graphs.dataset". All modules of `src` and all libraries that they import,
    directly or through others, shape it too.
    """
    modules, libraries = import_closure(*builders)
    digest = hashlib.sha256(json.dumps([data, settings, [(name, installed_version(name)) for name in libraries]]).encode())
    for module in modules:
        digest.update(hashlib.sha256(module_file(module).read_bytes()).digest())
    return digest.hexdigest()[:16]


def import_closure(*modules: str) -> tuple[list[str], list[str]]:
    """Return the given modules with those of `src` that they import, directly or through others, and the libraries of all.

    Imports inside functions count. Nothing is imported: only the source is read.
    """
    found: set[str] = set()
    libraries: set[str] = set()
    left = list(modules)
    while left:
        if (module := left.pop()) in found:
            continue
        found.add(module)
        for name in _imported_names(module_file(module)):
            top = name.split(".")[0]
            if top == "src":
                left.append(name if module_file(name).is_file() else name.rpartition(".")[0])
            elif top not in sys.stdlib_module_names:
                libraries.add(DISTRIBUTIONS.get(top, top))
    return sorted(found), sorted(libraries)


def module_file(module: str) -> Path:
    """Return the source of a module of this repository, or that of a package."""
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def _imported_names(path: Path) -> frozenset[str]:
    """Return the dotted names that a source imports: of `from a.b import c` it is a.b.c."""
    names: set[str] = set()
    for statement in IMPORT.findall(path.read_text(encoding="utf-8")):
        with suppress(SyntaxError):  # a line of prose
            for node in ast.parse(statement.strip()).body:
                if isinstance(node, ast.Import | ast.ImportFrom):
                    start = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
                    names |= {start + alias.name for alias in node.names}
    return frozenset(names)


@cache
def installed_version(distribution: str) -> str | None:
    """Return the version of an installed package; None for an optional one that is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def file_key(path: Path) -> str:
    """Return the hash of a user's file and its side files, whose names begin with its own."""
    digest = hashlib.sha256()
    for part in sorted(filter(Path.is_file, path.parent.glob(f"{path.name}*"))):
        digest.update(part.read_bytes())
    return digest.hexdigest()


def cached(path: Path, read: Callable[[Path], T], build: Callable[[], object]) -> T:
    """Return what `read` returns for a file or folder; if it is missing or damaged, one process has `build` write it first.

    path: its name contains the `cache_key`, so what is rebuilt equals what was lost.
    read: raises ValueError, which says to remove it, if it is damaged.
    """
    if (found := _read_undamaged(path, read, logging.DEBUG)) is not None:
        log.info("%s: read", path)
        return found
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.parent / f".{path.name}.lock"):
        if _read_undamaged(path, read, logging.WARNING) is None:  # no other process has built it meanwhile
            for left in (path, *path.parent.glob(f".{path.name}-*")):  # by killed processes
                shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)
            start = time.perf_counter()
            with named(path):
                build()
            log.info("%s: built in %.1f s", path, time.perf_counter() - start)
    return read(path)


def _read_undamaged(path: Path, read: Callable[[Path], T], level: int) -> T | None:
    try:
        return read(path) if path.exists() else None
    except ValueError as error:
        log.log(level, "%s; doing so now", error)
        return None


def in_chunks(
    function: Callable[[list[Item]], T],
    items: Iterable[Item],
    n_items: int,
    size: int,
    name: str,
    n_jobs: int,
    worth_workers: int = 500,
) -> Iterator[T]:
    """Yield what `function` returns for each chunk of `size` items, in order, from n_jobs processes, while a bar shows progress.

    name: title of the bar. worth_workers: fewer items are computed in this process, without a bar.
    """
    left = iter(items)
    chunks = iter(lambda: list(islice(left, size)), [])
    if n_items < worth_workers:
        yield from map(function, chunks)
        return
    from joblib import Parallel, delayed  # a quarter of a second to import

    parallel = Parallel(n_jobs, return_as="generator", initializer=end_with, initargs=(os.getpid(),))
    with tqdm(total=n_items, desc=name, mininterval=1) as bar:
        for result in parallel(delayed(function)(chunk) for chunk in chunks):
            bar.update(min(size, n_items - bar.n))
            yield result


def end_with(parent: int) -> None:
    """End this worker soon after its parent, so that no orphan goes on computing or waiting during the next run."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
