"""Experiments and studies."""

from dataclasses import dataclass

from src.config.checks import MAX_SEED, require
from src.config.data import FoldConfig, TargetConfig
from src.config.learners import BlendConfig, LearnerConfig


@dataclass(frozen=True)
class ExperimentConfig:
    """One experiment. seed: fold k trains with seed + k."""

    learner: LearnerConfig | BlendConfig
    folds: FoldConfig = FoldConfig()
    target: TargetConfig = TargetConfig()
    seed: int = 0

    def __post_init__(self) -> None:
        require(0 <= self.seed <= MAX_SEED, f"seed={self.seed}, 0 to {MAX_SEED}")

    @property
    def trained(self) -> LearnerConfig:
        """The learner of an experiment that trains one; ValueError for an ensemble."""
        if isinstance(self.learner, BlendConfig):
            raise ValueError(f"config: an ensemble of {', '.join(self.learner.members)} trains nothing")
        return self.learner


@dataclass(frozen=True)
class StudyConfig:
    """Variants of one experiment on a few folds: what matters, rather than the best prediction.

    variants: name and experiment; differences are to the first. folds: numbers of those that are trained, the same of each.
    """

    variants: tuple[tuple[str, ExperimentConfig], ...]
    folds: tuple[int, ...]

    def __post_init__(self) -> None:
        names = [name for name, _ in self.variants]
        require(len(names) > 1 and len(set(names)) == len(names), f"study.variants: {names}, at least two different names")
        require(len({experiment.folds for _, experiment in self.variants}) == 1, "study.variants: their folds differ")
        require(len(self.folds) > 0, "study.folds is empty")
