"""What do all others bring beside the two: networks in Å, SchNet and MEGNet with radii, Roost, trees?

Parent: exp082. Changed: learner.members.
"""

from src.config import BlendConfig, ExperimentConfig, FoldConfig

CONFIG = ExperimentConfig(
    folds=FoldConfig(scheme="stratified", n_folds=10, n_bins=6, seed=0),
    learner=BlendConfig(
        members=("022", "028", "037", "059", "066", "067", "069", "075", "076", "079", "081"),
        method="weights",
        pure_elements="median",
    ),
    seed=0,
)
