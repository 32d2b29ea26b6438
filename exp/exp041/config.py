"""What do the rival networks and more trees add to the blend of exp040?

Parent: exp040. Changed: learner.members.
"""

from src.config import BlendConfig, ExperimentConfig, FoldConfig

CONFIG = ExperimentConfig(
    folds=FoldConfig(scheme="stratified", n_folds=10, n_bins=6, seed=0),
    learner=BlendConfig(
        members=(
            "006", "007", "008", "009", "010", "011", "012", "013", "014", "015", "016", "017", "018", "020", "021", "022",
        ),
        method="weights",
    ),
    seed=0,
)  # fmt: skip
