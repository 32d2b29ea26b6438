"""The 2nd place's final recipe: mat2vec, target normalisation, Lion, cosine annealing, 90 epochs, ten folds, plain average.

Parent: exp010. Changed: training.n_epochs.
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
            n_epochs=90,
            batch_size=32,
            lr=5e-4,
            weight_decay=0.1,
            ema_decay=0.99,
            loss="l1",
            optimizer="lion",
        ),
    ),
    seed=0,
)
