"""The 1st place's SchNet with eight tenths of the rows, as in its splits of 8:1:1

The tenth that is left out stays unused: weights of blends come from the other folds here.
Parent: exp014. Changed: folds.n_train.
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
    folds=FoldConfig(scheme="stratified", n_folds=10, n_bins=6, seed=0, n_train=2400),
    target=TargetConfig(kind="residual"),
    learner=GnnConfig(
        elements=ElementConfig(tables=("mat2vec",)),
        graph=GraphConfig(r_max=5.0, l_max=1, symmetry=True, symprec=1e-3),
        network=SchnetConfig(
            n_channels=64,
            n_layers=6,
            n_gaussians=50,
        ),
        training=TrainingConfig(
            n_epochs=40,
            batch_size=32,
            lr=5e-4,
            weight_decay=0.1,
            warmup_fraction=0.05,
            ema_decay=0.99,
            clip_norm=10.0,
            loss="l1",
            optimizer="lion",
        ),
    ),
    seed=0,
)
