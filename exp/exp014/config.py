"""How far does SchNet come (Schuett et al. 2018)?

Parent: exp010. Changed: network.
"""

from src.config import (
    ElementConfig,
    ExperimentConfig,
    FoldConfig,
    GnnConfig,
    GraphConfig,
    SchnetConfig,
    TargetConfig,
    TrainingConfig,
)

CONFIG = ExperimentConfig(
    folds=FoldConfig(scheme="stratified", n_folds=10, seed=0),
    target=TargetConfig(kind="residual"),
    learner=GnnConfig(
        elements=ElementConfig(tables=("mat2vec",)),
        graph=GraphConfig(r_max=5.0, l_max=1),
        network=SchnetConfig(
            n_channels=64,
            n_layers=6,
        ),
        training=TrainingConfig(
            n_epochs=40,
            batch_size=32,
            lr=5e-4,
            weight_decay=0.1,
            ema_decay=0.99,
            loss="l1",
            optimizer="lion",
        ),
    ),
    seed=0,
)
