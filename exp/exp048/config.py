"""Does it help that no pure element is below zero, by definition? Open track.

Only predictions are clipped; 0.0103 instead of 0.0111 on three folds of another seed.
Parent: exp047. Changed: target.pure_elements.
"""

from src.config import ExperimentConfig, FoldConfig, GbdtConfig, TargetConfig

CONFIG = ExperimentConfig(
    folds=FoldConfig(scheme="stratified", n_folds=10, n_bins=6, seed=0),
    target=TargetConfig(kind="residual", base="7net-l3i5", reference="elements_and_u", pure_elements="not_below_zero"),
    learner=GbdtConfig(
        features=("fractions", "7net-l3i5"),
        objective="l1",
        n_trees=300,
        learning_rate=0.01,
        num_leaves=7,
        min_child_samples=10,
        colsample_bytree=0.3,
        subsample=0.8,
    ),
    seed=0,
)
