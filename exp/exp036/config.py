"""What error should a user expect on elements that are not in the training set? A study that leaves out five common ones in turn.

Parent: exp027. Changed: folds.scheme; beside it the settings of exp022. Each fold holds the crystals with one element, apart
from those with one before it in the list, and is predicted by models that have seen no crystal with it.
"""

from src.config import (
    ElementConfig,
    ExperimentConfig,
    FoldConfig,
    GbdtConfig,
    GnnConfig,
    GraphConfig,
    NequipConfig,
    StudyConfig,
    TargetConfig,
    TrainingConfig,
)

FOLDS = FoldConfig(scheme="elements", n_folds=6, seed=0, elements=("N", "F", "Cu", "S", "O"))


def nequip(folds: FoldConfig) -> ExperimentConfig:
    return ExperimentConfig(
        folds=folds,
        target=TargetConfig(kind="residual"),
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


def lightgbm(folds: FoldConfig) -> ExperimentConfig:
    return ExperimentConfig(
        folds=folds,
        target=TargetConfig(kind="raw"),
        learner=GbdtConfig(
            features=("fractions", "magpie", "geometry", "symmetry", "charges", "voronoi"),
            objective="l2",
            n_trees=3000,
            learning_rate=0.03,
            num_leaves=15,
            min_child_samples=10,
            colsample_bytree=0.3,
            subsample=0.8,
            reg_lambda=1.0,
        ),
        seed=0,
    )


CONFIG = StudyConfig(variants=(("NequIP", nequip(FOLDS)), ("LightGBM", lightgbm(FOLDS))), folds=(0, 1, 2, 3, 4))
