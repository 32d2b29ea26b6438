"""Distillation: crystals without labels join the training rows, with the energies that a teacher predicts for them.

Hinton et al., arXiv:1503.02531, for a regression: what several networks agree on beyond the labels is learned by one.
"""

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from src.config import DistillationConfig, ExperimentConfig, to_dict
from src.data import substitution, target
from src.data.load import TaskData
from src.data.table import Crystals
from src.data.target import TargetNormalizer
from src.features.columns import COLUMNS, data_key
from src.paths import OUTPUTS, experiment_name, shown
from src.predict.members import load_folds_of
from src.results.folder import RunDir
from src.results.models import MODELS
from src.results.predictions import published_folder
from src.storage.cache import cache_key, cached
from src.storage.files import to_bytes, write_atomic

Values = NDArray[np.float64]
OF_TEST = -1  # as the parent of a crystal of the test table
LEARNER = "learner.json"  # of a trained fold
CODE = (__file__, substitution.__file__, target.__file__)
LIBRARIES = ("ase", "pymatgen-core")


@dataclass(frozen=True, eq=False)
class Unlabelled:
    """Crystals that follow the training rows in the learner's inputs.

    names: of each, in messages. element_counts: (n, N_ELEMENTS).
    parent: (n,), the training row that each was made from, or OF_TEST.
    energies: fold -> (n,), eV/atom, what its teacher predicts.
    """

    names: list[str]
    element_counts: NDArray[np.int64]
    parent: NDArray[np.int64]
    energies: dict[int, Values]

    def joined(
        self, train: NDArray[np.integer], residual: Values, k: int, normalizer: TargetNormalizer, base: Values
    ) -> tuple[NDArray[np.integer], Values]:
        """Return the rows of the inputs that fold k learns from, its training rows first, and their unitless targets.

        residual: (n_train,), of all training rows of the task. base: of all rows of the inputs.
        """
        chosen = np.flatnonzero(np.isin(self.parent, train) | (self.parent == OF_TEST))
        rows = len(residual) + chosen
        with np.errstate(invalid="ignore", divide="ignore"):
            taught = normalizer.normalize(self.element_counts[chosen], self.energies[k][chosen], base[rows])
        if len(wrong := chosen[~np.isfinite(taught)]):
            raise ValueError(
                f"distillation: target.transform={normalizer.transform!r} is not defined for {self.energies[k][wrong[0]]:.4g}, "
                f"which the teacher predicts for {self.names[wrong[0]]}; give the teacher the same transform"
            )
        return np.concatenate([train, rows]), np.concatenate([residual[train], taught])


def unlabelled_crystals(config: DistillationConfig, data: TaskData) -> tuple[Crystals, NDArray[np.int64]]:
    """Return the crystals that a teacher labels, and the parent of each (n,). Raises ValueError if there are none."""
    copies, parent = substitution.substituted(data.train.crystals, config.n_substituted)
    of_test = [data.test.crystals[i] for i in range(len(data.test.ids))] if config.test_crystals else []
    if not copies and not of_test:
        raise ValueError(f"distillation: {data.task.label} has no test crystals, and none of several elements to make copies of")
    return Crystals.from_list(copies + of_test), np.concatenate([parent, np.full(len(of_test), OF_TEST)])


def crystals_key(config: DistillationConfig, data: TaskData) -> str:
    """Return the hash of everything that shapes the crystals without labels; the teacher does not."""
    return cache_key(data.train_key, [data.test_key, to_dict(replace(config, teacher="000"))], CODE, LIBRARIES)


def teach(
    distillation: DistillationConfig, config: ExperimentConfig, data: TaskData, folds: Sequence[int], device: str, n_jobs: int
) -> tuple[Crystals, str, Unlabelled]:
    """Return the training crystals followed by those without labels, the key of both, and what the teachers of these folds say.

    config: of the student. Raises FileNotFoundError if the teacher is not trained, ValueError if it was trained on other folds or
    other data.
    """
    if COLUMNS in config.learner.feature_groups:
        raise ValueError(f"distillation: requires no group of features {COLUMNS!r}; a new crystal has no further columns")
    crystals, parent = unlabelled_crystals(distillation, data)
    run = _teacher(distillation.teacher, config, data, folds)
    with tempfile.TemporaryDirectory() as graphs:
        energies = {k: _taught(run, k, distillation, crystals, data, Path(graphs), device, n_jobs) for k in folds}
    every = [table[i] for table in (data.train.crystals, crystals) for i in range(len(table))]
    sources = ["of the test table" if i == OF_TEST else f"made from {data.train.ids[i]}" for i in parent.tolist()]
    names = [f"{crystals[i].reduced_formula} ({source})" for i, source in enumerate(sources)]
    unlabelled = Unlabelled(names, crystals.element_counts, parent, energies)
    return Crystals.from_list(every), crystals_key(distillation, data), unlabelled


def _taught(
    run: RunDir, k: int, config: DistillationConfig, crystals: Crystals, data: TaskData, graphs: Path, device: str, n_jobs: int
) -> Values:
    """Return what the teacher of fold k says of the crystals, (n,), eV/atom, from the cache if they are there.

    A teacher is known by its config and by the files of its fold. graphs: folder of the teacher's inputs, which all folds share.
    """
    models = [path for path in sorted(run.fold(k).rglob("*")) if path.is_file() and path.suffix not in (".csv", ".lock")]
    teacher = [to_dict(run.claimed()["config"]), *(hashlib.sha256(path.read_bytes()).hexdigest() for path in models)]
    path = data.cache / f"taught-{cache_key(crystals_key(config, data), teacher, (), ())}.npy"

    def compute() -> None:
        found, _ = load_folds_of(run, config.teacher, [k], data.task, data.outputs, device).predict(crystals, graphs, n_jobs)
        write_atomic(path, to_bytes(lambda file: np.save(file, found[:, 0], allow_pickle=False)))

    return cached(path, lambda file: np.load(file, allow_pickle=False), compute)


def _teacher(name: str, config: ExperimentConfig, data: TaskData, folds: Sequence[int]) -> RunDir:
    """Return the folder of the teacher's fold models."""
    number, _, variant = name.partition("/")
    experiment = experiment_name(number)
    places = [data.task.runs(outputs) / experiment / variant for outputs in (data.outputs, OUTPUTS)]
    places += [] if variant else [published_folder(experiment, data.task) / MODELS]
    run = next((RunDir(place) for place in places if all((RunDir(place).fold(k) / LEARNER).is_file() for k in folds)), None)
    if run is None:
        raise FileNotFoundError(
            f"distillation.teacher={name!r}: its models of the folds {', '.join(map(str, folds))} are neither in "
            f"{shown(data.folder)} nor in {shown(data.task.runs(OUTPUTS))}; train it first: python exp/{experiment}/train.py "
            "(an ensemble cannot teach)"
        )
    stored = run.claimed()
    teacher: ExperimentConfig = stored["config"]
    if stored["data"] != data_key(data.key, teacher.learner.feature_groups, data.task):
        raise ValueError(f"distillation.teacher={name!r}: it was trained on other data, so it may have seen rows that are scored")
    if data.given_folds is None and replace(teacher.folds, n_train=None) != replace(config.folds, n_train=None):
        raise ValueError(f"distillation.teacher={name!r}: it was trained on other folds, so it has seen rows that are scored")
    return run
