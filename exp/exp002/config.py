"""How much do structure features add to LightGBM?

Parent: exp001. Changed: learner.features: geometry, symmetry, charges and Voronoi cells beside Magpie; without fractions and
mat2vec, which on folds of another seed cost accuracy and time there.
"""

from src.config import ExperimentConfig, FoldConfig, GbdtConfig, TargetConfig

CONFIG = ExperimentConfig(
    folds=FoldConfig(scheme="stratified", n_folds=10, seed=0),
    target=TargetConfig(kind="raw"),
    learner=GbdtConfig(
        features=("magpie", "geometry", "symmetry", "charges", "voronoi"),
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
