"""Models of the folds of a finished experiment, or of the members of an ensemble, as they were saved."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from src.config import BlendConfig, ExperimentConfig, TargetConfig
from src.data.columns import ColumnNames
from src.data.table import Crystals
from src.data.target import TargetNormalizer, is_pure
from src.data.task import Task
from src.features.elements import word2vec_key
from src.features.potentials import base_energies
from src.learners.learner import Learner
from src.learners.make import load_learner
from src.paths import MAT2VEC
from src.results.folder import RunDir
from src.results.intervals import part_spread
from src.results.predictions import Predictions, find_predictions
from src.results.pure_elements import PURE, put_energies
from src.storage.files import read_json
from src.storage.remedy import remedy

Values = NDArray[np.float64]
KEY = "structures"  # of the crystals in a cache that lasts for one call
NORMALIZER: dict[str, type | tuple[type, ...]] = {"shift": list, "scale": (int, float)}


@dataclass(frozen=True, eq=False)
class Members:
    """Models of the folds of an experiment; of an ensemble, those of its members in `parts`.

    learners, normalizers: one per fold. weights: (n_folds, n_members). pure_energy: (n_folds,), eV/atom, of crystals of one
    element in an ensemble that does not leave them to its members.
    """

    name: str
    target: TargetConfig
    learners: Sequence[Learner] = ()
    normalizers: Sequence[TargetNormalizer] = ()
    parts: "Sequence[Members]" = ()
    weights: Values | None = None
    pure_energy: Values | None = None

    @property
    def transforms(self) -> set[str]:
        """The transforms of the target that the experiment, or the members of the ensemble, learned."""
        return set().union(*(part.transforms for part in self.parts)) if self.parts else {self.target.transform}

    @property
    def columns(self) -> ColumnNames:
        """Names of the further columns that the models need."""
        needed = [part.columns for part in self.parts] + [learner.columns for learner in self.learners[:1]]
        return ColumnNames(*(tuple(dict.fromkeys(chain.from_iterable(kind))) for kind in zip(*needed, strict=True)))

    def predict(self, crystals: Crystals, cache: Path, n_jobs: int) -> tuple[Values, Values]:
        """Return the predictions of the fold models and the spread over their members, (n_crystals, n_folds), eV/atom."""
        if self.weights is not None:
            found = [part.predict(crystals, cache, n_jobs) for part in self.parts]
            pred, own = (np.stack(values, axis=2) for values in zip(*found, strict=True))
            blended, spread = (pred * self.weights).sum(axis=2), part_spread(pred, own, self.weights)
            if self.pure_energy is not None:
                put_energies(self.pure_energy, is_pure(crystals.element_counts), blended, spread)
            return blended, spread
        inputs = self.learners[0].prepare_inputs(crystals, KEY, cache, n_jobs)
        base, counts = base_energies(self.target, crystals, KEY, cache, n_jobs), crystals.element_counts
        residuals = self.learners[0].predict_each(self.learners, inputs[np.arange(len(crystals))])
        pairs = zip(self.normalizers, residuals, strict=True)
        found = [normalizer.mean_and_spread(counts, of_members, base) for normalizer, of_members in pairs]
        pred, spread = (np.stack(values, axis=1) for values in zip(*found, strict=True))
        return pred, spread

    def features(self, crystals: Crystals, cache: Path, n_jobs: int) -> NDArray[np.float32]:
        """Return the vectors of all fold models side by side, (n_crystals, n_features)."""
        if self.parts:
            return np.concatenate([part.features(crystals, cache, n_jobs) for part in self.parts], axis=1)
        inputs = self.learners[0].prepare_inputs(crystals, KEY, cache, n_jobs)
        return np.concatenate([learner.features(inputs) for learner in self.learners], axis=1)


def load_members(found: Predictions, task: Task, outputs: Path, device: str) -> Members:
    """Return the fold models of a finished experiment."""
    return load_folds_of(found.models, found.name, range(len(found.metrics["fold_maes"])), task, outputs, device)


def load_folds_of(run: RunDir, name: str, folds: Sequence[int], task: Task, outputs: Path, device: str) -> Members:
    """Return the models of some folds of an experiment. run: the folder with these folds."""
    if not run.config_path.is_file():
        raise FileNotFoundError(f"{name}: its models are not published; train them: python exp/{name}/train.py")
    stored = run.claimed()
    config: ExperimentConfig = stored["config"]
    if isinstance(config.learner, BlendConfig):
        found = [find_predictions(number, task, outputs) for number in config.learner.members]
        parts = [load_folds_of(one.models, one.name, folds, task, outputs, device) for one in found]
        pure = [PURE] if config.learner.pure_elements == "median" else []
        kinds = dict.fromkeys([*(part.name for part in parts), *pure], (int, float))
        named = [read_json(run.weights(k), kinds, remedy(run.weights(k))) for k in folds]
        weights = np.array([[fold[part.name] for part in parts] for fold in named])
        pure_energy = np.array([fold[PURE] for fold in named]) if pure else None
        return Members(name, config.target, parts=parts, weights=weights, pure_energy=pure_energy)
    word2vec = _word2vec(name, stored["word2vec"])
    learners, normalizers = [], []
    for k in folds:
        learners.append(load_learner(run.fold(k), device, word2vec))
        path = run.fold(k) / "normalizer.json"
        normalizers.append(TargetNormalizer.from_json(read_json(path, NORMALIZER, remedy(path))))
    learners[0].limit_threads()  # as in training; several wait for each other on a busy machine
    return Members(name, config.target, learners, normalizers)


def _word2vec(name: str, key: str) -> Path | None:
    """Return the user's word2vec file if the run was made with it. Raises ValueError if that file is not there now."""
    if key == word2vec_key(None):
        return None
    if not MAT2VEC.is_file() or word2vec_key(MAT2VEC) != key:
        raise ValueError(f"{name} was trained with another word2vec file than {MAT2VEC}: put that file there again")
    return MAT2VEC
