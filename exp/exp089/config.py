"""What do five members of the wide network bring, with the median for pure elements?

Parent: exp088. Changed: learner.members, target.pure_elements.
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
        graph=GraphConfig(r_max=5.0, l_max=1, radius_exponent=0.5),
        network=NequipConfig(
            n_channels=128,
            n_layers=4,
            n_bessel=8,
            radial_hidden=(128, 128),
            radial_knots=128,
            n_element_attributes=0,
            head_hidden=(32,),
        ),
        training=TrainingConfig(
            n_epochs=40,
            batch_size=32,
            lr=2.6e-4,
            weight_decay=0.32,
            ema_decay=0.98,
            loss="huber",
            optimizer="lion",
        ),
        members=5,
    ),
    seed=0,
)
