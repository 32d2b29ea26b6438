"""Does it help to give the network lengths relative to the covalent radii of both atoms?

Two folds of seed 77, one training each: 0.0755 with an exponent of 0.5, 0.0829 without.
Parent: exp027. Changed: graph.radius_exponent.
"""

from src.config import (
    ElementConfig,
    ExperimentConfig,
    FoldConfig,
    GnnConfig,
    GraphConfig,
    NequipConfig,
    TargetConfig,
    TrainingConfig,
)

CONFIG = ExperimentConfig(
    folds=FoldConfig(scheme="stratified", n_folds=10, n_bins=6, seed=0),
    target=TargetConfig(kind="residual"),
    learner=GnnConfig(
        elements=ElementConfig(tables=("mat2vec",)),
        graph=GraphConfig(r_max=5.0, l_max=1, symmetry=True, symprec=1e-3, radius_exponent=0.5),
        network=NequipConfig(
            n_channels=64,
            n_layers=3,
            n_bessel=8,
            radial_hidden=(64, 64),
            polynomial_cutoff_p=6.0,
            radial_knots=128,
            n_element_attributes=0,
            head_hidden=(64,),
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
