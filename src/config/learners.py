"""Learners: networks with their training, trees, support vectors, blends."""

from dataclasses import dataclass
from typing import Literal, get_args

from src.config.checks import MAX_STEPS, require
from src.config.data import ElementConfig, GraphConfig
from src.config.networks import EgnnConfig, NequipConfig, NetworkConfig

Precision = Literal["float32", "tf32", "bf16"]


@dataclass(frozen=True)
class TrainingConfig:
    """The training loop of networks.

    n_epochs: fixed; nothing stops a training early.
    batch_size: crystals.
    lr: peak learning rate, reached after warm-up and annealed to zero along a cosine.
    warmup_fraction: share of all steps.
    ema_decay: of the averaged weights, per step; those are the ones that predict.
    clip_norm: largest norm of the gradient.
    optimizer: `adamw`, or `lion` (Chen et al., arXiv:2302.06675), which wants a smaller lr and a larger weight_decay.
    loss: `l1`, or `huber` with a knee at one standard deviation of the target over ten.
    precision: of the matrix products of training steps, for GPUs: `tf32` rounds their inputs, `bf16` runs linear layers in
        bfloat16. Predictions are made in float32.
    compile: training steps through torch.compile.
    """

    n_epochs: int
    batch_size: int = 32
    lr: float = 2e-3
    weight_decay: float = 1e-2
    warmup_fraction: float = 0.05
    ema_decay: float = 0.99
    clip_norm: float = 10.0
    loss: Literal["l1", "huber"] = "l1"
    optimizer: Literal["adamw", "lion"] = "adamw"
    precision: Precision = "float32"
    compile: bool = False

    def __post_init__(self) -> None:
        for name in ("n_epochs", "batch_size"):
            require(1 <= getattr(self, name) <= MAX_STEPS, f"training.{name}={getattr(self, name)}, 1 to {MAX_STEPS}")
        require(self.weight_decay >= 0, f"training.weight_decay={self.weight_decay}, at least 0")
        require(self.lr > 0, f"training.lr={self.lr}, above 0")
        require(0 <= self.warmup_fraction < 1, f"training.warmup_fraction={self.warmup_fraction}, 0 to below 1")
        require(0 <= self.ema_decay < 1, f"training.ema_decay={self.ema_decay}, 0 to below 1")
        require(self.clip_norm > 0, f"training.clip_norm={self.clip_norm}, above 0")
        require(self.loss in ("l1", "huber"), f"unknown training.loss={self.loss!r}")
        require(self.optimizer in ("adamw", "lion"), f"unknown training.optimizer={self.optimizer!r}")
        require(self.precision in get_args(Precision), f"unknown training.precision={self.precision!r}")


@dataclass(frozen=True)
class PretrainingConfig:
    """A first stage on energies and on forces, which vanish in relaxed crystals (2nd place); training goes on from its weights.

    Optimiser, schedule and batches are as in TrainingConfig. The loss is that of the energies plus

    force_weight: times the mean over crystals of the mean over atoms of |F|^2, (target units per Angstrom)^2.
    virial_weight: times the mean over crystals of |W|^2 per atom, squared target units.
    """

    n_epochs: int
    force_weight: float
    virial_weight: float = 0.0

    def __post_init__(self) -> None:
        require(1 <= self.n_epochs <= MAX_STEPS, f"pretraining.n_epochs={self.n_epochs}, 1 to {MAX_STEPS}")
        for name in ("force_weight", "virial_weight"):
            require(getattr(self, name) >= 0, f"pretraining.{name}={getattr(self, name)}, at least 0")


@dataclass(frozen=True)
class GnnConfig:
    """A graph network and its training.

    pretraining: a stage ahead of it; None: there is none.
    global_features: groups known to src/features/tables.py, standardised on the training fold, into NequIP's head (2nd place).
    atom_features: `chgnet`: this potential's features of atoms join the element vectors of NequIP (open track).
    """

    training: TrainingConfig
    elements: ElementConfig = ElementConfig()
    graph: GraphConfig = GraphConfig()
    network: NetworkConfig = NequipConfig()
    pretraining: PretrainingConfig | None = None
    global_features: tuple[str, ...] = ()
    atom_features: Literal["none", "chgnet"] = "none"

    def __post_init__(self) -> None:
        equivariant = isinstance(self.network, NequipConfig | EgnnConfig) and self.graph.l_max >= 1
        require(equivariant or not self.pretraining, "learner.pretraining needs NequIP or EGNN and graph.l_max of at least 1")
        require(not (self.training.compile and self.pretraining), "training.compile has no second derivatives: no pretraining")
        nequip = isinstance(self.network, NequipConfig)
        beside = bool(self.global_features) or self.atom_features != "none"
        require(nequip or not beside, "learner.global_features and atom_features go into NequIP; this network takes none")
        require(self.atom_features in ("none", "chgnet"), f"unknown learner.atom_features={self.atom_features!r}")


@dataclass(frozen=True)
class GbdtConfig:
    """LightGBM. features: groups known to src/features/tables.py; the rest are LightGBM's own names."""

    features: tuple[str, ...] = ("fractions", "magpie", "mat2vec")
    objective: str = "l2"
    n_trees: int = 2000
    learning_rate: float = 0.03
    num_leaves: int = 31
    min_child_samples: int = 10
    colsample_bytree: float = 0.3
    subsample: float = 0.8
    reg_lambda: float = 1.0

    def __post_init__(self) -> None:
        require(1 <= self.n_trees <= MAX_STEPS, f"learner.n_trees={self.n_trees}, 1 to {MAX_STEPS}")
        require(self.learning_rate > 0, f"learner.learning_rate={self.learning_rate}, above 0")
        require(2 <= self.num_leaves <= 131_072, f"learner.num_leaves={self.num_leaves}, 2 to 131072")
        for name in ("min_child_samples", "reg_lambda"):
            require(getattr(self, name) >= 0, f"learner.{name}={getattr(self, name)}, at least 0")
        for name in ("colsample_bytree", "subsample"):
            require(0 < getattr(self, name) <= 1, f"learner.{name}={getattr(self, name)}, above 0, up to 1")


BlendMethod = Literal["mean", "weights", "ridge", "hill"]


@dataclass(frozen=True)
class BlendConfig:
    """An ensemble of finished experiments: nothing is trained, weights are fitted on their out-of-fold predictions.

    members: numbers of experiments on the same folds.
    method: see src/results/weights.py.
    """

    members: tuple[str, ...]
    method: BlendMethod = "weights"

    def __post_init__(self) -> None:
        require(len(self.members) >= 2, f"learner.members={self.members}, at least two")
        require(len(set(self.members)) == len(self.members), f"learner.members={self.members} names one twice")
        require(self.method in get_args(BlendMethod), f"unknown learner.method={self.method!r}")


@dataclass(frozen=True)
class GbdtEnsembleConfig:
    """The mean of several LightGBMs, each with its own features, settings and seed (3rd place).

    members: member i trains with seed 1000 i + that of the fold.
    outlier_fraction: share of the training rows that no member is fitted on: those with the largest errors of models that
        were fitted on other training rows. Rows that are scored are never looked at.
    n_inner_folds: folds of the training rows by which those errors are found.
    """

    members: tuple[GbdtConfig, ...]
    outlier_fraction: float = 0.0
    n_inner_folds: int = 5

    def __post_init__(self) -> None:
        require(len(self.members) >= 1, "learner.members is empty")
        require(0 <= self.outlier_fraction < 0.5, f"learner.outlier_fraction={self.outlier_fraction}, 0 to below 0.5")
        require(self.n_inner_folds >= 2, f"learner.n_inner_folds={self.n_inner_folds}, at least 2")


@dataclass(frozen=True)
class SvrConfig:
    """Support vector regression with a radial kernel; C and epsilon as in scikit-learn.

    features: groups known to src/features/tables.py, finite for every crystal.
    gamma: of the kernel, over the number of features. max_target: where training targets are cut off, in units of their scale.
    """

    features: tuple[str, ...]
    gamma: float = 2.0
    C: float = 3.0
    epsilon: float = 0.05
    max_target: float = 3.0

    def __post_init__(self) -> None:
        for name in ("gamma", "C", "max_target"):
            require(getattr(self, name) > 0, f"learner.{name}={getattr(self, name)}, above 0")
        require(self.epsilon >= 0, f"learner.epsilon={self.epsilon}, at least 0")


LearnerConfig = GnnConfig | GbdtConfig | GbdtEnsembleConfig | SvrConfig
