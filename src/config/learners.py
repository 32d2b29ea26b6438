"""Learners: networks and their training, gradient boosting, support vectors, blends."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat

from src.config.data import ElementConfig, GraphConfig
from src.config.networks import EgnnConfig, MegnetConfig, NequipConfig, NetworkConfig, RoostConfig
from src.config.schema import Fraction, Share, Steps, config_class

Precision = Literal["float32", "tf32", "bf16"]
BlendMethod = Literal["mean", "weights", "ridge", "hill"]


@config_class
class TrainingConfig:
    """The training loop of networks.

    n_epochs: fixed; nothing stops a training early.
    batch_size: crystals.
    lr: peak learning rate, reached after warm-up and annealed to zero along a cosine.
    warmup_fraction: of all steps.
    ema_decay: per step, of the averaged weights, which are the ones that predict.
    n_snapshots: cosines, one after the other and of the same number of epochs; the averaged weights at the end of each predict
        together, as members do (Huang et al., arXiv:1704.00109).
    swa_fraction: of all steps, the last ones: at half the peak learning rate, to which the cosine descends before them. The mean
        of the weights after each of them predicts (Izmailov et al., arXiv:1803.05407). 0: there are none.
    clip_norm: largest norm of the gradient.
    optimizer: `adamw`, or `lion` (Chen et al., arXiv:2302.06675), which needs a smaller lr and a larger weight_decay.
    loss: `l1`, or `huber` with its knee at a tenth of the target's standard deviation.
    precision: of matrix products in training steps, for GPUs: `tf32` rounds their inputs, `bf16` runs linear layers in
        bfloat16. Predictions are always made in float32.
    compile: run training steps through torch.compile.
    strain: standard deviation of a random isotropic strain: in each epoch all lengths in a crystal are multiplied by one plus a
        normal number, the same for all members; targets stay the same. Pre-training, on relaxed crystals, has none.
    max_edges: edges in memory at once; a larger batch is split, and the gradients of its parts are added, so that the training
        is the same to rounding. A crystal with more is a part of its own. None: no limit.
    """

    n_epochs: Steps
    batch_size: Steps = 32
    lr: PositiveFloat = 2e-3
    weight_decay: NonNegativeFloat = 1e-2
    warmup_fraction: Fraction = 0.05
    ema_decay: Fraction = 0.99
    n_snapshots: Steps = 1
    swa_fraction: Fraction = 0.0
    clip_norm: PositiveFloat = 10.0
    loss: Literal["l1", "huber"] = "l1"
    optimizer: Literal["adamw", "lion"] = "adamw"
    precision: Precision = "float32"
    compile: bool = False
    strain: Annotated[float, Field(ge=0, le=0.1)] = 0.0
    max_edges: Steps | None = None

    def __post_init__(self) -> None:
        if self.n_epochs % self.n_snapshots:
            raise ValueError(f"n_snapshots={self.n_snapshots}: must divide n_epochs={self.n_epochs}")
        if self.n_snapshots > 1 and self.swa_fraction:
            raise ValueError(f"n_snapshots={self.n_snapshots}: must be 1 with swa_fraction={self.swa_fraction}")
        if self.warmup_fraction + self.swa_fraction >= 1:
            raise ValueError(f"swa_fraction={self.swa_fraction}: must be below 1 less warmup_fraction={self.warmup_fraction}")


@config_class
class PretrainingConfig:
    """A first stage on energies and on forces, which vanish in relaxed crystals (2nd place); training starts from its weights.

    Optimiser, schedule and batches are as in TrainingConfig. The loss is that of the energies plus

    force_weight: times the mean over crystals of the mean over atoms of |F|^2, (target units per Angstrom)^2.
    virial_weight: times the mean over crystals of |W|^2 per atom, squared target units.
    displacement, strain: standard deviations, Angstrom and unitless, of random displacements of atoms and strains of cells that
        the symmetry allows; above zero, forces and virials are to drive the crystal back, see src/learners/pretraining.py.
    """

    n_epochs: Steps
    force_weight: NonNegativeFloat
    virial_weight: NonNegativeFloat = 0.0
    displacement: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    strain: Annotated[float, Field(ge=0, le=0.1)] = 0.0


@config_class
class GnnConfig:
    """A graph network and its training.

    pretraining: a stage before the training; None: there is none.
    global_features: groups known to src/features/tables.py that enter NequIP's head, standardised on the training fold
        (2nd place); `columns`: the task's further columns, imputed and encoded on the training fold as well.
    atom_features: `chgnet`: this potential's features of atoms join the element vectors of NequIP (open track).
    members: networks that are trained in one pass, on the same batches, from initial weights of their own: member i has those of
        seed 1000 i + that of the fold; pre-trained one after another. The fold's prediction is the mean of theirs, or of all
        their snapshots; the standard deviation is kept as `spread`.
    """

    training: TrainingConfig
    elements: ElementConfig = ElementConfig()
    graph: GraphConfig = GraphConfig()
    network: NetworkConfig = NequipConfig()
    pretraining: PretrainingConfig | None = None
    global_features: tuple[str, ...] = ()
    atom_features: Literal["none", "chgnet"] = "none"
    members: Annotated[int, Field(ge=1, le=100)] = 1

    @property
    def feature_groups(self) -> tuple[str, ...]:
        """Groups of features that are read besides the graphs."""
        return self.global_features

    def __post_init__(self) -> None:
        equivariant = isinstance(self.network, NequipConfig | EgnnConfig) and self.graph.l_max >= 1
        if self.pretraining and not equivariant:
            raise ValueError("pretraining: requires NequIP or EGNN and graph.l_max of at least 1")
        if self.pretraining and getattr(self.network, "readout", "mean") != "mean":
            raise ValueError("pretraining: requires readout='mean'; forces are derivatives of energies per atom")
        if self.pretraining and self.graph.radius_exponent:
            raise ValueError("pretraining: requires graph.radius_exponent=0; forces are derivatives by lengths in Angstrom")
        if self.pretraining and self.training.compile:
            raise ValueError("pretraining: requires training.compile=False; a compiled network has no second derivatives")
        if self.training.strain and (self.atom_features != "none" or set(self.global_features) - {"columns"}):
            raise ValueError(
                "training.strain: requires atom_features='none' and no global_features but 'columns': the features "
                "of a strained crystal are not computed"
            )
        if self.training.strain and self.graph.formula:
            raise ValueError("training.strain: requires graph.formula=False; a formula has no lengths")
        if isinstance(self.network, RoostConfig) != self.graph.formula:
            raise ValueError(f"graph.formula={self.graph.formula}: must be true for Roost, and false for all other networks")
        self._check_members()
        if not isinstance(self.network, NequipConfig):
            for name, without in {"global_features": (), "atom_features": "none"}.items():
                if getattr(self, name) != without:
                    raise ValueError(f"{name}={getattr(self, name)!r}: must be {without!r}; only NequIP takes such features")

    def _check_members(self) -> None:
        """Raise ValueError if several networks cannot be trained, or evaluated, in one pass."""
        for name, n in {"members": self.members, "training.n_snapshots": self.training.n_snapshots}.items():
            if n > 1 and isinstance(self.network, MegnetConfig):
                raise ValueError(f"{name}={n}: must be 1 for MEGNet; torch has no LSTM of several")
        if self.members > 1 and self.training.compile:
            raise ValueError(f"members={self.members}: requires training.compile=False")


@config_class
class GbdtConfig:
    """LightGBM. features: groups known to src/features/tables.py, and `columns`, the task's further columns.

    The other names are LightGBM's.
    """

    features: tuple[str, ...] = ("fractions", "magpie", "mat2vec")
    objective: str = "l2"
    n_trees: Steps = 2000
    learning_rate: PositiveFloat = 0.03
    num_leaves: Annotated[int, Field(ge=2, le=131_072)] = 31
    min_child_samples: NonNegativeInt = 10
    colsample_bytree: Share = 0.3
    subsample: Share = 0.8
    reg_lambda: NonNegativeFloat = 1.0

    @property
    def feature_groups(self) -> tuple[str, ...]:
        """Groups of features that are read."""
        return self.features


@config_class
class BlendConfig:
    """An ensemble of finished experiments: nothing is trained, weights are fitted to their out-of-fold predictions.

    members: numbers of experiments on the same folds.
    method: see src/results/weights.py.
    pure_elements: `median`: a crystal of one element gets the median energy of those in the other folds, see
        src/results/pure_elements.py.
    """

    members: Annotated[tuple[str, ...], Field(min_length=2)]
    method: BlendMethod = "weights"
    pure_elements: Literal["as_members", "median"] = "as_members"

    def __post_init__(self) -> None:
        if len(set(self.members)) < len(self.members):
            raise ValueError(f"members={self.members}: a number is duplicated")

    @property
    def feature_groups(self) -> tuple[str, ...]:
        """Groups of features that are read: none."""
        return ()


@config_class
class GbdtEnsembleConfig:
    """The mean of several LightGBMs, each with its own features, settings and seed (3rd place).

    members: member i trains with seed 1000 i + that of the fold.
    outlier_fraction: share of the training rows that no member is fitted to: those with the largest errors in models fitted to
        other training rows. Rows that are scored are never looked at.
    n_inner_folds: folds of the training rows for those models.
    """

    members: Annotated[tuple[GbdtConfig, ...], Field(min_length=1)]
    outlier_fraction: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    n_inner_folds: Annotated[int, Field(ge=2)] = 5

    @property
    def feature_groups(self) -> tuple[str, ...]:
        """Groups of features that any member reads."""
        return tuple(dict.fromkeys(group for member in self.members for group in member.features))


@config_class
class SvrConfig:
    """Support vector regression with a radial kernel; C and epsilon as in scikit-learn.

    features: groups known to src/features/tables.py, finite for every crystal, and `columns`, the task's further columns.
    gamma: of the kernel, divided by the number of features. max_target: training targets are clipped at plus and minus this
    value, in units of their scale.
    """

    features: tuple[str, ...]
    gamma: PositiveFloat = 2.0
    C: PositiveFloat = 3.0
    epsilon: NonNegativeFloat = 0.05
    max_target: PositiveFloat = 3.0

    @property
    def feature_groups(self) -> tuple[str, ...]:
        """Groups of features that are read."""
        return self.features


LearnerConfig = GnnConfig | GbdtConfig | GbdtEnsembleConfig | SvrConfig
