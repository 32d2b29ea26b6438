"""Does LightGBM learn log(1 + target) better than the target? For tasks scored by RMSLE, such as NOMAD 2018.

Parent: exp022. Changed: target.transform.
"""

from src.config import ExperimentConfig, FoldConfig, GbdtConfig, TargetConfig

CONFIG = ExperimentConfig(
    folds=FoldConfig(scheme="stratified", n_folds=10, seed=0),
    target=TargetConfig(kind="raw", transform="log1p"),
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
