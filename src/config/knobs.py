"""Every knob of an experiment: folds, targets, graphs, networks, learners and blends.

Sizes that are the same in every experiment are constants beside the formula that they belong to.
"""

from dataclasses import replace
from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat

from src.config.schema import Fraction, Seed, Share, Steps, config_class

N_ELEMENTS = 119  # every per-element table is indexed by atomic number; index 0 is unused
MAX_COUNT = 4096  # channels, layers, basis functions: a larger number is more likely a typing error than a network
Count = Annotated[int, Field(ge=1, le=MAX_COUNT)]
ReadoutName = Literal["mean", "sum", "max", "attention"]


@config_class
class FoldConfig:
    """Assignment of crystals to folds; a task that gives folds of its own ignores it.

    scheme: `stratified` by bins of the target (the 1st place's folds), `shuffled`, or `grouped` by reduced formula.
    """

    scheme: Literal["stratified", "shuffled", "grouped"] = "stratified"
    n_folds: Annotated[int, Field(ge=2)] = 10
    seed: Seed = 0


@config_class
class TargetConfig:
    """The quantity that the learner predicts; whatever it needs is fitted on the training fold.

    kind: `residual`: the structure's energy minus a linear regression on its atom counts (2nd place), divided by the standard
        deviation; `standardise`: minus the mean, divided by the standard deviation; `raw`: as in the table, divided by it
        only if the unit is tiny or huge; `classes`: one of two classes. Learners then predict the log-odds of the second; the
        task's metric and the learner must be for classes.
    base: `7net-l3i5`: first subtract the energy that this pretrained potential, a SevenNet, predicts, and the shift of each
        element that brings it closest to the table (open track). With kind `residual` only. `layer_area`: learn an energy of
        layers' faces per area, see src/features/layers.py. With transform `log` and without kind `residual` only.
    transform: `log` or `log1p`, log(1 + target): what `kind` then applies to; predictions are transformed back. Not with
        the base `7net-l3i5`.
    pure_elements: `median`: crystals of one element are learned like compounds, but all get the median of the training
        crystals of one element, whatever the learner predicts; if there are none, they are predicted like compounds.
    reference: `elements_and_u`: vanadium, chromium, manganese, iron, cobalt, nickel, molybdenum and tungsten have a second shift
        where oxygen or fluorine is present: there the energies of the Materials Project, and so SevenNet's, contain a Hubbard U.
        Requires the base `7net-l3i5`.
    unseen_elements: shift of an element that no training crystal has: `mean`, of all others; `predicted`, from those near it in
        the periodic table, see src/data/target.py. The latter with kind `residual` and reference `elements` only.
    """

    kind: Literal["residual", "standardise", "raw", "classes"] = "residual"
    base: Literal["none", "7net-l3i5", "layer_area"] = "none"
    transform: Literal["none", "log", "log1p"] = "none"
    pure_elements: Literal["as_compounds", "median"] = "as_compounds"
    reference: Literal["elements", "elements_and_u"] = "elements"
    unseen_elements: Literal["mean", "predicted"] = "mean"

    def __post_init__(self) -> None:
        if self.unseen_elements == "predicted" and (self.kind, self.reference) != ("residual", "elements"):
            raise ValueError("unseen_elements='predicted': requires kind='residual' and reference='elements'")
        if self.base == "layer_area" and (self.kind == "residual" or self.transform != "log"):
            raise ValueError("base='layer_area': requires transform='log' and another kind than 'residual'")
        if self.reference != "elements" and self.base != "7net-l3i5":
            raise ValueError(f"reference={self.reference!r}: requires a base; without one there is no Hubbard U to refer to")
        if self.base == "7net-l3i5" and (self.kind, self.transform) != ("residual", "none"):
            raise ValueError(f"base={self.base!r}: requires kind='residual' and transform='none'")
        if self.kind == "classes" and (self.transform, self.pure_elements) != ("none", "as_compounds"):
            raise ValueError("kind='classes': requires transform='none' and pure_elements='as_compounds'")


@config_class
class ElementConfig:
    """Element vectors. tables: names known to src/features/elements.py, `one_hot` among them; they are concatenated."""

    tables: Annotated[tuple[str, ...], Field(min_length=1)] = ("mat2vec",)


@config_class
class GraphConfig:
    """Construction of a graph from a crystal.

    r_max: Angstrom, cutoff radius.
    l_max: highest degree of spherical harmonics and of features.
    r_angle: Angstrom, up to r_max; longest bond in the pairs whose angles the graph holds, for networks that use angles;
        0: no angles.
    radius_exponent: 0: lengths are as they are; up to 1: they are divided by this power of the mean of the covalent radii of both
        ends over 1.4 Angstrom, see `relative_to_radii`. All other lengths, such as r_max, then refer to the quotient.
    """

    r_max: Annotated[float, Field(ge=0.5, le=20)] = 5.0
    l_max: Annotated[int, Field(ge=0, le=3)] = 1
    r_angle: Annotated[float, Field(ge=0)] = 0.0
    radius_exponent: Annotated[float, Field(ge=0, le=1)] = 0.0

    def __post_init__(self) -> None:
        if self.r_angle > self.r_max:
            raise ValueError(f"r_angle={self.r_angle}: must be at most r_max={self.r_max} Angstrom")


class NetworkTraits:
    """Properties of a network, for code that prepares its inputs or trains it.

    reads_formula: it needs no structure. has_forces: its energy has forces that can be trained on. takes_features: features of
    crystals can enter its head. trains_members: several of it can be trained in one pass.
    """

    reads_formula: ClassVar[bool] = False
    has_forces: ClassVar[bool] = False
    takes_features: ClassVar[bool] = False
    trains_members: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """Name of the network, for messages and tables."""
        return type(self).__name__.removesuffix("Config")


@config_class
class NequipConfig(NetworkTraits):
    """NequIP; names as in the nequip package if it has them.

    n_channels: features of each irrep.
    n_layers: interaction layers.
    n_bessel: radial basis functions.
    radial_hidden: widths of the radial network's hidden layers.
    radial_knots: number of distances, evenly spaced from 0 to r_max, at which the radial network is evaluated, to be
        interpolated between them (256 reach single precision, see docs/speed.md); 0: it is evaluated at every distance.
    n_element_attributes: width of the learned linear map of the element vector that conditions the self-connection; 0: the
        self-connection is the same for all elements.
    head_hidden: widths of the hidden layers of the per-atom head.
    gather_layers: the head sees the scalars of the embedding and of every layer, not only of the last (2nd place).
    readout: how the outputs of the atoms are combined for the crystal, see `Readout` in src/models/blocks.py.
    """

    has_forces: ClassVar[bool] = True
    takes_features: ClassVar[bool] = True

    n_channels: Count = 32
    n_layers: Count = 3
    n_bessel: Count = 8
    radial_hidden: tuple[Count, ...] = (64, 64)
    radial_knots: Annotated[int, Field(ge=0, le=MAX_COUNT)] = 0
    n_element_attributes: Annotated[int, Field(ge=0, le=MAX_COUNT)] = 0
    head_hidden: tuple[Count, ...] = (32,)
    gather_layers: bool = False
    readout: ReadoutName = "mean"


@config_class
class EgnnConfig(NetworkTraits):
    """EGNN. n_channels: features of an atom. n_layers: message-passing layers."""

    has_forces: ClassVar[bool] = True

    n_channels: Count = 64
    n_layers: Count = 4


@config_class
class CgcnnConfig(NetworkTraits):
    """CGCNN (Xie, Grossman 2018), sized as the authors'. n_channels: features of an atom. n_layers: convolutions."""

    n_channels: Count = 64
    n_layers: Count = 3


@config_class
class SchnetConfig(NetworkTraits):
    """SchNet (Schuett et al. 2018), sized as the authors' for the Materials Project.

    n_channels: features of an atom, and filters. n_layers: interaction blocks.
    """

    n_channels: Count = 64
    n_layers: Count = 6


@config_class
class MegnetConfig(NetworkTraits):
    """MEGNet (Chen et al. 2019), sized as the authors'. n_channels: features of an atom, of a bond and of the crystal."""

    trains_members: ClassVar[bool] = False  # torch has no LSTM of several

    n_channels: Count = 32
    n_layers: Count = 3


@config_class
class AlignnConfig(NetworkTraits):
    """ALIGNN (Choudhary, DeCost 2021), sized as in the package alignn 2026.8.11; the paper has 256 channels, 4 + 4 layers.

    n_alignn_layers: layers on bonds and angles. n_gcn_layers: later layers on bonds only.
    zero_head: the last layer begins at zero, and so does every prediction; otherwise they begin around a value that depends on
        the seed and may be far from all targets.
    """

    n_channels: Count = 64
    n_alignn_layers: Count = 2
    n_gcn_layers: Count = 2
    zero_head: bool = False


@config_class
class RoostConfig(NetworkTraits):
    """Roost (Goodall, Lee 2020), which reads formulas alone; sized as the authors'.

    n_channels: features of an element, its share in the formula among them. n_hidden: width of every hidden layer.
    """

    reads_formula: ClassVar[bool] = True

    n_channels: Annotated[int, Field(ge=2, le=MAX_COUNT)] = 64
    n_layers: Count = 3
    n_hidden: Count = 256


NetworkConfig = NequipConfig | EgnnConfig | CgcnnConfig | SchnetConfig | MegnetConfig | AlignnConfig | RoostConfig


@config_class
class TrainingConfig:
    """The training loop of networks.

    n_epochs: fixed; nothing stops a training early.
    batch_size: crystals.
    lr: peak learning rate, reached after warm-up and annealed to zero along a cosine.
    ema_decay: per step, of the averaged weights, which are the ones that predict.
    optimizer: `adamw`, or `lion` (Chen et al., arXiv:2302.06675), which needs a smaller lr and a larger weight_decay.
    loss: `l1`, or `huber` with its knee at a tenth of the target's standard deviation; of classes `bce`, binary cross-entropy.
    """

    n_epochs: Steps
    batch_size: Steps = 32
    lr: PositiveFloat = 2e-3
    weight_decay: NonNegativeFloat = 1e-2
    ema_decay: Fraction = 0.99
    loss: Literal["l1", "huber", "bce"] = "l1"
    optimizer: Literal["adamw", "lion"] = "adamw"


@config_class
class PretrainingConfig:
    """A first stage on energies and on forces, which vanish in relaxed crystals (2nd place); training starts from its weights.

    Optimiser, schedule and batches are as in TrainingConfig. The loss is the loss of the energies plus

    force_weight: times the mean over crystals of the mean over atoms of |F|^2, (target units per Angstrom)^2.
    """

    n_epochs: Steps
    force_weight: NonNegativeFloat


@config_class
class GnnConfig:
    """A graph network and its training.

    pretraining: a stage before the training; None: there is none.
    global_features: groups known to src/features/groups.py that enter NequIP's head, standardised on the training fold
        (2nd place); `columns`: the task's further columns, imputed and encoded on the training fold as well.
    members: networks that are trained in one pass on the same batches, but pre-trained one after another. Member i has the
        initial weights of seed 1000 i + the fold's. The fold's prediction is the mean over members; the standard deviation is
        kept as `spread`.
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

    @property
    def of_classes(self) -> bool:
        """True if the learner tells classes apart, False if it predicts a number."""
        return self.training.loss == "bce"

    def __post_init__(self) -> None:
        network = self.network
        if self.pretraining and not (network.has_forces and self.graph.l_max >= 1):
            raise ValueError("pretraining: requires NequIP or EGNN and graph.l_max of at least 1")
        if self.pretraining and getattr(network, "readout", "mean") != "mean":
            raise ValueError("pretraining: requires readout='mean'; forces are derivatives of energies per atom")
        if self.pretraining and self.of_classes:
            raise ValueError("pretraining: requires a loss other than 'bce'; classes have no forces")
        if self.pretraining and self.graph.radius_exponent:
            raise ValueError("pretraining: requires graph.radius_exponent=0; forces are derivatives by lengths in Angstrom")
        if network.reads_formula and self.graph != GraphConfig():
            raise ValueError(f"graph: {network.name} reads formulas, for which no setting of the graph matters; leave them out")
        if self.members > 1 and not network.trains_members:
            raise ValueError(f"members={self.members}: must be 1 for {network.name}; torch has no LSTM of several")
        if self.global_features and not network.takes_features:
            raise ValueError(f"global_features={self.global_features!r}: must be (); only NequIP takes such features")


class TableTraits:
    """What the learners of one table of features have in common."""

    graph_network: ClassVar[str | None] = None
    features: tuple[str, ...]

    @property
    def feature_groups(self) -> tuple[str, ...]:
        """Groups of features that are read."""
        return self.features

    @property
    def of_classes(self) -> bool:
        """True if the learner tells classes apart, False if it predicts a number."""
        return getattr(self, "objective", "l2") == "binary"


@config_class
class GbdtConfig(TableTraits):
    """LightGBM. features: groups known to src/features/groups.py, and `columns`, the task's further columns.

    The other names are LightGBM's; the objective of classes is `binary`.
    """

    features: tuple[str, ...] = ("fractions", "magpie", "mat2vec")
    objective: str = "l2"
    n_trees: Steps = 2000
    learning_rate: PositiveFloat = 0.03
    num_leaves: Annotated[int, Field(ge=2, le=131_072)] = 31
    min_child_samples: NonNegativeInt = 10
    colsample_bytree: Share = 0.3
    reg_lambda: NonNegativeFloat = 1.0
    max_bin: Annotated[int, Field(ge=2, le=255)] = 255


@config_class
class GbdtEnsembleConfig:
    """The mean of several LightGBMs, each with its own features, settings and seed (3rd place).

    parts: part i trains with seed 1000 i + that of the fold.
    outlier_fraction: share of the training rows that no part is fitted to: those with the largest errors in models fitted to
        other training rows. Scored rows are never used.
    """

    graph_network: ClassVar[str | None] = None

    parts: Annotated[tuple[GbdtConfig, ...], Field(min_length=1)]
    outlier_fraction: Annotated[float, Field(ge=0, lt=0.5)] = 0.0

    @property
    def feature_groups(self) -> tuple[str, ...]:
        """Groups of features that any part reads."""
        return tuple(dict.fromkeys(group for part in self.parts for group in part.features))

    @property
    def of_classes(self) -> bool:
        """True if the learner tells classes apart, False if it predicts a number."""
        return self.parts[0].of_classes

    def __post_init__(self) -> None:
        if len({part.of_classes for part in self.parts}) > 1:
            raise ValueError("parts: some have objective='binary', for classes, and some have not")
        if self.of_classes and self.outlier_fraction:
            raise ValueError(f"outlier_fraction={self.outlier_fraction}: must be 0 for classes, which have no outliers")


@config_class
class GaussianProcessConfig(TableTraits):
    """A Gaussian process with a length for each group of features.

    features: groups known to src/features/groups.py, and `columns`, the task's further columns.
    n_fit: training rows, chosen at random, to which lengths and noise are fitted; all rows determine the predictions.
    """

    features: tuple[str, ...] = ("fractions", "magpie", "mat2vec")
    n_fit: Annotated[int, Field(ge=2, le=5000)] = 800


@config_class
class ForestConfig(TableTraits):
    """Extremely randomised trees. features: groups known to src/features/groups.py, and `columns`, the task's further columns.

    objective: `l2`, the mean of all trees; `l1`, that of their middle half, for absolute errors; or `binary`, for classes.
    max_features: share of the features that each split tries.
    """

    features: tuple[str, ...] = ("fractions",)
    objective: Literal["l2", "l1", "binary"] = "l2"
    n_trees: Steps = 300
    max_features: Share = 1.0


LearnerConfig = GnnConfig | GbdtConfig | GbdtEnsembleConfig | ForestConfig | GaussianProcessConfig


@config_class
class HurdleConfig:
    """A classifier before the learner, for targets that often have the same value, like the zero band gaps of metals.

    It lowers the absolute error, not the squared one.

    trees: with objective `binary`; they predict whether a target is the most frequent one. of_all: the learner is fitted to all
    rows, not only to the others: good for forests and networks, bad for boosted trees and Gaussian processes. others: the
    learner, which ExperimentConfig.trained sets.
    """

    trees: GbdtConfig = GbdtConfig(objective="binary", n_trees=600, num_leaves=15, max_bin=63)
    of_all: bool = False
    others: LearnerConfig | None = None

    def __post_init__(self) -> None:
        if self.trees.objective != "binary":
            raise ValueError(f"trees.objective={self.trees.objective!r}: must be 'binary'")


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


BlendMethod = Literal["mean", "weights", "ridge", "hill"]  # of submit.py; the mean is not fitted


@config_class
class ExperimentConfig:
    """One experiment. seed: fold k trains with seed + k. hurdle: a classifier before the learner; None: there is none."""

    learner: LearnerConfig | BlendConfig
    folds: FoldConfig = FoldConfig()
    target: TargetConfig = TargetConfig()
    seed: Seed = 0
    hurdle: HurdleConfig | None = None

    def __post_init__(self) -> None:
        if self.hurdle and (self.target.kind not in ("standardise", "raw") or isinstance(self.learner, BlendConfig)):
            raise ValueError("hurdle: requires a learner, and kind='standardise' or 'raw'; residuals of equal targets differ")
        if not isinstance(self.learner, BlendConfig) and self.learner.of_classes != (self.target.kind == "classes"):
            own = "of classes" if self.learner.of_classes else "of a number"
            raise ValueError(
                f"target: kind={self.target.kind!r} does not fit the learner, which is {own}; for classes set "
                "target=TargetConfig('classes') and loss='bce' (networks) or objective='binary' (LightGBM), else none of them"
            )

    @property
    def parts(self) -> tuple[str, ...]:
        """Numbers of the finished experiments that it blends; none if it trains a learner."""
        return self.learner.parts if isinstance(self.learner, BlendConfig) else ()

    @property
    def feature_groups(self) -> tuple[str, ...]:
        """Groups of features that the learner or the trees before it read."""
        return (*self.learner.feature_groups, *(self.hurdle.trees.features if self.hurdle else ()))

    @property
    def trained(self) -> LearnerConfig | HurdleConfig:
        """The learner to train. Raises ValueError if the experiment is a blend of finished ones."""
        if isinstance(self.learner, BlendConfig):
            raise ValueError(f"config: a blend of {', '.join(self.learner.parts)} trains nothing")
        return replace(self.hurdle, others=self.learner) if self.hurdle else self.learner
