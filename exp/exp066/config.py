"""What do the settings of a wide search bring?

`python exp/tune.py 027 --wide --splits 2 --epochs 20`, the first 75 trials: 0.0652 to 0.0662 eV/atom in the best three, which
agree but for the Bessel functions and the gathering of layers, and 0.0751 with the settings of exp027; lr and weight decay are
rounded. The radii were not in that search. On fold 0 of seed 77: 0.0682, without radii 0.0758.
Parent: exp065. Changed: elements.tables, graph.l_max, network.n_bessel, network.radial_hidden; lr, weight_decay, ema_decay and
loss of the training.
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
    folds=FoldConfig(scheme="stratified", n_folds=10, n_bins=6, seed=0),
    target=TargetConfig(kind="residual"),
    learner=GnnConfig(
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
    ),
    seed=0,
)
