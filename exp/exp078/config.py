"""Which settings suit ALIGNN with lengths relative to covalent radii?

A study on two folds of another seed than that of the experiments, inside the training rows.
Parent: exp076. Changed: "as exp066" is Magpie and skipatom beside mat2vec, the Huber loss, an average over fewer steps and a
larger weight decay.
"""

from dataclasses import replace

from src.config import (
    AlignnConfig,
    ElementConfig,
    ExperimentConfig,
    FoldConfig,
    GnnConfig,
    GraphConfig,
    StudyConfig,
    TargetConfig,
    TrainingConfig,
)

FOLDS = FoldConfig(scheme="stratified", n_folds=10, n_bins=6, seed=77)
ALIGNN = GnnConfig(
    elements=ElementConfig(tables=("mat2vec",)),
    graph=GraphConfig(r_max=5.0, l_max=1, symmetry=True, symprec=1e-3, r_angle=3.5, radius_exponent=0.5),
    network=AlignnConfig(
        n_channels=64,
        n_alignn_layers=2,
        n_gcn_layers=2,
        n_gaussians=80,
        n_angle_gaussians=40,
        n_embedding=64,
        polynomial_cutoff_p=6.0,
        zero_head=True,
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
AS_066 = replace(
    ALIGNN,
    elements=ElementConfig(tables=("mat2vec", "skipatom", "magpie")),
    training=replace(ALIGNN.training, lr=4e-4, weight_decay=0.3, ema_decay=0.98, loss="huber"),
)
LEARNERS = {"as exp076": ALIGNN, "as exp066": AS_066}


def alignn(learner: GnnConfig) -> ExperimentConfig:
    return ExperimentConfig(folds=FOLDS, target=TargetConfig(kind="residual"), learner=learner, seed=0)


CONFIG = StudyConfig(variants=tuple((name, alignn(learner)) for name, learner in LEARNERS.items()), folds=(0, 1))
