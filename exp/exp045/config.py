"""The 3rd place's blend: MEGNet, ALIGNN and five LightGBMs.

Parent: exp017. Changed: learner. They trained MEGNet and ALIGNN under three conditions each, here one.
"""

from src.config import BlendConfig, ExperimentConfig, FoldConfig

CONFIG = ExperimentConfig(
    folds=FoldConfig(scheme="stratified", n_folds=10, seed=0),
    learner=BlendConfig(parts=("015", "017", "018")),
    seed=0,
)
