"""Does SchNet train to the end with half the learning rate that a search of short trials found?

With exp054's, six of ten folds diverge after epoch 19, which trials of 15 epochs did not see.
Parent: exp014. Changed: training.batch_size, training.lr, training.weight_decay, graph.r_max, network.n_layers,
network.n_channels.
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
    folds=FoldConfig(scheme="stratified", n_folds=10, n_bins=6, seed=0),
    target=TargetConfig(kind="residual"),
    learner=GnnConfig(
        elements=ElementConfig(tables=("mat2vec",)),
        graph=GraphConfig(r_max=6.0, l_max=1, symmetry=True, symprec=1e-3),
        network=SchnetConfig(
            n_channels=128,
            n_layers=4,
            n_gaussians=50,
        ),
        training=TrainingConfig(
            n_epochs=40,
            batch_size=16,
            lr=3.4e-4,
            weight_decay=0.054,
            warmup_fraction=0.05,
            ema_decay=0.99,
            clip_norm=10.0,
            loss="l1",
            optimizer="lion",
        ),
    ),
    seed=0,
)
