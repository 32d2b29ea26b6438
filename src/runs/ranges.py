"""What a search varies: the range of every knob, by the class of its config. All networks get the same kinds of knobs."""

from dataclasses import fields, is_dataclass
from operator import attrgetter
from typing import Any

from src.config import (
    AlignnConfig,
    CgcnnConfig,
    EgnnConfig,
    ExperimentConfig,
    GbdtConfig,
    GnnConfig,
    GraphConfig,
    MegnetConfig,
    NequipConfig,
    SchnetConfig,
    TrainingConfig,
)

Range = tuple[float, float] | tuple[int | float | str | None, ...]  # bounds on a logarithmic scale, or choices
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
# knobs of the graph that one network alone has, since others do not read angles, or were published with a radius
GRAPH_OF: dict[type, dict[str, Range]] = {
    CgcnnConfig: {"max_neighbors": (None, 12)},
    AlignnConfig: {"r_angle": (3.0, 3.5, 4.0)},
}


def ranges(config: ExperimentConfig) -> dict[str, Range]:
    """Return the range of every knob by its path, `learner.training.lr` for instance. Raises ValueError if there are none.

    Those of lr and weight decay are of the config's optimiser. The config's own value joins choices that lack it.
    """
    if not (found := _ranges_below(config)):
        raise ValueError(f"tuning: no ranges are declared for {type(getattr(config, 'learner', config)).__name__}")
    return found


def _ranges_below(config: Any, prefix: str = "") -> dict[str, Range]:
    declared = dict(RANGES.get(type(config), {}))
    if isinstance(config, TrainingConfig):
        declared |= BY_OPTIMIZER[config.optimizer]
    if isinstance(config, GnnConfig):
        declared |= {f"graph.{name}": limits for name, limits in GRAPH_OF.get(type(config.network), {}).items()}
    found = {f"{prefix}{name}": _with_own(limits, attrgetter(name)(config)) for name, limits in declared.items()}
    for field in fields(config):
        if is_dataclass(value := getattr(config, field.name)):
            found |= _ranges_below(value, f"{prefix}{field.name}.")
    return found


def is_bounds(limits: Range) -> bool:
    """Return whether a range is one of bounds, not of choices."""
    return len(limits) == 2 and isinstance(limits[0], float)


def _with_own(limits: Range, own: Any) -> Range:
    return limits if is_bounds(limits) or own in limits else (own, *limits)
