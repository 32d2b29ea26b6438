"""What do lengths relative to covalent radii bring ALIGNN, and a head that begins at zero?

Parent: exp017. Changed: graph.radius_exponent, network.zero_head.
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
        graph=GraphConfig(r_max=5.0, l_max=1, symmetry=True, symprec=1e-3, r_angle=3.5, radius_exponent=0.5),
        network=AlignnConfig(
            n_channels=64,
            n_alignn_layers=2,
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
