"""The 1st place's CGCNN with eight tenths of the rows, as in its splits of 8:1:1

The tenth that is left out stays unused: weights of blends come from the other folds here.
Parent: exp013. Changed: folds.n_train.
"""

from src.config import (
    CgcnnConfig,
    ElementConfig,
    ExperimentConfig,
    FoldConfig,
    GnnConfig,
    GraphConfig,
    TargetConfig,
    TrainingConfig,
)

CONFIG = ExperimentConfig(
    folds=FoldConfig(scheme="stratified", n_folds=10, n_bins=6, seed=0, n_train=2400),
    target=TargetConfig(kind="residual"),
    learner=GnnConfig(
        elements=ElementConfig(tables=("mat2vec",)),
        graph=GraphConfig(r_max=5.0, l_max=1, symmetry=True, symprec=1e-3),
        network=CgcnnConfig(
            n_channels=64,
            n_layers=3,
            gaussian_step=0.2,
            n_hidden=128,
            polynomial_cutoff_p=6.0,
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
