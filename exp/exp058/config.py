"""What does a search bring ALIGNN? One of six with the same budget, 900 CPU s each

5 trials of 15 epochs, as for exp052: 0.0953 eV/atom on a split inside the training rows of fold 0, and 0.1002 with the settings
of exp017.
Parent: exp017. Changed: graph.r_angle, training.optimizer, training.lr, training.weight_decay, graph.r_max,
network.n_alignn_layers, network.n_channels, network.zero_head.
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
    folds=FoldConfig(scheme="stratified", n_folds=10, n_bins=6, seed=0),
    target=TargetConfig(kind="residual"),
    learner=GnnConfig(
        elements=ElementConfig(tables=("mat2vec",)),
        graph=GraphConfig(r_max=6.0, l_max=1, symmetry=True, symprec=1e-3, r_angle=4.0),
        network=AlignnConfig(
            n_channels=96,
            n_alignn_layers=3,
            n_gcn_layers=2,
            n_gaussians=80,
            n_angle_gaussians=40,
            n_embedding=64,
            polynomial_cutoff_p=6.0,
            zero_head=True,
        ),
        training=TrainingConfig(
            n_epochs=40,
            batch_size=32,
            lr=1.5e-3,
            weight_decay=5.4e-4,
            warmup_fraction=0.05,
            ema_decay=0.99,
            clip_norm=10.0,
            loss="l1",
            optimizer="adamw",
        ),
    ),
    seed=0,
)
