"""Do two trainings of CHGNet and a smooth learner leave less than one and trees? Open track.

The base is the mean of both trainings' energies; support vector regression on both trainings' crystal features learns the rest.
Parent: exp030. Changed: target.base, learner. What exp030 says of CHGNet's training data holds here too.
"""

from src.config import ExperimentConfig, FoldConfig, SvrConfig, TargetConfig

CONFIG = ExperimentConfig(
    folds=FoldConfig(scheme="stratified", n_folds=10, n_bins=6, seed=0),
    target=TargetConfig(kind="residual", base="chgnet_mean"),
    learner=SvrConfig(
        features=("chgnet", "chgnet_0.2.0"),
        gamma=2.0,
        C=3.0,
        epsilon=0.05,
        max_target=3.0,
    ),
    seed=0,
)
