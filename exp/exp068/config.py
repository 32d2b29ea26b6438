"""The 3rd place's blend with two conditions of each network: MEGNet and ALIGNN before and after a search.

They had three conditions of each (epochs, folds, outliers, cutoff radius); the searches changed optimiser, radius and sizes.
Parent: exp045. Changed: learner.members.
"""

from src.config import BlendConfig, ExperimentConfig, FoldConfig

CONFIG = ExperimentConfig(
    folds=FoldConfig(scheme="stratified", n_folds=10, n_bins=6, seed=0),
    learner=BlendConfig(members=("015", "017", "018", "055", "058"), method="weights"),
    seed=0,
)
