"""What does a fourth network bring to the blend, five members of the small one? Weights fitted out of fold

Parent: exp091. Changed: learner.members.
"""

from src.config import BlendConfig, ExperimentConfig, FoldConfig

CONFIG = ExperimentConfig(
    folds=FoldConfig(scheme="stratified", n_folds=10, seed=0),
    learner=BlendConfig(parts=("067", "079", "089", "095")),
    seed=0,
)
