"""What can one training average? Snapshots of several cosines, SWA and members, on two folds of another seed (77).

Parent: exp066. Changed: target.pure_elements; n_epochs, n_snapshots and swa_fraction of the training; learner.members.
"""

from dataclasses import replace

from src.config import (
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


def nequip(learner: GnnConfig) -> ExperimentConfig:
    return ExperimentConfig(
        folds=FoldConfig(scheme="stratified", n_folds=10, n_bins=6, seed=77),
        target=TargetConfig(kind="residual", pure_elements="median"),
        learner=learner,
        seed=0,
    )


def trained(**changes: object) -> ExperimentConfig:
    return nequip(replace(ONE, training=replace(ONE.training, **changes)))


CONFIG = StudyConfig(
    variants=(
        ("one cosine", nequip(ONE)),
        ("five members", nequip(replace(ONE, members=5))),
        ("2 snapshots", trained(n_snapshots=2)),
        ("4 snapshots", trained(n_snapshots=4)),
        ("SWA of the last quarter", trained(swa_fraction=0.25)),
        ("80 epochs", trained(n_epochs=80)),
        ("80 epochs, 4 snapshots", trained(n_epochs=80, n_snapshots=4)),
    ),
    folds=(0, 1),
)
