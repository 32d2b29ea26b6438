"""Is the mean of five LightGBMs with different features, settings and seeds better than one (3rd place)?

Parent: exp002. Changed: learner, an ensemble whose first member is exp002's.
"""

from src.config import ExperimentConfig, FoldConfig, GbdtConfig, GbdtEnsembleConfig, TargetConfig

CONFIG = ExperimentConfig(
    folds=FoldConfig(scheme="stratified", n_folds=10, seed=0),
    target=TargetConfig(kind="raw"),
    learner=GbdtEnsembleConfig(
        parts=(
            GbdtConfig(
                features=("magpie", "geometry", "symmetry", "charges", "voronoi"),
                objective="l2",
                n_trees=2000,
                learning_rate=0.03,
                num_leaves=31,
                min_child_samples=10,
                colsample_bytree=0.3,
                reg_lambda=1.0,
            ),
            GbdtConfig(
                features=("fractions", "magpie", "geometry", "symmetry", "charges", "voronoi"),
                objective="l2",
                n_trees=3000,
                learning_rate=0.03,
                num_leaves=15,
                min_child_samples=10,
                colsample_bytree=0.3,
                reg_lambda=1.0,
            ),
            GbdtConfig(
                features=("mat2vec", "geometry", "symmetry", "charges", "voronoi"),
                objective="l2",
                n_trees=2000,
                learning_rate=0.03,
                num_leaves=31,
                min_child_samples=10,
                colsample_bytree=0.3,
                reg_lambda=1.0,
            ),
            GbdtConfig(
                features=("fractions", "magpie", "mat2vec", "geometry", "symmetry", "charges", "voronoi"),
                objective="l2",
                n_trees=2000,
                learning_rate=0.03,
                num_leaves=31,
                min_child_samples=10,
                colsample_bytree=0.2,
                reg_lambda=1.0,
            ),
            GbdtConfig(
                features=("fractions", "magpie", "symmetry", "charges", "voronoi"),
                objective="l2",
                n_trees=1000,
                learning_rate=0.03,
                num_leaves=63,
                min_child_samples=5,
                colsample_bytree=0.3,
                reg_lambda=1.0,
            ),
        ),
        outlier_fraction=0.0,
    ),
    seed=0,
)
