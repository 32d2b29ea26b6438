"""LightGBM on composition alone: how far do chemical formulas go?

Parent: none. The baseline to blend in.
"""

from src.config import ExperimentConfig, FoldConfig, GbdtConfig, TargetConfig

CONFIG = ExperimentConfig(
    folds=FoldConfig(scheme="stratified", n_folds=10, seed=0),
    target=TargetConfig(kind="raw"),
    learner=GbdtConfig(
        features=("fractions", "magpie", "mat2vec"),
        objective="l2",
        n_trees=2000,
        learning_rate=0.03,
        num_leaves=31,
        min_child_samples=10,
        colsample_bytree=0.3,
        reg_lambda=1.0,
    ),
    seed=0,
)
