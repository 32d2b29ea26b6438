"""The knobs that a search varies, and their ranges, by the class of the config."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from src.config import (
    AlignnConfig,
    CgcnnConfig,
    EgnnConfig,
    ElementConfig,
    ExperimentConfig,
    GbdtConfig,
    GnnConfig,
    GraphConfig,
    MegnetConfig,
    NequipConfig,
    RoostConfig,
    SchnetConfig,
    TrainingConfig,
)

if TYPE_CHECKING:
    from optuna import Trial

Choice = int | float | str | tuple[int | str, ...] | None
Range = tuple[float, float] | tuple[Choice, ...]  # bounds on a logarithmic scale, or choices
RANGES: dict[type, dict[str, Range]] = {
    TrainingConfig: {"batch_size": (16, 32, 64), "ema_decay": (0.98, 0.99, 0.995, 0.998), "loss": ("l1", "huber")},
    GraphConfig: {"r_max": (4.0, 5.0, 6.0, 8.0)},
    ElementConfig: {
        "tables": (
            ("mat2vec",),
            ("skipatom",),
            ("matscholar",),
            ("mat2vec", "skipatom"),
            ("mat2vec", "skipatom", "matscholar"),
            ("mat2vec", "skipatom", "magpie"),
        )
    },
    NequipConfig: {
        "n_layers": (2, 3, 4, 5),
        "n_channels": (32, 64, 96, 128),
        "n_bessel": (4, 8, 16),
        "radial_hidden": ((32, 32), (64, 64), (128, 128)),
        "head_hidden": ((32,), (64,), (128,), (64, 64)),
        "gather_layers": (False, True),
        "readout": ("mean", "attention"),
    },
    EgnnConfig: {"n_layers": (3, 4, 5), "n_channels": (32, 64, 128)},
    CgcnnConfig: {"n_layers": (2, 3, 4), "n_channels": (32, 64, 128)},
    SchnetConfig: {"n_layers": (3, 4, 6), "n_channels": (32, 64, 128)},
    MegnetConfig: {"n_layers": (2, 3, 4), "n_channels": (16, 32, 64)},
    AlignnConfig: {
        "n_alignn_layers": (1, 2, 3),
        "n_gcn_layers": (1, 2, 3),
        "n_channels": (32, 64, 96),
        "zero_head": (False, True),
    },
    RoostConfig: {"n_layers": (2, 3, 4), "n_channels": (32, 64, 128), "n_hidden": (64, 128, 256)},
    GbdtConfig: {
        "learning_rate": (0.01, 0.1),
        "n_trees": (1000, 2000, 3000, 4000),
        "num_leaves": (7, 15, 31, 63),
        "min_child_samples": (5, 10, 20),
        "colsample_bytree": (0.1, 0.6),
        "reg_lambda": (0.1, 10.0),
    },
}
# of the training, by its optimiser: Lion needs a smaller lr and a larger weight decay
BY_OPTIMIZER: dict[str, dict[str, Range]] = {
    "lion": {"lr": (1e-4, 1e-3), "weight_decay": (1e-2, 3.0)},
    "adamw": {"lr": (5e-4, 5e-3), "weight_decay": (1e-4, 1e-1)},
}
# of the graph, by the network that reads them
BY_NETWORK: dict[type, dict[str, Range]] = {
    NequipConfig: {"graph.l_max": (1, 2), "graph.radius_exponent": (0.0, 0.5, 1.0)},
    AlignnConfig: {"graph.r_angle": (3.0, 3.5, 4.0)},
}


def ranges(config: ExperimentConfig) -> dict[str, Range]:
    """Return the range of every knob by its path, for example `learner.training.lr`. Raises ValueError if there are none.

    The config's own value joins choices that lack it.
    """
    if not (found := _ranges_below(config)):
        raise ValueError(f"tuning: no ranges are declared for {type(getattr(config, 'learner', config)).__name__}")
    return found


def with_knobs(config: Any, knobs: Mapping[str, Any]) -> Any:
    """Return the config with other values. knobs: path -> value."""
    for path, value in knobs.items():
        head, _, rest = path.partition(".")
        config = replace(config, **{head: with_knobs(getattr(config, head), {rest: value}) if rest else value})
    return config


def _ranges_below(config: Any, prefix: str = "") -> dict[str, Range]:
    declared, found = dict(RANGES.get(type(config), {})), {}
    if isinstance(config, TrainingConfig):
        declared |= BY_OPTIMIZER[config.optimizer]
        if config.loss == "bce":  # classes know no other
            del declared["loss"]
    if isinstance(config, GnnConfig):
        declared |= BY_NETWORK.get(type(config.network), {})
    for name, limits in declared.items():
        own = attrgetter(name)(config)
        found[f"{prefix}{name}"] = limits if is_bounds(limits) or own in limits else (own, *limits)
    for field in fields(config):
        if getattr(config, "network", None) and config.network.reads_formula and field.name == "graph":
            continue  # no setting of it matters
        if is_dataclass(value := getattr(config, field.name)):
            found |= _ranges_below(value, f"{prefix}{field.name}.")
    return found


def is_bounds(limits: Range) -> bool:
    """Return whether a range has bounds, not choices."""
    return len(limits) == 2 and isinstance(limits[0], float)


def label(value: Any) -> Any:
    """Return a value as a study stores it: a tuple as text such as `mat2vec skipatom`, others unchanged."""
    return " ".join(map(str, value)) if isinstance(value, tuple) else value


def labelled(choices: Range, found: Any) -> Any:
    """Return the value whose label a study stores."""
    return found if is_bounds(choices) else next(choice for choice in choices if label(choice) == found)


def suggested(trial: "Trial", config: ExperimentConfig) -> ExperimentConfig:
    """Return the config with a trial's values."""
    values: dict[str, Any] = {}
    for path, limits in ranges(config).items():
        if is_bounds(limits):
            values[path] = trial.suggest_float(path, *limits, log=True)
        else:
            values[path] = labelled(limits, trial.suggest_categorical(path, [label(choice) for choice in limits]))
    return with_knobs(config, values)
