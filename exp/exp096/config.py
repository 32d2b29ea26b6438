"""What does a fourth network bring to the blend, five members of the small one? Weights fitted out of fold

Parent: exp091. Changed: learner.members.
"""

from src.config import BlendConfig, ExperimentConfig, FoldConfig

CONFIG = ExperimentConfig(
    folds=FoldConfig(scheme="stratified", n_folds=10, n_bins=6, seed=0),
    learner=BlendConfig(members=("067", "079", "089", "095"), method="weights", pure_elements="median"),
    seed=0,
)
