"""What does a blend of the open track's experiments bring? Open track.

Parent: exp033. Changed: learner; nothing is trained.
"""

from src.config import BlendConfig, ExperimentConfig, FoldConfig

CONFIG = ExperimentConfig(
    folds=FoldConfig(scheme="stratified", n_folds=10, n_bins=6, seed=0),
    learner=BlendConfig(members=("030", "031", "033"), method="weights"),
    seed=0,
)
