"""What does a search with radii bring: four layers of 128 channels at l_max 1?

`python exp/tune.py 066 --wide --splits 2 --epochs 20`, 60 trials: the second best, and the best of the three on two folds of
another seed, see exp087. lr and weight decay are rounded.
Parent: exp066. Changed: graph.l_max, network.n_layers, n_channels, n_bessel and head_hidden; lr and weight_decay of the training.
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
        elements=ElementConfig(tables=("mat2vec", "skipatom", "magpie")),
        graph=GraphConfig(r_max=5.0, l_max=1, symmetry=True, symprec=1e-3, radius_exponent=0.5),
        network=NequipConfig(
            n_channels=128,
            n_layers=4,
            n_bessel=8,
            radial_hidden=(128, 128),
            polynomial_cutoff_p=6.0,
            radial_knots=128,
            n_element_attributes=0,
            head_hidden=(32,),
        ),
        training=TrainingConfig(
            n_epochs=40,
            batch_size=32,
            lr=2.6e-4,
            weight_decay=0.32,
            warmup_fraction=0.05,
            ema_decay=0.98,
            clip_norm=10.0,
            loss="huber",
            optimizer="lion",
        ),
    ),
    seed=0,
)
