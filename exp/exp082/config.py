"""What does ALIGNN bring beside NequIP, both with lengths relative to radii? Weights fitted out of fold

Parent: exp067. Changed: learner; nothing is trained.
"""

from src.config import BlendConfig, ExperimentConfig, FoldConfig

CONFIG = ExperimentConfig(
    folds=FoldConfig(scheme="stratified", n_folds=10, n_bins=6, seed=0),
    learner=BlendConfig(members=("067", "079"), method="weights", pure_elements="median"),
    seed=0,
)
