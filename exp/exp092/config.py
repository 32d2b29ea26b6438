"""Does it help to correct peroxides and superoxides as the Materials Project does? Open track

What exp048 leaves of them out of fold is the difference of the published corrections to some 5 meV/atom, so nothing is fitted.
Those with hydrogen are right as they are, and left so: a rule that was seen in these rows.
Parent: exp048. Changed: target.reference.
"""

from src.config import ExperimentConfig, FoldConfig, GbdtConfig, TargetConfig

CONFIG = ExperimentConfig(
    folds=FoldConfig(scheme="stratified", n_folds=10, n_bins=6, seed=0),
    target=TargetConfig(kind="residual", base="7net-l3i5", reference="elements_u_and_oxides", pure_elements="not_below_zero"),
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
