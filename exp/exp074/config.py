"""The 1st place's blend with splits of 8:1:1: its three networks on eight tenths of the rows

Their weights came from the tenth that is left out; here they come from the other folds, as in every blend of this repository.
Parent: exp044. Changed: learner.members.
"""

from src.config import BlendConfig, ExperimentConfig, FoldConfig

CONFIG = ExperimentConfig(
    folds=FoldConfig(scheme="stratified", n_folds=10, n_bins=6, seed=0),
    learner=BlendConfig(members=("071", "072", "073"), method="weights"),
    seed=0,
)
