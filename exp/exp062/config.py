"""The 1st place's blend with settings that searches found for its three networks, SchNet with half the learning rate

Parent: exp044. Changed: learner.members; nothing is trained.
"""

from src.config import BlendConfig, ExperimentConfig, FoldConfig

CONFIG = ExperimentConfig(
    folds=FoldConfig(scheme="stratified", n_folds=10, n_bins=6, seed=0),
    learner=BlendConfig(members=("055", "057", "059"), method="weights"),
    seed=0,
)
