"""What does CHGNet, a pretrained potential, leave for LightGBM to learn? Open track.

CHGNet was trained on Materials Project relaxations that include FLLA's own crystals: the figures are what a contestant could
have submitted, and no measure of generalisation. Needs requirements-open.txt.
Parent: exp001. Changed: target, features, objective.
"""

from src.config import ExperimentConfig, FoldConfig, GbdtConfig, TargetConfig

CONFIG = ExperimentConfig(
    folds=FoldConfig(scheme="stratified", n_folds=10, n_bins=6, seed=0),
    target=TargetConfig(kind="residual", base="chgnet"),
    learner=GbdtConfig(
        features=("fractions", "magpie", "mat2vec", "chgnet"),
        objective="huber",
        n_trees=2000,
        learning_rate=0.03,
        num_leaves=31,
        min_child_samples=10,
        colsample_bytree=0.3,
        subsample=0.8,
        reg_lambda=1.0,
    ),
    seed=0,
)
