"""What does a better potential leave: SevenNet's 7net-l3i5, with a reference that knows the Hubbard U? Open track.

The base is 7net-l3i5's uncorrected energy; support vector regression on its crystal features learns the rest.
Parent: exp033. Changed: target, features. It was trained on MPtrj, as CHGNet was: what exp030 says of the training data holds.
"""

from src.config import ExperimentConfig, FoldConfig, SvrConfig, TargetConfig

CONFIG = ExperimentConfig(
    folds=FoldConfig(scheme="stratified", n_folds=10, n_bins=6, seed=0),
    target=TargetConfig(kind="residual", base="7net-l3i5", reference="elements_and_u"),
    learner=SvrConfig(
        features=("7net-l3i5",),
        gamma=2.0,
        C=3.0,
        epsilon=0.05,
        max_target=3.0,
    ),
    seed=0,
)
