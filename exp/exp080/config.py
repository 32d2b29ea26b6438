"""The 3rd place's blend with three conditions of each network, none of which are relative lengths

Theirs were epochs, folds, outliers and the cutoff radius; here MEGNet has nine tenths of the rows, eight, or searched settings,
ALIGNN 5 Å, 6 Å with searched settings, or the size and the twelve neighbours of its paper.
Parent: exp068. Changed: learner.members.
"""

from src.config import BlendConfig, ExperimentConfig, FoldConfig

CONFIG = ExperimentConfig(
    folds=FoldConfig(scheme="stratified", n_folds=10, n_bins=6, seed=0),
    learner=BlendConfig(members=("015", "017", "018", "055", "058", "073", "077"), method="weights"),
    seed=0,
)
