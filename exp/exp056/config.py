"""What does a search bring EGNN? One of six with the same budget, 900 CPU s each

17 trials of 15 epochs, as for exp052: 0.0947 eV/atom on a split inside the training rows of fold 0, and 0.0993 with the settings
of exp016.
Parent: exp016. Changed: training.lr, training.weight_decay, network.n_layers, network.n_channels.
"""

from src.config import (
    EgnnConfig,
    ElementConfig,
    ExperimentConfig,
    FoldConfig,
    GnnConfig,
    GraphConfig,
    TargetConfig,
    TrainingConfig,
)

CONFIG = ExperimentConfig(
    folds=FoldConfig(scheme="stratified", n_folds=10, n_bins=6, seed=0),
    target=TargetConfig(kind="residual"),
    learner=GnnConfig(
        elements=ElementConfig(tables=("mat2vec",)),
        graph=GraphConfig(r_max=5.0, l_max=1, symmetry=True, symprec=1e-3),
        network=EgnnConfig(
            n_channels=128,
            n_layers=3,
            n_bessel=8,
            polynomial_cutoff_p=6.0,
        ),
        training=TrainingConfig(
            n_epochs=40,
            batch_size=32,
            lr=5.1e-4,
            weight_decay=0.065,
            warmup_fraction=0.05,
            ema_decay=0.99,
            clip_norm=10.0,
            loss="l1",
            optimizer="lion",
        ),
    ),
    seed=0,
)
