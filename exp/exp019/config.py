"""Which element vectors serve NequIP best? A study on two folds of another seed than the experiments'.

Parent: exp010. Changed: elements.tables, folds. megnet16 was itself learned on formation energies of Materials Project.
"""

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


def experiment(tables: tuple[str, ...]) -> ExperimentConfig:
    return ExperimentConfig(
        folds=FoldConfig(scheme="stratified", n_folds=10, n_bins=6, seed=77),
        target=TargetConfig(kind="residual"),
        learner=GnnConfig(
            elements=ElementConfig(tables=tables),
            graph=GraphConfig(r_max=5.0, l_max=1, symmetry=True, symprec=1e-3),
            network=NequipConfig(
                n_channels=64,
                n_layers=3,
                n_bessel=8,
                radial_hidden=(64, 64),
                polynomial_cutoff_p=6.0,
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


CONFIG = StudyConfig(
    variants=(
        ("mat2vec", experiment(("mat2vec",))),
        ("one-hot", experiment(("one_hot",))),
        ("Magpie", experiment(("magpie",))),
        ("megnet16", experiment(("megnet16",))),
        ("skipatom", experiment(("skipatom",))),
        ("matscholar", experiment(("matscholar",))),
        ("mat2vec + Magpie + megnet16", experiment(("mat2vec", "magpie", "megnet16"))),
    ),
    folds=(0, 1),
)
