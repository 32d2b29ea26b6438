"""Does pre-training with forces of zero help (2nd place)? All structures are relaxed.

Parent: exp010. Changed: pretraining (five epochs ahead of the forty).
"""

from src.config import (
    ElementConfig,
    ExperimentConfig,
    FoldConfig,
    GnnConfig,
    GraphConfig,
    NequipConfig,
    PretrainingConfig,
    TargetConfig,
    TrainingConfig,
)

CONFIG = ExperimentConfig(
    folds=FoldConfig(scheme="stratified", n_folds=10, seed=0),
    target=TargetConfig(kind="residual"),
    learner=GnnConfig(
        elements=ElementConfig(tables=("mat2vec",)),
        graph=GraphConfig(r_max=5.0, l_max=1),
        network=NequipConfig(
            n_channels=64,
            n_layers=3,
            n_bessel=8,
            radial_hidden=(64, 64),
            n_element_attributes=0,
            head_hidden=(64,),
        ),
        training=TrainingConfig(
            n_epochs=40,
            batch_size=32,
            lr=5e-4,
            weight_decay=0.1,
            ema_decay=0.99,
            loss="l1",
            optimizer="lion",
        ),
        pretraining=PretrainingConfig(
            n_epochs=5,
            force_weight=0.1,
        ),
    ),
    seed=0,
)
