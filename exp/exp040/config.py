"""What does a blend of the published closed-track experiments bring? Members and method have the best nested OOF MAE.

Parent: exp010. Changed: learner; nothing is trained.
"""

from src.config import BlendConfig, ExperimentConfig, FoldConfig

CONFIG = ExperimentConfig(
    folds=FoldConfig(scheme="stratified", n_folds=10, n_bins=6, seed=0),
    learner=BlendConfig(members=("003", "010", "012"), method="weights"),
    seed=0,
)
