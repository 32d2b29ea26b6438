"""Is the median of the other folds' pure elements a better guess for one than what the blend says?

Crystals of one element are 2% of the table and have 7% of the error of exp050.
Parent: exp050. Changed: learner.pure_elements; nothing is trained.
"""

from src.config import BlendConfig, ExperimentConfig, FoldConfig

CONFIG = ExperimentConfig(
    folds=FoldConfig(scheme="stratified", n_folds=10, n_bins=6, seed=0),
    learner=BlendConfig(
        members=("006", "007", "008", "009", "010", "011", "012", "016", "020", "022", "028", "037"),
        method="weights",
        pure_elements="median",
    ),
    seed=0,
)
