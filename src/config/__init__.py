"""Every knob of an experiment, with its unit and range.

A default means "as before": it never changes once an experiment relies on it.
"""

from src.config.checks import check_kinds
from src.config.data import ElementConfig, FoldConfig, GraphConfig, TargetConfig
from src.config.experiment import ExperimentConfig, StudyConfig
from src.config.learners import (
    BlendConfig,
    BlendMethod,
    GbdtConfig,
    GbdtEnsembleConfig,
    GnnConfig,
    LearnerConfig,
    Precision,
    PretrainingConfig,
    SvrConfig,
    TrainingConfig,
)
from src.config.networks import AlignnConfig, CgcnnConfig, EgnnConfig, MegnetConfig, NequipConfig, NetworkConfig, SchnetConfig
from src.config.stored import LEARNED_ON_ENERGIES, from_dict, to_dict, track

__all__ = [
    "LEARNED_ON_ENERGIES",
    "AlignnConfig",
    "BlendConfig",
    "BlendMethod",
    "CgcnnConfig",
    "EgnnConfig",
    "ElementConfig",
    "ExperimentConfig",
    "FoldConfig",
    "GbdtConfig",
    "GbdtEnsembleConfig",
    "GnnConfig",
    "GraphConfig",
    "LearnerConfig",
    "MegnetConfig",
    "NequipConfig",
    "NetworkConfig",
    "Precision",
    "PretrainingConfig",
    "SchnetConfig",
    "StudyConfig",
    "SvrConfig",
    "TargetConfig",
    "TrainingConfig",
    "check_kinds",
    "from_dict",
    "to_dict",
    "track",
]
