"""Peak memory, seconds and disk space of a task of N crystals: prepared, cached and trained for one epoch of one fold.

    make large                        # 4,000 and 16,000 crystals
    make large N="4000 64000 130000"

The task consists of copies of FLLA with perturbed cells, N crystals in total, a tenth of them in the test table. Three copies in
four are scaled isotropically (standard deviation 1%), which keeps their symmetry; the fourth is strained at random (1%), which
breaks it, so that its graphs contain every atom and every edge. The command line of an experiment then runs on the task in a
separate process, with the network and settings of exp010, while the memory of its whole process tree is sampled.
"""

import argparse
import csv
import gzip
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Lattice
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from src.data.rows import read_rows
from src.data.task import Task, read_task
from src.paths import DEFAULT_TASK, ROOT

STRAIN = 0.01
STRAINED_EVERY = 4  # copies
TEST_EVERY = 10  # crystals
CELL = re.compile(r"(_cell_(length_[abc]|angle_alpha|angle_beta|angle_gamma|volume)\s+)(\S+)")
EXPERIMENT = """\
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, {root!r})
from src.config.catalogue import load_config
from src.runs.train import main

CONFIG = load_config(Path({root!r}) / "exp" / "exp010")
CONFIG = replace(CONFIG, learner=replace(CONFIG.learner, training=replace(CONFIG.learner.training, n_epochs=1)))
if __name__ == "__main__":
    main(Path(__file__).resolve().parent)
"""


def strained(cif: str, strain: NDArray[np.float64]) -> str:
    """Return the CIF with a strained cell. strain: (3, 3), symmetric."""
    cell = {match[2]: float(match[3]) for match in CELL.finditer(cif)}
    names = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    lattice = Lattice(Lattice.from_parameters(*(cell[name] for name in names)).matrix @ (np.eye(3) + strain))
    new = dict(zip(names, lattice.parameters, strict=True)) | {"volume": lattice.volume}
    return CELL.sub(lambda match: f"{match[1]}{new[match[2]]:.8f}", cif)


def perturbed_rows(rows: list[dict[str, str]], task: Task, n: int) -> Iterator[dict[str, str]]:
    """Yield n rows; those of the first copy are unperturbed."""
    rng = np.random.default_rng(0)
    for i in range(n):
        copy, row = i // len(rows), dict(rows[i % len(rows)])
        row[task.id_column] += f"-{copy}"
        if copy:
            random = rng.normal(0, STRAIN, (3, 3))
            strain = (random + random.T) / 2 if copy % STRAINED_EVERY == 0 else random[0, 0] * np.eye(3)
            row[task.structure_column] = strained(row[task.structure_column], strain)
            row[task.target_column] = str(float(row[task.target_column]) + rng.normal(0, STRAIN))
        yield row


def write_large_task(folder: Path, n: int) -> None:
    """Write a task folder of n crystals, row by row."""
    task = read_task(DEFAULT_TASK)
    rows = list(read_rows(task.path("train")))
    folder.mkdir()
    shutil.copy(task.folder / "task.toml", folder)
    columns = {"train": list(rows[0]), "test": [name for name in rows[0] if name != task.target_column]}
    columns["sample_submission"] = [task.id_column, task.target_column]
    with ExitStack() as files:
        writers = {}
        for which, names in columns.items():
            path = folder / task.files[which]
            open_text = partial(gzip.open, compresslevel=1) if path.suffix == ".gz" else open
            file = files.enter_context(open_text(path, "wt", newline="", encoding="utf-8"))
            writers[which] = csv.DictWriter(file, names, extrasaction="ignore")
            writers[which].writeheader()
        for i, row in enumerate(tqdm(perturbed_rows(rows, task, n), total=n, desc="writing the task", mininterval=1)):
            for which in ("test", "sample_submission") if i % TEST_EVERY == 0 else ("train",):
                writers[which].writerow(row)


def memory_of_tree(pid: int) -> tuple[int, int, int]:
    """Return the memory of a process and its descendants, MB: private, with shared pages counted once, private of the largest."""
    anonymous = proportional = largest = 0
    for process in tree(pid):
        try:
            text = Path(f"/proc/{process}/smaps_rollup").read_text()
        except (FileNotFoundError, ProcessLookupError, PermissionError):  # it has just ended
            continue
        found = {name: int(kb) // 1024 for name, kb in re.findall(r"^(Pss|Anonymous):\s+(\d+) kB", text, re.MULTILINE)}
        anonymous += found.get("Anonymous", 0)
        proportional += found.get("Pss", 0)
        largest = max(largest, found.get("Anonymous", 0))
    return anonymous, proportional, largest


def tree(pid: int) -> list[int]:
    """Return the ids of a process and its descendants."""
    try:
        children = [int(c) for path in Path(f"/proc/{pid}/task").glob("*/children") for c in path.read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return [pid]
    return [pid, *(process for child in children for process in tree(child))]


def cpu_seconds(process: int) -> float:
    """Return the CPU seconds that a process has used; 0 if it has ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Stages:
    """Seconds, CPU seconds and peak memory of each stage of a run; the stage is inferred from the files written so far."""

    def __init__(self, outputs: Path, name: str) -> None:
        self.cache, self.fold = outputs / "large" / "cache", outputs / "large" / name / "fold_0"
        self.seconds: dict[str, float] = {}
        self.cpu: dict[str, float] = {}
        self.peaks: dict[str, tuple[int, int, int]] = {}

    def now(self) -> str:
        """Return the current stage."""
        if len(list(self.cache.glob("crystals-*"))) < 2:
            return "tables"
        if len(list(self.cache.glob("graphs-*"))) < 2:
            return "graphs"
        return "predictions" if (self.fold / "history.csv").is_file() else "epoch"

    def sample(self, pid: int, done: threading.Event) -> None:
        """Sample the process tree until the event is set."""
        last, of_process = time.perf_counter(), dict[int, float]()
        while not done.wait(0.2):
            stage, memory, now, before = self.now(), memory_of_tree(pid), time.perf_counter(), sum(of_process.values())
            for process in tree(pid):  # one that has ended keeps its last figure
                of_process[process] = max(of_process.get(process, 0.0), cpu_seconds(process))
            self.cpu[stage] = self.cpu.get(stage, 0) + sum(of_process.values()) - before
            self.seconds[stage] = self.seconds.get(stage, 0) + now - last
            self.peaks[stage] = tuple(map(max, memory, self.peaks.get(stage, memory)))  # type: ignore[assignment]
            last = now


def measure(n: int, folder: Path, n_jobs: int) -> str:
    """Train on n crystals and return a line of the table."""
    write_large_task(folder / "large", n)
    experiment = folder / "exp999"
    experiment.mkdir()
    code = EXPERIMENT.format(root=str(ROOT))
    for file in ("config.py", "train.py"):
        (experiment / file).write_text(code)
    stages, done = Stages(folder / "outputs", experiment.name), threading.Event()
    where = ["--data", str(folder / "large"), "--outputs", str(folder / "outputs")]
    command = [sys.executable, str(experiment / "train.py"), "--folds", "0", "--jobs", str(n_jobs), *where]
    run = subprocess.Popen(command)
    sampler = threading.Thread(target=stages.sample, args=(run.pid, done))
    sampler.start()
    code_of_end = run.wait()
    done.set()
    sampler.join()
    if code_of_end:
        sys.exit(f"large: training on {n} crystals ended with {code_of_end}")
    disk = {kind: sum(p.stat().st_size for p in stages.cache.glob(f"{kind}-*/*")) / 2**20 for kind in ("crystals", "graphs")}
    cells = [f"{n:,}"]
    for stage in ("tables", "graphs", "epoch", "predictions"):
        private, whole, largest = stages.peaks.get(stage, (0, 0, 0))
        cells += [f"{stages.seconds.get(stage, 0):.0f}", f"{stages.cpu.get(stage, 0):.0f}", f"{private} / {largest} / {whole}"]
    return "| " + " | ".join([*cells, f"{disk['crystals']:.0f}", f"{disk['graphs']:.0f}"]) + " |"


def main() -> None:
    """Measure every size and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("n", type=int, nargs="*", default=[4000, 16000], help="number of crystals of each run")
    parser.add_argument("--jobs", type=int, default=2, help="processes that read CIFs and build graphs")
    args = parser.parse_args()
    if not Path("/proc/self/smaps_rollup").is_file():
        sys.exit("large: needs Linux, because the memory of a process is read from /proc")
    lines = []
    for n in args.n:
        with tempfile.TemporaryDirectory() as folder:
            lines.append(measure(n, Path(folder), args.jobs))
        print(lines[-1], flush=True)
    stages = "".join(
        f" {stage} s | CPU s | MB: all private / largest / with shared |" for stage in ("tables", "graphs", "epoch", "end")
    )
    print(f"\n| crystals |{stages} crystals MB | graphs MB |\n|{'---|' * 15}")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
