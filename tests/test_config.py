"""Laws of src/config."""

import json
import pickle
import re
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from functools import partial
from pathlib import Path

import pytest

from src.config import (
    ElementConfig,
    ExperimentConfig,
    ForestConfig,
    GaussianProcessConfig,
    GbdtConfig,
    GnnConfig,
    GraphConfig,
    HurdleConfig,
    NequipConfig,
    PretrainingConfig,
    TargetConfig,
    TrainingConfig,
    from_dict,
    to_dict,
    track,
)
from src.config.catalogue import load_config
from src.config.schema import TYPES
from src.paths import EXPERIMENTS

PUBLISHED = sorted(path.parent for path in EXPERIMENTS.glob("exp[0-9]*/config.py"))
GBDT = ExperimentConfig(learner=GbdtConfig())
RAW = TargetConfig("raw")
UNPUBLISHED = [  # the autopilot's
    ExperimentConfig(GaussianProcessConfig(), target=RAW, hurdle=HurdleConfig()),
    ExperimentConfig(ForestConfig(), target=RAW),
]
NETWORK = GnnConfig(training=TrainingConfig(n_epochs=1))
OPEN = [
    replace(GBDT, target=TargetConfig(base="7net-l3i5")),
    ExperimentConfig(learner=GbdtConfig(features=("fractions", "7net-l3i5"))),
    replace(UNPUBLISHED[0], hurdle=HurdleConfig(GbdtConfig(("7net-l3i5",), objective="binary"))),
    ExperimentConfig(learner=replace(NETWORK, elements=ElementConfig(("mat2vec", "megnet16")))),
]


def test_a_config_that_uses_what_was_learned_on_energies_is_of_the_open_track() -> None:
    assert [track(config) for config in OPEN] == ["open"] * len(OPEN)


def test_a_config_of_the_tasks_data_and_published_tables_is_of_the_closed_track() -> None:
    assert track(GBDT) == track(ExperimentConfig(learner=NETWORK)) == "closed"


def test_published_configs_come_back_from_json_and_from_a_pickle() -> None:
    for config in [*map(load_config, PUBLISHED), *UNPUBLISHED]:
        for again in (from_dict(json.loads(json.dumps(to_dict(config)))), pickle.loads(pickle.dumps(config))):
            assert again == config and hash(again) == hash(config) and to_dict(again) == to_dict(config), config


def test_the_published_configs_use_every_class() -> None:
    """So the test above covers all of them."""
    stored = json.dumps([to_dict(config) for config in [*map(load_config, PUBLISHED), *UNPUBLISHED]])
    assert [name for name in TYPES if f'"type": "{name}"' not in stored] == []


OUT_OF_RANGE: dict[str, Callable[[], object]] = {  # what a message begins with; what pydantic says of the value is its own
    "TrainingConfig.n_epochs=0: ": partial(TrainingConfig, 0),
    "TrainingConfig.lr=nan: ": partial(TrainingConfig, 1, lr=float("nan")),
    "TrainingConfig.lr=True: ": partial(TrainingConfig, 1, lr=True),
    "TrainingConfig.n_epochs: ": TrainingConfig,
    "NequipConfig.head_hidden[1]=4097: ": partial(NequipConfig, head_hidden=(8, 4097)),
    "GbdtConfig.features=['fractions']: ": partial(GbdtConfig, ["fractions"]),
    "GbdtConfig.n_tree=5: ": partial(GbdtConfig, n_tree=5),
    "ElementConfig.tables=(): ": partial(ElementConfig, ()),
    "TargetConfig.base='7net-l3i5': requires kind='residual'": partial(TargetConfig, "raw", "7net-l3i5"),
    "GraphConfig.r_angle=6.0: must be at most r_max=5.0 Angstrom": partial(GraphConfig, r_angle=6.0),
    "GnnConfig.pretraining: requires NequIP or EGNN and graph.l_max of at least 1": partial(
        replace, NETWORK, graph=GraphConfig(l_max=0), pretraining=PretrainingConfig(1, 1.0)
    ),
    "GnnConfig.pretraining: requires readout='mean'; forces are derivatives of energies per atom": partial(
        replace, NETWORK, network=NequipConfig(readout="max"), pretraining=PretrainingConfig(1, 1.0)
    ),
    "GnnConfig.pretraining: requires graph.radius_exponent=0; forces are derivatives by lengths in Angstrom": partial(
        replace, NETWORK, graph=GraphConfig(radius_exponent=0.5), pretraining=PretrainingConfig(1, 1.0)
    ),
}


def test_an_error_names_the_knob_and_its_value_in_one_line() -> None:
    for message, construct in OUT_OF_RANGE.items():
        with pytest.raises(ValueError, match=f"^config: {re.escape(message)}.*$"):
            construct()


def test_configs_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        GBDT.seed = 1  # type: ignore[misc]


def test_a_config_holds_the_configs_it_was_given_and_takes_no_dict_for_one() -> None:
    assert GBDT.learner is replace(GBDT, seed=1).learner
    with pytest.raises(ValueError, match=r"^config: ExperimentConfig\.learner="):
        ExperimentConfig(to_dict(GBDT.learner))


def test_whole_numbers_and_lists_of_json_stand_for_floats_and_tuples() -> None:
    stored = {"type": "GraphConfig", "r_max": 5}
    assert from_dict(stored) == GraphConfig(r_max=5.0) and json.dumps(to_dict(GraphConfig(r_max=5))).count("5.0") == 1
    assert from_dict({"type": "ElementConfig", "tables": ["one_hot"]}) == ElementConfig(("one_hot",))


def test_a_stored_config_that_this_version_does_not_know_is_refused() -> None:
    for stored, message in [
        ({"type": "TreeConfig"}, "unknown type 'TreeConfig'"),
        ({"n_trees": 5}, "unknown type None"),
        ({"type": "GbdtConfig", "n_tree": 5}, "GbdtConfig has no knob n_tree; if an older version wrote it"),
        ({"type": "GbdtConfig", "learning_rate": float("nan")}, "GbdtConfig.learning_rate=nan: "),
        ({"type": "ExperimentConfig", "learner": {"type": "FoldConfig"}}, "ExperimentConfig.learner="),
    ]:
        with pytest.raises(ValueError, match=f"^config: {re.escape(message)}"):
            from_dict(stored)


def test_a_fault_in_a_config_file_is_one_line_that_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "config.py"
    path.write_text("from src.config import TrainingConfig\n\nTrainingConfig(n_epochs=1, lr=-1.0)\n")
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: config: TrainingConfig.lr=-1.0: .*$"):
        load_config(tmp_path)
