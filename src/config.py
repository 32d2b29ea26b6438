"""Every knob of an experiment, with its unit and range.

A default means "as before": it never changes once an experiment relies on it.
"""

import math
import types
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

MAX_COUNT = 4096  # channels, layers, basis functions: beyond it a typing error is likelier than a network
MAX_STEPS = 1_000_000  # epochs, trees, crystals of a batch
MAX_SEED = 2**31 - 1 - 1_000_000  # folds and members add to it


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(f"config: {message}")


def _require_counts(network: Any, *names: str) -> None:
    for name in names:
        _require(1 <= getattr(network, name) <= MAX_COUNT, f"network.{name}={getattr(network, name)}, 1 to {MAX_COUNT}")


def _require_widths(network: Any, *names: str) -> None:
    for name in names:
        widths = getattr(network, name)
        _require(all(1 <= width <= MAX_COUNT for width in widths), f"network.{name}={widths}, each 1 to {MAX_COUNT}")


@dataclass(frozen=True)
class FoldConfig:
    """How crystals are assigned to folds.

    scheme: `stratified` on bins of the target (the 1st place's folds), `shuffled`, or `grouped` by reduced formula.
    n_bins: quantile bins of the target, for `stratified`.
    """

    scheme: Literal["stratified", "shuffled", "grouped"] = "stratified"
    n_folds: int = 10
    n_bins: int = 6
    seed: int = 0

    def __post_init__(self) -> None:
        _require(self.scheme in ("stratified", "shuffled", "grouped"), f"unknown folds.scheme={self.scheme!r}")
        _require(self.n_folds >= 2, f"folds.n_folds={self.n_folds}, at least 2")
        _require(self.n_bins >= 1, f"folds.n_bins={self.n_bins}, at least 1")
        _require(0 <= self.seed <= MAX_SEED, f"folds.seed={self.seed}, 0 to {MAX_SEED}")


@dataclass(frozen=True)
class TargetConfig:
    """What the learner is asked for; always fitted on the training fold.

    kind: `residual` of a linear regression of the structure's energy on its atom counts (2nd place), over its standard deviation;
        `standardise`: minus mean, over standard deviation; `raw`: as in the table.
    base: `chgnet`: the energy that this pretrained potential gives, and the shift of each element that brings it closest to the
        table, are taken off first (open track); `chgnet_mean`: the mean of its two trainings; with kind `residual` only.
    """

    kind: Literal["residual", "standardise", "raw"] = "residual"
    base: Literal["none", "chgnet", "chgnet_mean"] = "none"

    def __post_init__(self) -> None:
        _require(self.kind in ("residual", "standardise", "raw"), f"unknown target.kind={self.kind!r}")
        _require(self.base in ("none", "chgnet", "chgnet_mean"), f"unknown target.base={self.base!r}")
        _require(
            self.base == "none" or self.kind == "residual", f"target.base={self.base!r} goes with target.kind='residual' only"
        )


@dataclass(frozen=True)
class ElementConfig:
    """Element vectors. tables: names known to src/features/elements.py, concatenated; `one_hot` among them."""

    tables: tuple[str, ...] = ("mat2vec",)

    def __post_init__(self) -> None:
        _require(len(self.tables) > 0, "elements.tables is empty")


@dataclass(frozen=True)
class GraphConfig:
    """From a crystal to a graph.

    r_max: Angstrom, cutoff radius.
    l_max: highest degree of spherical harmonics and of features, 0 to 3.
    symmetry: reduce the graph by its space group (exact, see src/graphs/graph.py).
    symprec: Angstrom, tolerance of the symmetry search.
    r_angle: Angstrom, longest bond of a pair whose angle the graph holds, for networks that see angles; 0: no angles.
    """

    r_max: float = 5.0
    l_max: int = 1
    symmetry: bool = True
    symprec: float = 1e-3
    r_angle: float = 0.0

    def __post_init__(self) -> None:
        _require(0.5 <= self.r_max <= 20, f"graph.r_max={self.r_max}, 0.5 to 20 Angstrom")
        _require(0 <= self.r_angle <= self.r_max, f"graph.r_angle={self.r_angle}, 0 to r_max={self.r_max} Angstrom")
        _require(0 <= self.l_max <= 3, f"graph.l_max={self.l_max}, 0 to 3")
        _require(0 < self.symprec <= 0.1, f"graph.symprec={self.symprec}, up to 0.1 Angstrom")


@dataclass(frozen=True)
class NequipConfig:
    """The network; names as in the nequip package where it has them.

    n_channels: features of each irrep.
    n_layers: interaction layers.
    n_bessel: radial basis functions.
    radial_hidden: widths of the radial network's hidden layers.
    polynomial_cutoff_p: exponent of the cutoff's polynomial.
    n_element_attributes: width of the learned linear map of the element vector that conditions the self-connection; 0: a
        self-connection that is the same for all elements.
    head_hidden: widths of the hidden layers of the per-atom head.
    gather_layers: the head sees the scalars of the embedding and of every layer, not of the last alone (2nd place).
    """

    n_channels: int = 32
    n_layers: int = 3
    n_bessel: int = 8
    radial_hidden: tuple[int, ...] = (64, 64)
    polynomial_cutoff_p: float = 6.0
    n_element_attributes: int = 0
    head_hidden: tuple[int, ...] = (32,)
    gather_layers: bool = False

    def __post_init__(self) -> None:
        _require_counts(self, "n_channels", "n_layers", "n_bessel")
        _require_widths(self, "radial_hidden", "head_hidden")
        _require(
            0 <= self.n_element_attributes <= MAX_COUNT,
            f"network.n_element_attributes={self.n_element_attributes}, 0 to {MAX_COUNT}",
        )
        _require(self.polynomial_cutoff_p >= 2, f"network.polynomial_cutoff_p={self.polynomial_cutoff_p}, at least 2")


@dataclass(frozen=True)
class EgnnConfig:
    """EGNN; knobs as those of NequipConfig of the same name."""

    n_channels: int = 64
    n_layers: int = 4
    n_bessel: int = 8
    polynomial_cutoff_p: float = 6.0

    def __post_init__(self) -> None:
        _require_counts(self, "n_channels", "n_layers", "n_bessel")


@dataclass(frozen=True)
class CgcnnConfig:
    """CGCNN (Xie, Grossman 2018); defaults are the authors'.

    gaussian_step: Angstrom, between the centres of the Gaussians that bond lengths are expanded in.
    n_hidden: width of the hidden layer behind the mean over atoms.
    polynomial_cutoff_p: as in NequipConfig.
    """

    n_channels: int = 64
    n_layers: int = 3
    gaussian_step: float = 0.2
    n_hidden: int = 128
    polynomial_cutoff_p: float = 6.0

    def __post_init__(self) -> None:
        _require_counts(self, "n_channels", "n_layers", "n_hidden")
        _require(self.gaussian_step > 0, f"network.gaussian_step={self.gaussian_step}, above 0 Angstrom")


@dataclass(frozen=True)
class SchnetConfig:
    """SchNet (Schuett et al. 2018); defaults are the authors' for the Materials Project.

    n_channels: features of an atom, and filters. n_gaussians: of the expansion of bond lengths from 0 to r_max.
    """

    n_channels: int = 64
    n_layers: int = 6
    n_gaussians: int = 50

    def __post_init__(self) -> None:
        _require_counts(self, "n_channels", "n_layers")
        _require(2 <= self.n_gaussians <= MAX_COUNT, f"network.n_gaussians={self.n_gaussians}, 2 to {MAX_COUNT}")


@dataclass(frozen=True)
class MegnetConfig:
    """MEGNet (Chen et al. 2019); defaults are the authors'.

    n_channels: features of an atom, of a bond and of the crystal. n_hidden: width inside a block.
    n_gaussians, gaussian_width: of the expansion of bond lengths from 0 to r_max + 1 Angstrom; the width in Angstrom.
    n_set2set: steps of the readout. polynomial_cutoff_p: as in NequipConfig.
    """

    n_channels: int = 32
    n_hidden: int = 64
    n_layers: int = 3
    n_gaussians: int = 100
    gaussian_width: float = 0.5
    n_set2set: int = 3
    polynomial_cutoff_p: float = 6.0

    def __post_init__(self) -> None:
        _require_counts(self, "n_channels", "n_hidden", "n_layers", "n_set2set")
        _require(2 <= self.n_gaussians <= MAX_COUNT, f"network.n_gaussians={self.n_gaussians}, 2 to {MAX_COUNT}")
        _require(self.gaussian_width > 0, f"network.gaussian_width={self.gaussian_width}, above 0 Angstrom")


@dataclass(frozen=True)
class AlignnConfig:
    """ALIGNN (Choudhary, DeCost 2021), sized as in the package alignn 2026.8.11; the paper has 256 channels, 4 + 4 layers.

    n_alignn_layers: layers on bonds and angles. n_gcn_layers: layers on bonds alone, behind them.
    n_gaussians: of the expansion of bond lengths from 0 to r_max. n_angle_gaussians: of cosines.
    n_embedding: hidden width of the embeddings of bonds and angles. polynomial_cutoff_p: as in NequipConfig.
    """

    n_channels: int = 64
    n_alignn_layers: int = 2
    n_gcn_layers: int = 2
    n_gaussians: int = 80
    n_angle_gaussians: int = 40
    n_embedding: int = 64
    polynomial_cutoff_p: float = 6.0

    def __post_init__(self) -> None:
        _require_counts(self, "n_channels", "n_alignn_layers", "n_gcn_layers", "n_embedding")
        for name in ("n_gaussians", "n_angle_gaussians"):
            _require(2 <= getattr(self, name) <= MAX_COUNT, f"network.{name}={getattr(self, name)}, 2 to {MAX_COUNT}")


NetworkConfig = NequipConfig | EgnnConfig | CgcnnConfig | SchnetConfig | MegnetConfig | AlignnConfig


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
            _require(1 <= getattr(self, name) <= MAX_STEPS, f"training.{name}={getattr(self, name)}, 1 to {MAX_STEPS}")
        _require(self.weight_decay >= 0, f"training.weight_decay={self.weight_decay}, at least 0")
        _require(self.lr > 0, f"training.lr={self.lr}, above 0")
        _require(0 <= self.warmup_fraction < 1, f"training.warmup_fraction={self.warmup_fraction}, 0 to below 1")
        _require(0 <= self.ema_decay < 1, f"training.ema_decay={self.ema_decay}, 0 to below 1")
        _require(self.clip_norm > 0, f"training.clip_norm={self.clip_norm}, above 0")
        _require(self.loss in ("l1", "huber"), f"unknown training.loss={self.loss!r}")
        _require(self.optimizer in ("adamw", "lion"), f"unknown training.optimizer={self.optimizer!r}")
        _require(self.precision in get_args(Precision), f"unknown training.precision={self.precision!r}")


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
        _require(1 <= self.n_epochs <= MAX_STEPS, f"pretraining.n_epochs={self.n_epochs}, 1 to {MAX_STEPS}")
        for name in ("force_weight", "virial_weight"):
            _require(getattr(self, name) >= 0, f"pretraining.{name}={getattr(self, name)}, at least 0")


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
        _require(equivariant or not self.pretraining, "learner.pretraining needs NequIP or EGNN and graph.l_max of at least 1")
        _require(not (self.training.compile and self.pretraining), "training.compile has no second derivatives: no pretraining")
        nequip = isinstance(self.network, NequipConfig)
        beside = bool(self.global_features) or self.atom_features != "none"
        _require(nequip or not beside, "learner.global_features and atom_features go into NequIP; this network takes none")
        _require(self.atom_features in ("none", "chgnet"), f"unknown learner.atom_features={self.atom_features!r}")


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
        _require(1 <= self.n_trees <= MAX_STEPS, f"learner.n_trees={self.n_trees}, 1 to {MAX_STEPS}")
        _require(self.learning_rate > 0, f"learner.learning_rate={self.learning_rate}, above 0")
        _require(2 <= self.num_leaves <= 131_072, f"learner.num_leaves={self.num_leaves}, 2 to 131072")
        for name in ("min_child_samples", "reg_lambda"):
            _require(getattr(self, name) >= 0, f"learner.{name}={getattr(self, name)}, at least 0")
        for name in ("colsample_bytree", "subsample"):
            _require(0 < getattr(self, name) <= 1, f"learner.{name}={getattr(self, name)}, above 0, up to 1")


BlendMethod = Literal["mean", "weights", "ridge", "hill"]


@dataclass(frozen=True)
class BlendConfig:
    """An ensemble of finished experiments: nothing is trained, weights are fitted on their out-of-fold predictions.

    members: numbers of experiments on the same folds.
    method: see src/runs/weights.py.
    """

    members: tuple[str, ...]
    method: BlendMethod = "weights"

    def __post_init__(self) -> None:
        _require(len(self.members) >= 2, f"learner.members={self.members}, at least two")
        _require(len(set(self.members)) == len(self.members), f"learner.members={self.members} names one twice")
        _require(self.method in get_args(BlendMethod), f"unknown learner.method={self.method!r}")


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
        _require(len(self.members) >= 1, "learner.members is empty")
        _require(0 <= self.outlier_fraction < 0.5, f"learner.outlier_fraction={self.outlier_fraction}, 0 to below 0.5")
        _require(self.n_inner_folds >= 2, f"learner.n_inner_folds={self.n_inner_folds}, at least 2")


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
            _require(getattr(self, name) > 0, f"learner.{name}={getattr(self, name)}, above 0")
        _require(self.epsilon >= 0, f"learner.epsilon={self.epsilon}, at least 0")


LearnerConfig = GnnConfig | GbdtConfig | GbdtEnsembleConfig | SvrConfig


@dataclass(frozen=True)
class ExperimentConfig:
    """One experiment. seed: fold k trains with seed + k."""

    learner: LearnerConfig | BlendConfig
    folds: FoldConfig = FoldConfig()
    target: TargetConfig = TargetConfig()
    seed: int = 0

    def __post_init__(self) -> None:
        _require(0 <= self.seed <= MAX_SEED, f"seed={self.seed}, 0 to {MAX_SEED}")

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
        _require(len(names) > 1 and len(set(names)) == len(names), f"study.variants: {names}, at least two different names")
        _require(len({experiment.folds for _, experiment in self.variants}) == 1, "study.variants: their folds differ")
        _require(len(self.folds) > 0, "study.folds is empty")


_TYPES: dict[str, Any] = {
    config.__name__: config
    for config in (
        FoldConfig,
        TargetConfig,
        ElementConfig,
        GraphConfig,
        NequipConfig,
        EgnnConfig,
        CgcnnConfig,
        SchnetConfig,
        MegnetConfig,
        AlignnConfig,
        TrainingConfig,
        PretrainingConfig,
        GnnConfig,
        GbdtConfig,
        GbdtEnsembleConfig,
        SvrConfig,
        BlendConfig,
        ExperimentConfig,
        StudyConfig,
    )
}


# names of bases, groups of features and element tables
LEARNED_ON_ENERGIES = ("chgnet", "chgnet_0.2.0", "chgnet_mean", "megnet16")


def track(config: ExperimentConfig) -> Literal["closed", "open"]:
    """`open` where any setting names something that was learned on energies of the Materials Project, else `closed`.

    The closed track is the task's data and published tables that hold no energy of a crystal. What the open track adds was
    trained on the underlying data set of FLLA, its test crystals included.
    """
    return "open" if any(name in LEARNED_ON_ENERGIES for name in _texts(to_dict(config))) else "closed"


def _texts(data: Any) -> list[str]:
    """Every text in what `to_dict` gives."""
    if isinstance(data, dict | list):
        return [text for value in (data.values() if isinstance(data, dict) else data) for text in _texts(value)]
    return [data] if isinstance(data, str) else []


def to_dict(config: Any) -> Any:
    """The config as JSON holds it: dataclasses as objects with the name of their class, tuples as lists."""
    if hasattr(config, "__dataclass_fields__"):
        return {"type": type(config).__name__, **{f.name: to_dict(getattr(config, f.name)) for f in fields(config)}}
    return [to_dict(value) for value in config] if isinstance(config, tuple) else config


def from_dict(data: Any) -> Any:
    """The inverse of `to_dict`."""
    if isinstance(data, dict):
        if not isinstance(data.get("type"), str) or data["type"] not in _TYPES:
            raise ValueError(f"config: unknown type {data.get('type')!r}")
        try:
            config = _TYPES[data["type"]](**{name: from_dict(value) for name, value in data.items() if name != "type"})
        except TypeError as error:
            raise ValueError(
                f"config: a stored {data['type']} has a knob, or a kind of value, that this version lacks ({error})"
            ) from error
        check_kinds(config)
        return config
    return tuple(from_dict(value) for value in data) if isinstance(data, list) else data


def check_kinds(config: Any) -> None:
    """ValueError where a knob, of the config or of one inside it, is of another kind than its annotation; numbers are finite."""
    hints = get_type_hints(type(config))
    for field in fields(config):
        value = getattr(config, field.name)
        kind = str(field.type).replace("typing.", "") if not isinstance(field.type, type) else field.type.__name__
        _require(_fits(value, hints[field.name]), f"{type(config).__name__}.{field.name}={value!r}, expected {kind}")


def _fits(value: Any, hint: Any) -> bool:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, argument) for argument in arguments)
    if origin is Literal:
        return any(value == argument and type(value) is type(argument) for argument in arguments)
    if origin is tuple:
        of_one_kind = len(arguments) == 2 and arguments[1] is Ellipsis
        kinds = (arguments[0],) * len(value) if of_one_kind and isinstance(value, tuple) else arguments
        return isinstance(value, tuple) and len(value) == len(kinds) and all(map(_fits, value, kinds))
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        return False
    if is_dataclass(value):
        check_kinds(value)
    return True
