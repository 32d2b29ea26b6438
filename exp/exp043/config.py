"""What does a blend bring for the formation energy of NOMAD 2018? The network and the trees on log(1 + target).

Parent: exp024. Changed: learner; nothing is trained.
"""

from src.config import BlendConfig, ExperimentConfig, FoldConfig

CONFIG = ExperimentConfig(
    folds=FoldConfig(scheme="stratified", n_folds=10, seed=0),
    learner=BlendConfig(parts=("024", "025")),
    seed=0,
)
