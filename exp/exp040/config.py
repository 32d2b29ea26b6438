"""What does a blend of the closed track bring? All networks with Lion and the best LightGBM, weights fitted out of fold.

Parent: exp020. Changed: learner; nothing is trained.
"""

from src.config import BlendConfig, ExperimentConfig, FoldConfig

CONFIG = ExperimentConfig(
    folds=FoldConfig(scheme="stratified", n_folds=10, n_bins=6, seed=0),
    learner=BlendConfig(members=("006", "007", "008", "009", "010", "011", "012", "016", "020", "022"), method="weights"),
    seed=0,
)
