"""Saved fold models of finished experiments: crystals in, predictions of each fold's model out."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.config import ExperimentConfig, TargetConfig
from src.data.table import Crystals
from src.data.target import TargetNormalizer
from src.data.task import ColumnNames, Task
from src.features.bases import base_of
from src.features.elements import word2vec_key
from src.learners.learner import Learner, load_learner
from src.paths import MAT2VEC, experiment_folders
from src.results.blend import ON_LOGITS, mixed
from src.results.intervals import part_spread
from src.results.predictions import MODELS, Predictions, find_parts, published_folder, train_command
from src.storage.files import read_json

Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FoldModels:
    """Models of the folds of an experiment; a blend has those of its parts.

    learners, normalizers: one per fold. weights: broadcast to (n_folds, n_parts). on_logits: of each fold, see `mixed`.
    """

    target: TargetConfig
    learners: Sequence[Learner] = ()
    normalizers: Sequence[TargetNormalizer] = ()
    parts: "Sequence[FoldModels]" = ()
    weights: Values | None = None
    on_logits: NDArray[np.bool_] | bool = False

    @property
    def transforms(self) -> set[str]:
        """The transforms of the target that the experiment, or the parts of the blend, learned."""
        return set().union(*(part.transforms for part in self.parts)) if self.parts else {self.target.transform}

    @property
    def elements_are_alike(self) -> bool:
        """True if all crystals of a single element get the same value, the median of those in training."""
        return all(part.elements_are_alike for part in self.parts) and all(n.pure_energy is not None for n in self.normalizers)

    @property
    def columns(self) -> ColumnNames:
        """Names of the further columns that the models need."""
        needed = [part.columns for part in self.parts] + [learner.columns for learner in self.learners]
        return ColumnNames(*(tuple(dict.fromkeys(chain.from_iterable(kind))) for kind in zip(*needed, strict=True)))

    def predict(self, crystals: Crystals, n_jobs: int) -> tuple[Values, Values]:
        """Return the predictions of the fold models and the spread over networks or parts, (n_crystals, n_folds), eV/atom."""
        if self.weights is not None:
            found = [part.predict(crystals, n_jobs) for part in self.parts]
            pred, own = (np.stack(values, axis=2) for values in zip(*found, strict=True))
            return mixed(pred, self.weights, self.on_logits), part_spread(pred, own, self.weights)
        residuals = self.learners[0].predict_each(self.learners, self._inputs(crystals, n_jobs))
        base, counts = base_of(self.target, crystals, "", None, n_jobs), crystals.element_counts
        pairs = zip(self.normalizers, residuals, strict=True)
        found = [normalizer.mean_and_spread(counts, of_members, base) for normalizer, of_members in pairs]
        pred, spread = (np.stack(values, axis=1) for values in zip(*found, strict=True))
        return pred, spread

    def features(self, crystals: Crystals, n_jobs: int) -> NDArray[np.float32]:
        """Return the vectors of all fold models side by side, (n_crystals, n_features)."""
        if self.parts:
            return np.concatenate([part.features(crystals, n_jobs) for part in self.parts], axis=1)
        inputs = self._inputs(crystals, n_jobs)
        return np.concatenate([learner.features(inputs) for learner in self.learners], axis=1)

    def check(self, crystals: Crystals) -> None:
        """Raise ValueError if no inputs can be made of these crystals."""
        for part in self.parts:
            part.check(crystals)
        if self.learners:
            self._inputs(crystals, n_jobs=1)
            base_of(self.target, crystals, "", None)

    def _inputs(self, crystals: Crystals, n_jobs: int) -> Any:
        """Return what the models read, in memory."""
        inputs = self.learners[0].prepare_inputs(crystals, "", None, n_jobs)
        return inputs[np.arange(len(crystals))]


def find_models(numbers: Sequence[str], task: Task, outputs: Path) -> list[Predictions]:
    """Return experiments with their models' out-of-fold predictions. Raises FileNotFoundError if one has no models."""
    every = find_parts(numbers, task, outputs)
    for one in every:
        if not one.models.config_path.is_file():
            others = [f.name for f in experiment_folders() if (published_folder(f.name, task) / MODELS).is_dir()]
            known = f" (those of {', '.join(others)} are)" if others else ""
            way_out = f"train them: {train_command(one.name, task)}"
            raise FileNotFoundError(f"{one.name}: its models are not published{known}; {way_out}")
        find_models(one.models.claimed()["config"].parts, task, outputs)  # of a blend
    return [one.of_models for one in every]


def load_models(found: Predictions, task: Task, outputs: Path, device: str) -> FoldModels:
    """Return the models of all folds of a finished experiment that `find_models` has found."""
    run, name = found.models, found.name
    stored = run.claimed()
    config: ExperimentConfig = stored["config"]
    folds = range(len(found.metrics["fold_maes"]))
    if config.parts:
        every = find_parts(config.parts, task, outputs)
        kinds = dict.fromkeys([one.name for one in every], (int, float))
        weights = [read_json(run.weights(k), kinds) for k in folds]
        parts = [load_models(one, task, outputs, device) for one in every]
        on_logits = np.array([bool(own.get(ON_LOGITS)) for own in weights])
        own_weights = np.array([[own[one.name] for one in every] for own in weights])
        return FoldModels(config.target, parts=parts, weights=own_weights, on_logits=on_logits)
    word2vec = _word2vec(name, stored["word2vec"])
    learners = [load_learner(run.fold(k), device, word2vec) for k in folds]
    learners[0].limit_threads()  # as in training; several wait for each other on a busy machine
    stored_normalizers = [read_json(run.fold(k) / "normalizer.json", {"shift": list, "scale": (int, float)}) for k in folds]
    return FoldModels(config.target, learners, [TargetNormalizer.from_json(one) for one in stored_normalizers])


def _word2vec(name: str, key: str) -> Path | None:
    """Return the user's word2vec file if the run used it. Raises ValueError if that file is missing now."""
    if key == word2vec_key(None):
        return None
    if not MAT2VEC.is_file() or word2vec_key(MAT2VEC) != key:
        raise ValueError(f"{name} was trained with another word2vec file than {MAT2VEC}: put that file there again")
    return MAT2VEC
