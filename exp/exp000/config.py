"""A quick NequIP with mat2vec: what `make run` trains in a few minutes.

Parent: none; a smaller, shorter exp005.
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
    target=TargetConfig(kind="residual"),
    learner=GnnConfig(
        elements=ElementConfig(tables=("mat2vec",)),
        graph=GraphConfig(r_max=4.0, l_max=1),
        network=NequipConfig(
            n_channels=32,
            n_layers=3,
            n_bessel=8,
            radial_hidden=(64, 64),
            n_element_attributes=0,
            head_hidden=(32,),
        ),
        training=TrainingConfig(
            n_epochs=30,
            batch_size=32,
            lr=2e-3,
            weight_decay=1e-2,
            ema_decay=0.99,
            loss="l1",
        ),
    ),
    seed=0,
)
