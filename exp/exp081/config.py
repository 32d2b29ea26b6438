"""How far does a network come on formulas alone (Roost, Goodall, Lee 2020)? LightGBM on them is exp001

Four settings were tried on a fold of another seed, see the end of the ledger.
Parent: exp001. Changed: learner, target.kind.
"""

from src.config import (
    ElementConfig,
    ExperimentConfig,
    FoldConfig,
    GnnConfig,
    RoostConfig,
    TargetConfig,
    TrainingConfig,
)

CONFIG = ExperimentConfig(
    folds=FoldConfig(scheme="stratified", n_folds=10, seed=0),
    target=TargetConfig(kind="residual"),
    learner=GnnConfig(
        elements=ElementConfig(tables=("mat2vec", "skipatom", "magpie")),
        network=RoostConfig(n_channels=64, n_layers=3, n_hidden=128),
        training=TrainingConfig(
            n_epochs=30,
            batch_size=32,
            lr=3e-4,
            weight_decay=1.0,
            ema_decay=0.98,
            loss="huber",
            optimizer="lion",
        ),
    ),
    seed=0,
)
