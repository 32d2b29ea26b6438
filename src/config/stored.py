"""Configs as JSON holds them, and the track that they belong to."""

from dataclasses import fields
from typing import Any, Literal

from src.config.checks import check_kinds
from src.config.data import ElementConfig, FoldConfig, GraphConfig, TargetConfig
from src.config.experiment import ExperimentConfig, StudyConfig
from src.config.learners import (
    BlendConfig,
    GbdtConfig,
    GbdtEnsembleConfig,
    GnnConfig,
    PretrainingConfig,
    SvrConfig,
    TrainingConfig,
)
from src.config.networks import AlignnConfig, CgcnnConfig, EgnnConfig, MegnetConfig, NequipConfig, SchnetConfig

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
