"""What do all three places bring together: the 2nd place's NequIP, the 1st's networks and the 3rd's?

Parent: exp012. Changed: learner.
"""

from src.config import BlendConfig, ExperimentConfig, FoldConfig

CONFIG = ExperimentConfig(
    folds=FoldConfig(scheme="stratified", n_folds=10, seed=0),
    learner=BlendConfig(parts=("012", "013", "014", "015", "017", "018")),
    seed=0,
)
