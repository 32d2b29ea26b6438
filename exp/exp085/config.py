"""Which crystals without labels does a student need? Five members are its teacher, on two folds of another seed (77).

The teachers are the five members of exp084, which is to be trained first. With three copies a training has 20 epochs, so that it
takes twice as many steps as the first; exp084 has 80 epochs of it as the control.
Parent: exp084. Changed: distillation; n_epochs of the training.
"""

from dataclasses import replace

from src.config import (
    DistillationConfig,
    ElementConfig,
    ExperimentConfig,
    FoldConfig,
    GnnConfig,
    GraphConfig,
    NequipConfig,
    StudyConfig,
    TargetConfig,
    TrainingConfig,
)

ONE = GnnConfig(
    elements=ElementConfig(tables=("mat2vec", "skipatom", "magpie")),
    graph=GraphConfig(r_max=5.0, l_max=2, symmetry=True, symprec=1e-3, radius_exponent=0.5),
    network=NequipConfig(
        n_channels=64,
        n_layers=3,
        n_bessel=4,
        radial_hidden=(128, 128),
        polynomial_cutoff_p=6.0,
        radial_knots=128,
        n_element_attributes=0,
        head_hidden=(64,),
    ),
    training=TrainingConfig(
        n_epochs=40,
        batch_size=32,
        lr=4e-4,
        weight_decay=0.3,
        warmup_fraction=0.05,
        ema_decay=0.98,
        clip_norm=10.0,
        loss="huber",
        optimizer="lion",
    ),
)


def student(n_epochs: int = 40, **unlabelled: object) -> ExperimentConfig:
    return ExperimentConfig(
        folds=FoldConfig(scheme="stratified", n_folds=10, n_bins=6, seed=77),
        target=TargetConfig(kind="residual", pure_elements="median"),
        learner=replace(ONE, training=replace(ONE.training, n_epochs=n_epochs)),
        seed=0,
        distillation=DistillationConfig(teacher="084/five members", **unlabelled) if unlabelled else None,
    )


CONFIG = StudyConfig(
    variants=(
        ("labels alone", student()),
        ("test crystals", student(test_crystals=True)),
        ("a copy of each", student(n_substituted=1)),
        ("test crystals and three copies", student(test_crystals=True, n_substituted=3, n_epochs=20)),
    ),
    folds=(0, 1),
)
