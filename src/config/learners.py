"""Learners (networks and their training, gradient boosting), blends, and experiments of them."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat

from src.config.data import ElementConfig, FoldConfig, GraphConfig, TargetConfig
from src.config.networks import NequipConfig, NetworkConfig
from src.config.schema import Fraction, Seed, Share, Steps, config_class


@config_class
class TrainingConfig:
    """The training loop of networks.

    n_epochs: fixed; nothing stops a training early.
    batch_size: crystals.
    lr: peak learning rate, reached after warm-up and annealed to zero along a cosine.
    ema_decay: per step, of the averaged weights, which are the ones that predict.
    optimizer: `adamw`, or `lion` (Chen et al., arXiv:2302.06675), which needs a smaller lr and a larger weight_decay.
    loss: `l1`, or `huber` with its knee at a tenth of the target's standard deviation.
    """

    n_epochs: Steps
    batch_size: Steps = 32
    lr: PositiveFloat = 2e-3
    weight_decay: NonNegativeFloat = 1e-2
    ema_decay: Fraction = 0.99
    loss: Literal["l1", "huber"] = "l1"
    optimizer: Literal["adamw", "lion"] = "adamw"


@config_class
class PretrainingConfig:
    """A first stage on energies and on forces, which vanish in relaxed crystals (2nd place); training starts from its weights.

    Optimiser, schedule and batches are as in TrainingConfig. The loss is that of the energies plus

    force_weight: times the mean over crystals of the mean over atoms of |F|^2, (target units per Angstrom)^2.
    """

    n_epochs: Steps
    force_weight: NonNegativeFloat


@config_class
class GnnConfig:
    """A graph network and its training.

    pretraining: a stage before the training; None: there is none.
    global_features: groups known to src/features/tables.py that enter NequIP's head, standardised on the training fold
        (2nd place); `columns`: the task's further columns, imputed and encoded on the training fold as well.
    members: networks that are trained in one pass, on the same batches, from initial weights of their own: member i has those of
        seed 1000 i + that of the fold; pre-trained one after another. The fold's prediction is the mean of theirs; the standard
        deviation is kept as `spread`.
    """

    training: TrainingConfig
    elements: ElementConfig = ElementConfig()
    graph: GraphConfig = GraphConfig()
    network: NetworkConfig = NequipConfig()
    pretraining: PretrainingConfig | None = None
    global_features: tuple[str, ...] = ()
    members: Annotated[int, Field(ge=1, le=100)] = 1

    @property
    def feature_groups(self) -> tuple[str, ...]:
        """Groups of features that are read besides the graphs."""
        return self.global_features

    @property
    def graph_network(self) -> str | None:
        """Name of the network if it reads structures; None if it reads formulas."""
        return None if self.network.reads_formula else self.network.name

    def __post_init__(self) -> None:
        network = self.network
        if self.pretraining and not (network.has_forces and self.graph.l_max >= 1):
            raise ValueError("pretraining: requires NequIP or EGNN and graph.l_max of at least 1")
        if self.pretraining and getattr(network, "readout", "mean") != "mean":
            raise ValueError("pretraining: requires readout='mean'; forces are derivatives of energies per atom")
        if self.pretraining and self.graph.radius_exponent:
            raise ValueError("pretraining: requires graph.radius_exponent=0; forces are derivatives by lengths in Angstrom")
        if network.reads_formula and self.graph != GraphConfig():
            raise ValueError(f"graph: {network.name} reads formulas, for which no setting of the graph matters; leave them out")
        if self.members > 1 and not network.trains_members:
            raise ValueError(f"members={self.members}: must be 1 for {network.name}; torch has no LSTM of several")
        if self.global_features and not network.takes_features:
            raise ValueError(f"global_features={self.global_features!r}: must be (); only NequIP takes such features")


@config_class
class GbdtConfig:
    """LightGBM. features: groups known to src/features/tables.py, and `columns`, the task's further columns.

    The other names are LightGBM's.
    """

    graph_network: ClassVar[str | None] = None

    features: tuple[str, ...] = ("fractions", "magpie", "mat2vec")
    objective: str = "l2"
    n_trees: Steps = 2000
    learning_rate: PositiveFloat = 0.03
    num_leaves: Annotated[int, Field(ge=2, le=131_072)] = 31
    min_child_samples: NonNegativeInt = 10
    colsample_bytree: Share = 0.3
    reg_lambda: NonNegativeFloat = 1.0

    @property
    def feature_groups(self) -> tuple[str, ...]:
        """Groups of features that are read."""
        return self.features


@config_class
class GbdtEnsembleConfig:
    """The mean of several LightGBMs, each with its own features, settings and seed (3rd place).

    parts: part i trains with seed 1000 i + that of the fold.
    outlier_fraction: share of the training rows that no part is fitted to: those with the largest errors in models fitted to
        other training rows. Rows that are scored are never looked at.
    """

    graph_network: ClassVar[str | None] = None

    parts: Annotated[tuple[GbdtConfig, ...], Field(min_length=1)]
    outlier_fraction: Annotated[float, Field(ge=0, lt=0.5)] = 0.0

    @property
    def feature_groups(self) -> tuple[str, ...]:
        """Groups of features that any part reads."""
        return tuple(dict.fromkeys(group for part in self.parts for group in part.features))


@config_class
class BlendConfig:
    """A blend of finished experiments: nothing is trained, weights are fitted to their out-of-fold predictions.

    parts: numbers of experiments on the same folds.
    """

    graph_network: ClassVar[str | None] = None
    feature_groups: ClassVar[tuple[str, ...]] = ()

    parts: Annotated[tuple[str, ...], Field(min_length=2)]

    def __post_init__(self) -> None:
        if len(set(self.parts)) < len(self.parts):
            raise ValueError(f"parts={self.parts}: a number is duplicated")


LearnerConfig = GnnConfig | GbdtConfig | GbdtEnsembleConfig


@config_class
class ExperimentConfig:
    """One experiment. seed: fold k trains with seed + k."""

    learner: LearnerConfig | BlendConfig
    folds: FoldConfig = FoldConfig()
    target: TargetConfig = TargetConfig()
    seed: Seed = 0

    @property
    def parts(self) -> tuple[str, ...]:
        """Numbers of the finished experiments that it blends; none if it trains a learner."""
        return self.learner.parts if isinstance(self.learner, BlendConfig) else ()

    @property
    def trained(self) -> LearnerConfig:
        """The learner to train. Raises ValueError if the experiment is a blend of finished ones."""
        if isinstance(self.learner, BlendConfig):
            raise ValueError(f"config: a blend of {', '.join(self.learner.parts)} trains nothing")
        return self.learner
