"""How far does ALIGNN come at its paper's size: 256 channels, 4 + 4 layers, 12 neighbours within 8 Å?

AdamW at 1e-3 with a weight decay of 1e-5 and batches of 64 are theirs too; they train 300 epochs on squared errors, here 40 on
absolute ones. Trained on a GPU.
Parent: exp017. Changed: graph.r_max, graph.r_angle, graph.max_neighbors, network.n_channels, network.n_alignn_layers,
network.n_gcn_layers, network.zero_head, training.batch_size, training.lr, training.weight_decay,
training.optimizer.
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
        graph=GraphConfig(r_max=8.0, l_max=1, symmetry=True, symprec=1e-3, r_angle=8.0, max_neighbors=12),
        network=AlignnConfig(
            n_channels=256,
            n_alignn_layers=4,
            n_gcn_layers=4,
            n_gaussians=80,
            n_angle_gaussians=40,
            n_embedding=64,
            polynomial_cutoff_p=6.0,
            zero_head=True,
        ),
        training=TrainingConfig(
            n_epochs=40,
            batch_size=64,
            lr=1e-3,
            weight_decay=1e-5,
            warmup_fraction=0.05,
            ema_decay=0.99,
            clip_norm=10.0,
            loss="l1",
            optimizer="adamw",
        ),
    ),
    seed=0,
)
