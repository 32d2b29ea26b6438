"""Laws of src/config."""

from dataclasses import replace

import pytest

from src.config import (
    ElementConfig,
    ExperimentConfig,
    GbdtConfig,
    GnnConfig,
    TargetConfig,
    TrainingConfig,
    from_dict,
    to_dict,
    track,
)

GBDT = ExperimentConfig(learner=GbdtConfig())
NETWORK = GnnConfig(training=TrainingConfig(n_epochs=1))
OPEN = [
    replace(GBDT, target=TargetConfig(base="chgnet")),
    ExperimentConfig(learner=GbdtConfig(features=("fractions", "chgnet"))),
    ExperimentConfig(learner=replace(NETWORK, elements=ElementConfig(("mat2vec", "megnet16")))),
]


@pytest.mark.parametrize("config", OPEN, ids=["base", "features", "elements"])
def test_a_config_that_uses_what_was_learned_on_energies_is_of_the_open_track(config: ExperimentConfig) -> None:
    assert track(config) == "open"


@pytest.mark.parametrize("config", [GBDT, ExperimentConfig(learner=NETWORK)], ids=["lightgbm", "nequip"])
def test_a_config_of_the_tasks_data_and_published_tables_is_of_the_closed_track(config: ExperimentConfig) -> None:
    assert track(config) == "closed"


@pytest.mark.parametrize("config", [GBDT, *OPEN])
def test_a_config_comes_back_from_json(config: ExperimentConfig) -> None:
    assert from_dict(to_dict(config)) == config


@pytest.mark.parametrize("kind", ["raw", "standardise"])
def test_a_base_without_a_reference_of_the_elements_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match=r"target\.base='chgnet' goes with target\.kind='residual' only"):
        TargetConfig(kind=kind, base="chgnet")
