"""The place of a bad file: a small task with finished runs, and the real commands that read it."""

import csv
import gzip
import hashlib
import io
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from conftest import small_table

from src.data.export import write_task
from src.learners.learner import load_learner
from src.paths import ROOT
from src.runs.train import main as train_main

sys.path.insert(0, str(ROOT))
import submit
from exp import compare

SECONDS = 10.0  # of CPU time, within which a bad file is refused
BYTES = 1_000_000_000  # of address space that refusing it may take
TREES, NETWORK = "exp001", "exp003"
CONFIGS = {
    TREES: 'ExperimentConfig(learner=GbdtConfig(features=("fractions",), n_trees=5, min_child_samples=1), folds=FOLDS)',
    NETWORK: (
        "ExperimentConfig(learner=GnnConfig(training=TrainingConfig(n_epochs=1, batch_size=8), graph=GraphConfig(r_max=3.5), "
        'network=SchnetConfig(n_channels=4, n_layers=1), elements=ElementConfig(("one_hot",))), folds=FOLDS)'
    ),
}
HEAD = "from src.config import *\n\nFOLDS = FoldConfig(n_folds=2)\nCONFIG = "


@dataclass(frozen=True)
class Place:
    """A folder with task/, exp/ and outputs/."""

    root: Path

    @property
    def task(self) -> Path:
        return self.root / "task"

    @property
    def outputs(self) -> Path:
        return self.root / "outputs"

    def run(self, name: str = TREES) -> Path:
        return self.outputs / "task" / name

    def cached(self, pattern: str) -> Path:
        return next((self.outputs / "task" / "cache").glob(pattern))

    def write(self, which: str, content: bytes) -> None:
        path = next(self.task.glob(f"{which}.csv*"))
        path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)

    def text(self, which: str) -> str:
        raw = next(self.task.glob(f"{which}.csv*")).read_bytes()
        return (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode()

    def edit(self, which: str, change: Callable[[str], str]) -> None:
        self.write(which, change(self.text(which)).encode())

    def edit_rows(self, which: str, change: Callable[[list[dict[str, str]]], object]) -> None:
        rows = list(csv.DictReader(io.StringIO(self.text(which))))
        change(rows)
        out = io.StringIO()
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
        self.write(which, out.getvalue().encode())

    def config(self, text: str, name: str = TREES) -> None:
        folder = self.root / "exp" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.py").write_text(text)

    def train(self, name: str = TREES, *arguments: str) -> None:
        train_main(self.root / "exp" / name, [*self.where, "--jobs", "1", *arguments])

    def submit(self, *arguments: str) -> None:
        submit.main(["--exps", "001", *self.where, *arguments])

    def compare(self, *arguments: str) -> None:
        compare.main(["001", *self.where, *arguments])

    def load(self, name: str) -> None:
        """Load a learner; exit with one message if that fails, as commands do."""
        try:
            load_learner(self.run(name) / "fold_1")
        except (ValueError, FileNotFoundError) as error:
            sys.exit(f"{name}: {error}")

    @property
    def where(self) -> list[str]:
        return ["--data", str(self.task), "--outputs", str(self.outputs)]

    def contents(self) -> dict[str, str]:
        """Return the hash of every file in outputs/ except logs and locks."""
        files = (
            p for p in sorted(self.outputs.rglob("*")) if p.is_file() and p.name != "log.txt" and not p.name.endswith(".lock")
        )
        return {str(path.relative_to(self.outputs)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def make_place(root: Path) -> Place:
    """Write a task of twelve training and four test crystals, and the configs of three kinds of learners."""
    place, rows = Place(root), small_table(16)
    write_task(place.task, rows[:12], rows[12:])
    for name, config in CONFIGS.items():
        place.config(HEAD + config, name)
    return place


@contextmanager
def bounded() -> Iterator[None]:
    """Fail if the block takes more than SECONDS of CPU time, or on Linux more than BYTES of address space."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + BYTES, hard))
    start = time.process_time()
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    assert time.process_time() - start < SECONDS


Outcome = Literal["refused", "accepted", "rebuilt"]


@dataclass(frozen=True)
class Bad:
    """A bad file and what the program must say about it.

    kind: what is bad. name: in a few words. damage: writes the bad file. words: parts of the message: the file, the row if
    there is one, the remedy. command: what reads the file.
    outcome: `refused` with one message and outputs as they were; `accepted`; or, for what can be built again, `rebuilt` with
    a warning that holds the words, and the same numbers as before.
    """

    kind: str
    name: str
    damage: Callable[[Place], object]
    words: tuple[str, ...]
    command: Callable[[Place], None] = Place.train
    outcome: Outcome = "refused"

    def __str__(self) -> str:
        return f"{self.kind}-{self.name}".replace(" ", "-")
