"""Named small crystals, built in code, a small task, and the fixtures that tests share."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before the first import of torch: workers of pytest-xdist share the cores

import logging
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from pymatgen.core import Lattice, Structure

from src.config import ExperimentConfig, FoldConfig, GbdtConfig, GnnConfig, GraphConfig, NequipConfig, TrainingConfig
from src.data.crystal import Crystal
from src.data.export import competition_row, write_task
from src.data.load import TaskData, load_task_data
from src.graphs.batch import GraphBatch, batch_from_graphs
from src.graphs.graph import build_graph
from src.runs.experiment import run_experiment
from src.runs.launch import Launcher

torch.set_num_threads(1)


def _crystals() -> dict[str, Crystal]:
    rng = np.random.default_rng(1)
    structures = {
        "diamond": Structure.from_spacegroup("Fd-3m", Lattice.cubic(3.567), ["C"], [[0, 0, 0]]).get_primitive_structure(),
        "rock salt": Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
        "bcc iron": Structure.from_spacegroup("Im-3m", Lattice.cubic(2.87), ["Fe"], [[0, 0, 0]]),
        "rutile": Structure.from_spacegroup(
            "P4_2/mnm", Lattice.tetragonal(4.594, 2.959), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]]
        ),
        "wurtzite": Structure.from_spacegroup(
            "P6_3mc", Lattice.hexagonal(3.25, 5.2), ["Zn", "O"], [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0.382]]
        ),
        "quartz": Structure.from_spacegroup(
            "P3_221", Lattice.hexagonal(4.91, 5.4), ["Si", "O"], [[0.47, 0, 2 / 3], [0.41, 0.27, 0.78]]
        ),
        "perovskite": Structure.from_spacegroup(
            "Pm-3m", Lattice.cubic(3.9), ["Sr", "Ti", "O"], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]]
        ),
        "triclinic": Structure(Lattice.from_parameters(4, 5, 6, 75, 85, 100), ["Li", "Fe", "P", "O", "O"], rng.random((5, 3))),
    }
    return {name: Crystal.from_structure(structure) for name, structure in structures.items()}


CRYSTALS = _crystals()


@pytest.fixture(params=CRYSTALS, ids=lambda name: name.replace(" ", "-"))
def crystal(request: pytest.FixtureRequest) -> Crystal:
    return CRYSTALS[request.param]


def make_batch(crystals: list[Crystal], symmetry: bool = True, **graph: object) -> GraphBatch:
    """Return a batch in double precision. symmetry: whether the graphs are reduced by it."""
    return batch_from_graphs([build_graph(crystal, GraphConfig(**graph), symmetry) for crystal in crystals])


def random_rotation(seed: int = 0) -> np.ndarray:
    """Return a proper rotation, (3, 3)."""
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return q * np.sign(np.linalg.det(q))


ELEMENTS = ["Li", "O", "Na", "Cl", "Mg", "Fe", "Ti", "Si"]


def small_table(n: int, seed: int = 0) -> pd.DataFrame:
    """Return n crystals of two elements in the competition's columns; the target follows the composition."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        a, b = rng.choice(len(ELEMENTS), size=2, replace=False)
        structure = Structure(Lattice.cubic(3 + rng.random()), [ELEMENTS[a], ELEMENTS[b]], [[0, 0, 0], [0.5, 0.5, 0.5]])
        rows.append(competition_row(f"x-{i}", structure, -abs(a - b) / 4 + 0.1 * rng.random()))
    return pd.DataFrame(rows)


def pure_table(n: int) -> pd.DataFrame:
    """Return n crystals of one element, with energies from zero on."""
    cells = (Structure(Lattice.cubic(2.5 + 0.1 * i), [ELEMENTS[i % 8]], [[0, 0, 0]]) for i in range(n))
    return pd.DataFrame([competition_row(f"pure-{i}", cell, 0.1 * i) for i, cell in enumerate(cells)])


def small_task(folder: Path, n_pure: int = 0) -> Path:
    """Write a task of 40 training and 6 test crystals to folder/small; n_pure more of one element to each of its tables."""
    rows, pure = small_table(46), pure_table(n_pure)
    write_task(folder / "small", pd.concat([rows[:40], pure]), pd.concat([rows[40:], pure]))
    return folder / "small"


@pytest.fixture
def task_folder(tmp_path: Path) -> Path:
    return small_task(tmp_path)


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    return tmp_path / "outputs"


@pytest.fixture
def where(task_folder: Path, outputs: Path) -> list[str]:
    """The arguments of a command that name its task and its outputs."""
    return ["--data", str(task_folder), "--outputs", str(outputs)]


def load(task_folder: Path) -> TaskData:
    """Return the tables of a task whose outputs lie next to it."""
    return load_task_data(task_folder, task_folder.parent / "outputs", skip_bad_rows=False, n_jobs=1)


FOLDS = FoldConfig(n_folds=4)
TREES = GbdtConfig(features=("fractions",), n_trees=20, min_child_samples=2)
GBDT = ExperimentConfig(TREES, FOLDS)
NETWORK = GnnConfig(
    training=TrainingConfig(n_epochs=2, batch_size=8),
    graph=GraphConfig(r_max=3.5),
    network=NequipConfig(n_channels=4, n_layers=2, radial_hidden=(8,), head_hidden=(4,)),
)
NEQUIP = ExperimentConfig(NETWORK, FOLDS)


def run(
    task: Path | TaskData,
    config: ExperimentConfig = GBDT,
    name: str = "exp001",
    folds: list[int] | None = None,
    n_jobs: int = 1,
) -> dict | None:
    """Train on a task, its folder or its tables, and return the metrics; None if folds are left."""
    data = load(task) if isinstance(task, Path) else task
    return run_experiment(config, name, data, folds, Launcher(n_jobs=n_jobs), "cpu")


@pytest.fixture
def data(task_folder: Path) -> TaskData:
    return load(task_folder)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the pictures of a report, which take most of its time."""
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda *args, **options: None)


@pytest.fixture
def device() -> str:
    """The device of tests/gpu. GPU_TESTS_ON=cpu tries the tests themselves where there is no GPU."""
    name = os.environ.get("GPU_TESTS_ON", "cuda")
    if name != "cpu" and not torch.cuda.is_available():
        pytest.skip("needs a GPU: torch finds no CUDA device")
    return name


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, str]]:
    """A function that returns the results of an undisturbed run of a learner of faults.LEARNERS, trained once."""
    from faults import TinyRun

    @cache
    def results(learner: str) -> dict[str, str]:
        folder = tmp_path_factory.mktemp("undisturbed")
        run = TinyRun(small_task(folder), learner, folder / "outputs")
        ended = run.train()
        assert ended.returncode == 0, ended.stdout
        return run.results()

    return results


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """Undo what commands change in logging, also those in fixtures of a session, so that tests run in any order."""
    reset_log()
    yield
    reset_log()


def reset_log() -> None:
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if type(handler) in (logging.FileHandler, logging.StreamHandler)]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(logging.WARNING)
    logging.getLogger("src").setLevel(logging.NOTSET)
    logging.raiseExceptions = True
