"""What do five members bring, and the median for pure elements?

Pure elements, 2% of the crystals, get the median energy of those in the training folds, as in exp053.
Parent: exp066. Changed: learner.members, target.pure_elements.
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
            n_channels=64,
            n_layers=3,
            n_bessel=4,
            radial_hidden=(128, 128),
            radial_knots=128,
            n_element_attributes=0,
            head_hidden=(64,),
        ),
        training=TrainingConfig(
            n_epochs=40,
            batch_size=32,
            lr=4e-4,
            weight_decay=0.3,
            ema_decay=0.98,
            loss="huber",
            optimizer="lion",
        ),
        members=5,
    ),
    seed=0,
)
