"""What do two networks with five members each bring to the blend of exp040? Weights fitted out of fold.

Parent: exp040. Changed: learner.members; nothing is trained.
"""

from src.config import BlendConfig, ExperimentConfig, FoldConfig

CONFIG = ExperimentConfig(
    folds=FoldConfig(scheme="stratified", n_folds=10, n_bins=6, seed=0),
    learner=BlendConfig(
        members=("006", "007", "008", "009", "010", "011", "012", "016", "020", "022", "028", "037"), method="weights"
    ),
    seed=0,
)
