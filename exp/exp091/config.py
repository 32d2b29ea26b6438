"""What does a third network with five members bring to the blend of NequIP and ALIGNN? Weights fitted out of fold

Parent: exp082. Changed: learner.members.
"""

from src.config import BlendConfig, ExperimentConfig, FoldConfig

CONFIG = ExperimentConfig(
    folds=FoldConfig(scheme="stratified", n_folds=10, n_bins=6, seed=0),
    learner=BlendConfig(members=("067", "079", "089"), method="weights", pure_elements="median"),
    seed=0,
)
