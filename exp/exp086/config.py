"""Does it help to denoise perturbed positions and cells first? Two folds of another seed (77), each stage with its control.

Displacements of 0.05 Angstrom and strains of 0.02 in all directions that the symmetry allows, ten epochs of pre-training.
Parent: exp027. Changed: learner.pretraining.
"""

from dataclasses import replace

from src.config import (
    ElementConfig,
    ExperimentConfig,
    FoldConfig,
    GnnConfig,
    GraphConfig,
    NequipConfig,
    PretrainingConfig,
    StudyConfig,
    TargetConfig,
    TrainingConfig,
)

ONE = GnnConfig(
    elements=ElementConfig(tables=("mat2vec",)),
    graph=GraphConfig(r_max=5.0, l_max=1, symmetry=True, symprec=1e-3),
    network=NequipConfig(
        n_channels=64,
        n_layers=3,
        n_bessel=8,
        radial_hidden=(64, 64),
        polynomial_cutoff_p=6.0,
        radial_knots=128,
        n_element_attributes=0,
        head_hidden=(64,),
    ),
    training=TrainingConfig(
        n_epochs=40,
        batch_size=32,
        lr=5e-4,
        weight_decay=0.1,
        warmup_fraction=0.05,
        ema_decay=0.99,
        clip_norm=10.0,
        loss="l1",
        optimizer="lion",
    ),
)


def nequip(pretraining: PretrainingConfig | None = None) -> ExperimentConfig:
    return ExperimentConfig(
        folds=FoldConfig(scheme="stratified", n_folds=10, n_bins=6, seed=77),
        target=TargetConfig(kind="residual"),
        learner=replace(ONE, pretraining=pretraining),
        seed=0,
    )


CONFIG = StudyConfig(
    variants=(
        ("no pre-training", nequip()),
        ("energies alone", nequip(PretrainingConfig(n_epochs=10, force_weight=0.0))),
        ("zero forces and virials", nequip(PretrainingConfig(n_epochs=10, force_weight=0.1, virial_weight=0.02))),
        ("denoising", nequip(PretrainingConfig(10, force_weight=0.1, virial_weight=0.02, displacement=0.05, strain=0.02))),
    ),
    folds=(0, 1),
)
