"""Do more and smaller trees serve LightGBM better? Chosen on two folds of another seed (0.118 against 0.125 eV/atom).

Parent: exp002. Changed: learner.n_trees, num_leaves, features (fractions beside Magpie).
"""

from src.config import ExperimentConfig, FoldConfig, GbdtConfig, TargetConfig

CONFIG = ExperimentConfig(
    folds=FoldConfig(scheme="stratified", n_folds=10, seed=0),
    target=TargetConfig(kind="raw"),
    learner=GbdtConfig(
        features=("fractions", "magpie", "geometry", "symmetry", "charges", "voronoi"),
        objective="l2",
        n_trees=3000,
        learning_rate=0.03,
        num_leaves=15,
        min_child_samples=10,
        colsample_bytree=0.3,
        reg_lambda=1.0,
    ),
    seed=0,
)
