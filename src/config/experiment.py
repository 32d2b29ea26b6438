"""Experiments and studies."""

from dataclasses import replace
from typing import Annotated

from pydantic import Field

from src.config.data import FoldConfig, TargetConfig
from src.config.learners import BlendConfig, LearnerConfig
from src.config.schema import Seed, config_class


@config_class
class DistillationConfig:
    """Crystals without labels that join the training rows of every fold, with the energies that a teacher predicts for them.

    teacher: a trained experiment on the same folds, `067` for instance, or a variant of a study, `084/five members`. Its fold
        model k teaches fold k, so that no teacher has seen a row that its fold scores.
    test_crystals: those of the task's test table.
    n_substituted: of each training crystal, so many copies in which one element is replaced by a chemical neighbour, see
        src/data/substitution.py; copies of the rows that a fold scores are left out there.
    """

    teacher: Annotated[str, Field(pattern=r"^\d{3}(/.+)?$")]
    test_crystals: bool = False
    n_substituted: Annotated[int, Field(ge=0, le=100)] = 0

    def __post_init__(self) -> None:
        if not self.test_crystals and not self.n_substituted:
            raise ValueError("n_substituted=0: must be at least 1 without test_crystals; there is nothing to learn")


@config_class
class ExperimentConfig:
    """One experiment. seed: fold k trains with seed + k."""

    learner: LearnerConfig | BlendConfig
    folds: FoldConfig = FoldConfig()
    target: TargetConfig = TargetConfig()
    seed: Seed = 0
    distillation: DistillationConfig | None = None

    def __post_init__(self) -> None:
        if self.distillation and isinstance(self.learner, BlendConfig):
            raise ValueError("distillation: must be None for an ensemble of finished experiments, which trains nothing")
        if self.distillation and self.folds.scheme not in ("stratified", "shuffled"):
            raise ValueError(
                "distillation: requires folds.scheme='stratified' or 'shuffled'; a crystal without a label could have the "
                "formula or the element that a fold is not to see"
            )

    @property
    def trained(self) -> LearnerConfig:
        """The learner to train. Raises ValueError if the experiment is an ensemble of finished ones."""
        if isinstance(self.learner, BlendConfig):
            raise ValueError(f"config: an ensemble of {', '.join(self.learner.members)} trains nothing")
        return self.learner


@config_class
class StudyConfig:
    """Variants of one experiment on a few folds, to learn what matters rather than to predict best.

    variants: pairs of a name and an experiment; differences are to the first. They have the same folds, and may differ in
    the number of crystals that these are trained on: the picture then shows learning curves, one for each learner.
    folds: numbers of the folds to train, the same for each variant.
    """

    variants: tuple[tuple[str, ExperimentConfig], ...]
    folds: Annotated[tuple[int, ...], Field(min_length=1)]

    def __post_init__(self) -> None:
        names = [name for name, _ in self.variants]
        if len(names) < 2 or len(set(names)) < len(names):
            raise ValueError(f"variants: must have at least two names, all different, not {names}")
        if len({replace(experiment.folds, n_train=None) for _, experiment in self.variants}) > 1:
            raise ValueError("variants: must have the same folds")
