"""The 1st place's blend: CGCNN, MEGNet and SchNet on folds stratified by six bins of the target.

Parent: exp014. Changed: learner. Their weights came from the validation tenth of 8:1:1 splits; here
each network learns from nine tenths, and the weights come from the other folds.
"""

from src.config import BlendConfig, ExperimentConfig, FoldConfig

CONFIG = ExperimentConfig(
    folds=FoldConfig(scheme="stratified", n_folds=10, seed=0),
    learner=BlendConfig(parts=("013", "014", "015")),
    seed=0,
)
