"""How good is a small network: two layers of 96 channels, with the median for pure elements? The control of exp093

Its settings are the best of `python exp/tune.py 066 --wide --splits 2 --epochs 20`, 60 trials, see exp087.
Parent: exp066. Changed: network.n_layers, n_channels and n_bessel; lr and weight_decay of the training; target.pure_elements.
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
    folds=FoldConfig(scheme="stratified", n_folds=10, seed=0),
    target=TargetConfig(kind="residual", pure_elements="median"),
    learner=GnnConfig(
        elements=ElementConfig(tables=("mat2vec", "skipatom", "magpie")),
        graph=GraphConfig(r_max=5.0, l_max=2, radius_exponent=0.5),
        network=NequipConfig(
            n_channels=96,
            n_layers=2,
            n_bessel=8,
            radial_hidden=(128, 128),
            radial_knots=128,
            n_element_attributes=0,
            head_hidden=(64,),
        ),
        training=TrainingConfig(
            n_epochs=40,
            batch_size=32,
            lr=3.4e-4,
            weight_decay=1.1,
            ema_decay=0.98,
            loss="huber",
            optimizer="lion",
        ),
    ),
    seed=0,
)
