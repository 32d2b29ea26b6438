"""Distillation: crystals without labels join the training rows, with the energies that a teacher predicts for them.

Hinton et al., arXiv:1503.02531, for a regression: what several networks agree on beyond the labels is learned by one.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from src.config import DistillationConfig, ExperimentConfig
from src.data.load import TaskData
from src.data.substitution import substituted
from src.data.table import Crystals
from src.data.target import TargetNormalizer
from src.features.columns import COLUMNS
from src.paths import OUTPUTS, experiment_name
from src.predict.members import Members, load_folds_of
from src.results.folder import RunDir
from src.results.models import MODELS
from src.results.predictions import published_folder

Values = NDArray[np.float64]
OF_TEST = -1  # as the parent of a crystal of the test table


@dataclass(frozen=True, eq=False)
class Unlabelled:
    """Crystals that follow the training rows in the learner's inputs.

    element_counts: (n, N_ELEMENTS). parent: (n,), the training row that each was made from, or OF_TEST.
    energies: fold -> (n,), eV/atom, what its teacher predicts.
    """

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
        taught = normalizer.normalize(self.element_counts[chosen], self.energies[k][chosen], base[rows])
        return np.concatenate([train, rows]), np.concatenate([residual[train], taught])


def unlabelled_crystals(config: DistillationConfig, data: TaskData) -> tuple[Crystals, NDArray[np.int64]]:
    """Return the crystals that a teacher labels, and the parent of each (n,)."""
    copies, parent = substituted(data.train.crystals, config.n_substituted)
    of_test = [data.test.crystals[i] for i in range(len(data.test.ids))] if config.test_crystals else []
    return Crystals.from_list(copies + of_test), np.concatenate([parent, np.full(len(of_test), OF_TEST)])


def teach(
    config: ExperimentConfig, data: TaskData, folds: Sequence[int], device: str, n_jobs: int
) -> tuple[Crystals, Unlabelled]:
    """Return the training crystals with those without labels behind them, and what the teachers of these folds say of the latter.

    Raises FileNotFoundError if the teacher is not trained, ValueError if it was trained on other folds or other data.
    """
    distillation = config.distillation
    assert distillation is not None
    if COLUMNS in config.learner.feature_groups:
        raise ValueError(f"distillation: requires no group of features {COLUMNS!r}; a new crystal has no further columns")
    crystals, parent = unlabelled_crystals(distillation, data)
    teacher = _teacher(distillation.teacher, config, data, folds, device)
    with tempfile.TemporaryDirectory() as cache:
        energies, _ = teacher.predict(crystals, Path(cache), n_jobs)
    every = [table[i] for table in (data.train.crystals, crystals) for i in range(len(table))]
    by_fold = dict(zip(folds, energies.T, strict=True))
    return Crystals.from_list(every), Unlabelled(crystals.element_counts, parent, by_fold)


def _teacher(name: str, config: ExperimentConfig, data: TaskData, folds: Sequence[int], device: str) -> Members:
    """Return the fold models of the teacher."""
    number, _, variant = name.partition("/")
    experiment = experiment_name(number)
    places = [data.task.runs(outputs) / experiment / variant for outputs in (data.outputs, OUTPUTS)]
    places += [] if variant else [published_folder(experiment, data.task) / MODELS]
    run = next((RunDir(place) for place in places if all((place / f"fold_{k}" / "learner.json").is_file() for k in folds)), None)
    if run is None:
        raise FileNotFoundError(
            f"distillation.teacher={name!r}: its models of the folds {', '.join(map(str, folds))} are not in {places[0]}; "
            f"train it first: python exp/{experiment}/train.py"
        )
    stored = run.claimed()
    if data.given_folds is None and stored["config"].folds != config.folds:
        raise ValueError(f"distillation.teacher={name!r}: it was trained on other folds, so it has seen rows that are scored")
    return load_folds_of(run, experiment, folds, data.task, data.outputs, device)
