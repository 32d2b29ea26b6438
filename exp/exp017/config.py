"""How far does ALIGNN come, message passing on bond angles (Choudhary, DeCost 2021)?

Narrower and shallower than the paper's (256 channels, 4 + 4 layers), to train in minutes on one core.

Parent: exp010. Changed: network, graph.r_angle.
"""

from src.config import (
    AlignnConfig,
    ElementConfig,
    ExperimentConfig,
    FoldConfig,
    GnnConfig,
    GraphConfig,
    TargetConfig,
    TrainingConfig,
)

CONFIG = ExperimentConfig(
    folds=FoldConfig(scheme="stratified", n_folds=10, seed=0),
    target=TargetConfig(kind="residual"),
    learner=GnnConfig(
        elements=ElementConfig(tables=("mat2vec",)),
        graph=GraphConfig(r_max=5.0, l_max=1, r_angle=3.5),
        network=AlignnConfig(
            n_channels=64,
            n_alignn_layers=2,
            n_gcn_layers=2,
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
