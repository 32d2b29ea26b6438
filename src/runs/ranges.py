"""What a search varies: the range of every knob, by the class of its config.

All networks get the same kinds of knobs. A wide search, of NequIP alone, has more of them.
"""

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
    TrainingConfig: {"optimizer": ("lion", "adamw"), "batch_size": (16, 32, 64)},
    GraphConfig: {"r_max": (4.0, 5.0, 6.0, 8.0)},
    NequipConfig: {"n_layers": (2, 3, 4), "n_channels": (32, 64, 96)},
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
# knobs of the training whose range depends on the optimiser: Lion needs a smaller lr and a larger weight decay
BY_OPTIMIZER: dict[str, dict[str, Range]] = {
    "lion": {"lr": (1e-4, 1e-3), "weight_decay": (1e-2, 1.0)},
    "adamw": {"lr": (5e-4, 5e-3), "weight_decay": (1e-4, 1e-1)},
}
R_ANGLE: Range = (3.0, 3.5, 4.0)  # of the graph of ALIGNN alone: others read no angles
# knobs of a wide search instead of those in RANGES and BY_OPTIMIZER; its optimiser is the experiment's
WIDE: dict[type, dict[str, Range]] = {
    TrainingConfig: {
        "lr": (2e-4, 1e-3),
        "weight_decay": (0.05, 3.0),
        "batch_size": (16, 32, 64),
        "ema_decay": (0.98, 0.99, 0.995, 0.998),
        "loss": ("l1", "huber"),
    },
    GraphConfig: {"r_max": (4.0, 5.0, 6.0, 7.0), "l_max": (1, 2), "radius_exponent": (0.0, 0.5, 1.0)},
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
}


def ranges(config: ExperimentConfig, wide: bool = False) -> dict[str, Range]:
    """Return the range of every knob by its path, `learner.training.lr` for instance. Raises ValueError if there are none.

    Those of lr and weight decay are of the config's optimiser. The config's own value joins choices that lack it.
    """
    if wide and not isinstance(getattr(config.learner, "network", None), NequipConfig):
        raise ValueError("tuning: a wide search is declared for NequIP alone; leave out --wide")
    if not (found := _ranges_below(config, WIDE if wide else RANGES)):
        raise ValueError(f"tuning: no ranges are declared for {type(getattr(config, 'learner', config)).__name__}")
    return found


def with_knobs(config: Any, knobs: Mapping[str, Any]) -> Any:
    """Return the config with other values. knobs: path -> value."""
    for path, value in knobs.items():
        head, _, rest = path.partition(".")
        config = replace(config, **{head: with_knobs(getattr(config, head), {rest: value}) if rest else value})
    return config


def _ranges_below(config: Any, all_declared: dict[type, dict[str, Range]], prefix: str = "") -> dict[str, Range]:
    declared = dict(all_declared.get(type(config), {}))
    if isinstance(config, TrainingConfig):
        declared = declared | BY_OPTIMIZER[config.optimizer] | declared  # those of a wide search stay
    if isinstance(config, GnnConfig) and isinstance(config.network, AlignnConfig):
        declared["graph.r_angle"] = R_ANGLE
    found = {}
    for name, limits in declared.items():
        own = attrgetter(name)(config)
        found[f"{prefix}{name}"] = limits if is_bounds(limits) or own in limits else (own, *limits)
    for field in fields(config):
        if getattr(config, "network", None) and config.network.reads_formula and field.name == "graph":
            continue  # no setting of it matters
        if is_dataclass(value := getattr(config, field.name)):
            found |= _ranges_below(value, all_declared, f"{prefix}{field.name}.")
    return found


def is_bounds(limits: Range) -> bool:
    """Return whether a range has bounds, not choices."""
    return len(limits) == 2 and isinstance(limits[0], float)


def label(value: Any) -> Any:
    """Return a value as a study stores it: a tuple as text, `mat2vec skipatom` for instance, others as they are."""
    return " ".join(map(str, value)) if isinstance(value, tuple) else value


def labelled(choices: Range, found: Any) -> Any:
    """Return the value whose label a study stores."""
    return found if is_bounds(choices) else next(choice for choice in choices if label(choice) == found)


def suggested(trial: "Trial", config: Any, wide: bool = False) -> Any:
    """Return the config with a trial's values; a range is read after the knobs before it are set, for it may depend on them."""
    found = config
    for path in ranges(config, wide):
        limits = ranges(found, wide)[path]
        if is_bounds(limits):
            value = trial.suggest_float(path, *limits, log=True)
        else:
            value = labelled(limits, trial.suggest_categorical(path, [label(choice) for choice in limits]))
        found = with_knobs(found, {path: value})
    return found
