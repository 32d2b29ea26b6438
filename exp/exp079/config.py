"""What do the settings of exp066, three members and the median for pure elements bring ALIGNN with radii?

The settings were chosen on two folds of another seed, see the end of exp/README.md.
Parent: exp076. Changed: elements.tables, training.lr, training.weight_decay, training.ema_decay, training.loss,
learner.members, target.pure_elements.
"""

from src.config import (
    AlignnConfig,
    ElementConfig,
    ExperimentConfig,
    FoldConfig,
    GnnConfig,
    GraphConfig,
    TargetConfig,
    TrainingConfig,
)

CONFIG = ExperimentConfig(
    folds=FoldConfig(scheme="stratified", n_folds=10, seed=0),
    target=TargetConfig(kind="residual", pure_elements="median"),
    learner=GnnConfig(
        elements=ElementConfig(tables=("mat2vec", "skipatom", "magpie")),
        graph=GraphConfig(r_max=5.0, l_max=1, r_angle=3.5, radius_exponent=0.5),
        network=AlignnConfig(
            n_channels=64,
            n_alignn_layers=2,
            n_gcn_layers=2,
            zero_head=True,
        ),
        training=TrainingConfig(
            n_epochs=40,
            batch_size=32,
            lr=4e-4,
            weight_decay=0.3,
            ema_decay=0.98,
            loss="huber",
            optimizer="lion",
        ),
        members=3,
    ),
    seed=0,
)
