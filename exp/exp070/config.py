"""What do networks in Å, SchNet and trees bring beside it? Weights fitted out of fold.

Parent: exp067. Changed: learner; nothing is trained.
"""

from src.config import BlendConfig, ExperimentConfig, FoldConfig

CONFIG = ExperimentConfig(
    folds=FoldConfig(scheme="stratified", n_folds=10, n_bins=6, seed=0),
    learner=BlendConfig(
        members=("022", "028", "037", "058", "059", "065", "066", "067", "069"), method="weights", pure_elements="median"
    ),
    seed=0,
)
