"""What does a better potential leave: SevenNet's 7net-l3i5, with a reference that knows the Hubbard U? Open track.

The base is 7net-l3i5's uncorrected energy; LightGBM learns the rest from the composition and 7net-l3i5's crystal features, with
L1 and few small trees: on three folds of another seed neither it nor exp033's support vectors found anything in what is left
(0.0111 eV/atom with and without trees; on two of them 0.0124 without and 0.0130 with support vectors).
Parent: exp033. Changed: target, learner. It was trained on MPtrj, as CHGNet was: what exp030 says of the training data holds.
"""

from src.config import ExperimentConfig, FoldConfig, GbdtConfig, TargetConfig

CONFIG = ExperimentConfig(
    folds=FoldConfig(scheme="stratified", n_folds=10, seed=0),
    target=TargetConfig(kind="residual", base="7net-l3i5", reference="elements_and_u"),
    learner=GbdtConfig(
        features=("fractions", "7net-l3i5"),
        objective="l1",
        n_trees=300,
        learning_rate=0.01,
        num_leaves=7,
        min_child_samples=10,
        colsample_bytree=0.3,
    ),
    seed=0,
)
