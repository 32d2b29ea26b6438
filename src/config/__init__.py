"""Every knob of an experiment, with its unit and range.

A default means "as before": it never changes once a living experiment relies on it.
"""

from src.config.data import ElementConfig, FoldConfig, GraphConfig, TargetConfig
from src.config.learners import (
    BlendConfig,
    ExperimentConfig,
    GbdtConfig,
    GbdtEnsembleConfig,
    GnnConfig,
    LearnerConfig,
    PretrainingConfig,
    TrainingConfig,
)
from src.config.load import LEARNED_ON_ENERGIES, track
from src.config.networks import (
    AlignnConfig,
    CgcnnConfig,
    EgnnConfig,
    MegnetConfig,
    NequipConfig,
    NetworkConfig,
    RoostConfig,
    SchnetConfig,
)
from src.config.schema import from_dict, to_dict
