"""Is an element that was never seen predicted better if its shift is that of its neighbours in the periodic table?

A study that leaves out five common elements in turn, as exp036 does. The first variant is exp036's NequIP, trained again.
Parent: exp036. Changed: target.unseen_elements.
"""

from typing import Literal

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

FOLDS = FoldConfig(scheme="elements", n_folds=6, seed=0, elements=("N", "F", "Cu", "S", "O"))


def nequip(unseen_elements: Literal["mean", "predicted"]) -> ExperimentConfig:
    return ExperimentConfig(
        folds=FOLDS,
        target=TargetConfig(kind="residual", unseen_elements=unseen_elements),
        learner=GnnConfig(
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
        ),
        seed=0,
    )


CONFIG = StudyConfig(variants=(("mean shift", nequip("mean")), ("predicted shift", nequip("predicted"))), folds=(0, 1, 2, 3, 4))
