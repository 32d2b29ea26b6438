"""How much of what five members know does one small network learn, from copies of crystals with a replaced element?

The five members of exp089 are the teacher and are to be trained first. Which crystals: see exp085, on two folds of another seed.
Parent: exp094. Changed: distillation.
"""

from src.config import (
    DistillationConfig,
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
    target=TargetConfig(kind="residual", pure_elements="median"),
    learner=GnnConfig(
        elements=ElementConfig(tables=("mat2vec", "skipatom", "magpie")),
        graph=GraphConfig(r_max=5.0, l_max=2, symmetry=True, symprec=1e-3, radius_exponent=0.5),
        network=NequipConfig(
            n_channels=96,
            n_layers=2,
            n_bessel=8,
            radial_hidden=(128, 128),
            polynomial_cutoff_p=6.0,
            radial_knots=128,
            n_element_attributes=0,
            head_hidden=(64,),
        ),
        training=TrainingConfig(
            n_epochs=40,
            batch_size=32,
            lr=3.4e-4,
            weight_decay=1.1,
            warmup_fraction=0.05,
            ema_decay=0.98,
            clip_norm=10.0,
            loss="huber",
            optimizer="lion",
        ),
    ),
    seed=0,
    distillation=DistillationConfig(teacher="089", n_substituted=1),
)
