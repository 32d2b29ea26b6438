"""A new task's folder: its tables and structure files, its description, and what its rows hold."""

import filecmp
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from src.data.load import names_of_files
from src.data.propose import Proposal, Role, Wishes, propose
from src.data.rows import number, read_rows
from src.data.table import parse_table
from src.data.task import MetricName, Task, is_inside, read_tasks
from src.paths import shown
from src.storage.files import write_atomic

TABLES = (".csv", ".csv.gz")
MAX_SHOWN = 5  # bad rows
WIDTH = 44  # characters of a field in the summary


def new_task(
    folder: Path,
    files: Mapping[str, Path],
    metric: MetricName,
    wishes: Wishes,
    link: bool = False,
    force: bool = False,
    n_jobs: int = 1,
) -> str:
    """Write the folder of a task, task.toml last, and return what was understood and how many rows are bad.

    files: as `propose` takes them; what is not in the folder yet is copied, or linked to. force: replace what is there.
    Raises ValueError or FileNotFoundError, and changes nothing, if the tables cannot be understood or the task exists.
    """
    description = folder / "task.toml"
    if description.exists() and not force:
        raise ValueError(f"{description} exists: choose another name, or replace it with --force")
    _check(files)
    proposal = propose(files, wishes)
    if proposal.folder is not None:
        files = {**files, "structures": proposal.folder}
    elif "structures" in files:
        raise ValueError(f"--structures {files['structures']}: no column of the training table names files in it")
    names = {which: _name(which, path, folder) for which, path in files.items()}
    for which, path in files.items():
        if which != "structures":
            _place(path, folder / names[which], link, force)
    if proposal.folder is not None:
        _place_structures(proposal, files, folder / names["structures"], link, force)
    write_atomic(description, proposal.to_toml(metric, names).encode())
    return _summary(folder, proposal, n_jobs)


def _check(files: Mapping[str, Path]) -> None:
    for which, path in files.items():
        if not (path.is_dir() if which == "structures" else path.is_file()):
            raise FileNotFoundError(f"{path} is missing")
        if which != "structures" and not path.name.lower().endswith(TABLES):
            raise ValueError(f"{path}: expected a table, .csv or .csv.gz")


def _name(which: str, path: Path, folder: Path) -> str:
    """Return the name of a file in [files]: it stays where it is if it lies inside the folder."""
    absolute, inside = path.absolute(), folder.absolute()
    if absolute.is_relative_to(inside) and is_inside(name := str(absolute.relative_to(inside))) and absolute != inside:
        return name
    return which if which == "structures" else f"{which}{'.csv.gz' if path.suffix == '.gz' else '.csv'}"


def _place(source: Path, target: Path, link: bool, force: bool) -> None:
    """Copy a file, or link to it, unless it is there already."""
    if target.is_file() and (target.samefile(source) or filecmp.cmp(source, target, shallow=False)):
        return
    if (target.exists() or target.is_symlink()) and not force:
        raise ValueError(f"{target} exists and differs from {source}: remove it, or replace it with --force")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}-{os.getpid()}")
    if link:
        temporary.symlink_to(source.resolve())
    else:
        shutil.copyfile(source, temporary)
    temporary.replace(target)


def _place_structures(proposal: Proposal, files: Mapping[str, Path], target: Path, link: bool, force: bool) -> None:
    """Copy the structure files that the tables name, or link to their folder."""
    source = files["structures"]
    if target.exists() and target.samefile(source):
        return
    if link:
        if target.exists() and not force:
            raise ValueError(f"{target} exists: remove it, or replace it with --force")
        if target.is_symlink():
            target.unlink()
        elif target.is_dir():
            shutil.rmtree(target)
        target.symlink_to(source.resolve(), target_is_directory=True)
        return
    tables = (files[which] for which in ("train", "test") if which in files)
    names = {name for table in tables for name in names_of_files(table, proposal.structure_column)}
    target.mkdir(exist_ok=True)
    for name in tqdm(sorted(names), "copying structure files", mininterval=1, delay=1):
        if is_inside(name) and (source / name).is_file():
            _place(source / name, target / name, link=False, force=force)


def _summary(folder: Path, proposal: Proposal, n_jobs: int) -> str:
    """Return what the columns are, what is wrong with the rows, the targets, and what to do next."""
    tasks = read_tasks(folder)
    problems, n_rows = [], {}
    values = [[number(row[name]) for name in proposal.targets] for row in read_rows(tasks[0].path("train"))]
    for which in ("train", "test") if tasks[0].has_test else ("train",):
        found = _problems(tasks[0], which, np.array(values) if which == "train" else None, n_jobs)
        n_rows[which] = len(found)
        problems += [f"{tasks[0].files[which]}: {problem}" for problem in found if problem]
    more = [f"  and {len(problems) - MAX_SHOWN} more"] if len(problems) > MAX_SHOWN else []
    lines = [
        f"{shown(folder / 'task.toml')} describes {' and '.join(f'{n} {which} rows' for which, n in n_rows.items())}:",
        *_roles(proposal.roles),
        "",
        f"{len(problems)} of {sum(n_rows.values())} rows are bad{':' if problems else ''}",
        *(f"  {problem}" for problem in problems[:MAX_SHOWN]),
        *more,
        "",
        *_table(["target", "unit", "n", "min", "median", "max"], _targets(proposal, np.array(values))),
        "",
        "Correct task.toml if a column is not what it is taken for. Next:",
        *(f"  {command}" for command in _commands(folder, tasks[0], bool(problems))),
    ]
    return "\n".join(lines)


def _problems(task: Task, which: str, values: NDArray[np.float64] | None, n_jobs: int) -> list[str]:
    """Return what is wrong with each row of a table, '' if nothing is. values: (n_rows, n_targets)."""
    ids, parsed = parse_table(task.path(which), task, has_target=False, n_jobs=n_jobs)
    found = []
    for i, (row_id, row) in enumerate(zip(ids, parsed, strict=True)):
        reasons = [row.reason] if row.reason else []
        if values is not None:
            bad = [target.column for target, value in zip(task.targets, values[i], strict=True) if not np.isfinite(value)]
            reasons += [f"{name!r} is not a finite number" for name in bad]
        found.append(f"record {i + 2}, {row_id[:WIDTH]!r}: {'; '.join(reasons)}" if reasons else "")
    return found


def _roles(roles: Sequence[Role]) -> list[str]:
    """Return a line for each column that is used, and one for all columns that are left out or checked for one reason."""
    lines = [[role.column, role.role, role.example] for role in roles if not role.role.startswith(("left out", "checked"))]
    for kind in dict.fromkeys(role.role for role in roles):
        if kind.startswith(("left out", "checked")):
            names = [role.column or "(no name)" for role in roles if role.role == kind]
            lines.append([", ".join(names), kind, f"{len(names)} columns" if len(names) > 1 else ""])
    return _table(["column", "is", "example"], lines)


def _targets(proposal: Proposal, values: NDArray[np.float64]) -> list[list[str]]:
    rows = []
    for name, unit, column in zip(proposal.targets, proposal.units, values.T, strict=True):
        finite = column[np.isfinite(column)]
        low, middle, high = (f"{x:.6g}" for x in np.quantile(finite, [0, 0.5, 1])) if len(finite) else ("", "", "")
        rows.append([name, unit, str(len(finite)), low, middle, high])
    return rows


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    """Return the lines of a table for people."""
    cells = [[_short(text) for text in row] for row in [header, *rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  " + "  ".join(text.ljust(w) for text, w in zip(row, widths, strict=True)).rstrip() for row in cells]


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 4]} ..."


def _commands(folder: Path, task: Task, has_problems: bool) -> list[str]:
    """Return the commands to run next."""
    one = f" --target {task.target_column}" if len(task.targets) > 1 else ""
    skip = " --skip-bad-rows" if has_problems else ""
    data = f"--data {shown(folder)}"
    return [f"python exp/check_data.py {data}{one}", f"python exp/exp001/train.py {data}{skip}"]
