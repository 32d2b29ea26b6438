"""What does SchNet with searched settings add to the blend of exp053?

Parent: exp053. Changed: learner.members; nothing is trained.
"""

from src.config import BlendConfig, ExperimentConfig, FoldConfig

CONFIG = ExperimentConfig(
    folds=FoldConfig(scheme="stratified", n_folds=10, n_bins=6, seed=0),
    learner=BlendConfig(
        members=("006", "007", "008", "009", "010", "011", "012", "016", "020", "022", "028", "037", "059"),
        method="weights",
        pure_elements="median",
    ),
    seed=0,
)
