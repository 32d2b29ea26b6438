"""What does a blend of all experiments of the open track bring, with SevenNet's? Open track.

Parent: exp048. Changed: learner; nothing is trained.
"""

from src.config import BlendConfig, ExperimentConfig, FoldConfig

CONFIG = ExperimentConfig(
    folds=FoldConfig(scheme="stratified", n_folds=10, n_bins=6, seed=0),
    learner=BlendConfig(members=("030", "031", "033", "048"), method="weights"),
    seed=0,
)
