"""Laws of src/runs/ranges.py: what a search varies."""

import re
from dataclasses import replace
from operator import attrgetter
from types import SimpleNamespace

import pytest

from src.config import ExperimentConfig, GbdtConfig, GraphConfig
from src.config.load import load_config
from src.paths import EXPERIMENTS
from src.runs.proposal import source
from src.runs.ranges import BY_OPTIMIZER, RANGES, is_bounds, label, labelled, ranges, with_knobs
from src.runs.trial import suggested


@pytest.mark.parametrize("name", ["exp001", "exp012", "exp016"])
def test_every_declared_knob_is_one_of_the_config_and_its_source_gives_it_back(name: str) -> None:
    config = load_config(EXPERIMENTS / name)
    assert all(attrgetter(path)(config) is not None for path in ranges(config))
    found: dict = {}
    exec(source(config), found)
    assert found["CONFIG"] == config


@pytest.mark.parametrize("name", ["exp010", "exp013", "exp014", "exp015", "exp016", "exp017"])
def test_every_network_is_searched_over_the_same_kinds_of_knobs_and_its_own_settings_are_among_them(name: str) -> None:
    config = load_config(EXPERIMENTS / name)
    found = ranges(config)
    training = {f"learner.training.{knob}" for knob in ("optimizer", "lr", "weight_decay", "batch_size")}
    assert {*training, "learner.graph.r_max", "learner.network.n_channels"} <= set(found)
    assert any(re.fullmatch(r"learner\.network\.n_\w*layers", path) for path in found)
    for path, limits in found.items():
        own = attrgetter(path)(config)
        assert limits[0] <= own <= limits[1] if is_bounds(limits) else own in limits, path
    assert len(found["learner.graph.r_max"]) == 4 and len(set(found["learner.training.optimizer"])) == 2


def test_a_wide_search_varies_more_and_every_choice_is_one_that_the_config_accepts() -> None:
    config = load_config(EXPERIMENTS / "exp094")
    found = ranges(config, wide=True)
    assert {"learner.elements.tables", "learner.graph.l_max", "learner.training.loss", "learner.network.readout"} <= set(found)
    for path, choices in found.items():
        own = attrgetter(path)(config)
        assert choices[0] <= own <= choices[1] if is_bounds(choices) else own in choices, path
        for choice in choices:
            assert labelled(choices, label(choice)) == choice
            assert attrgetter(path)(with_knobs(config, {path: choice})) == choice
    with pytest.raises(ValueError, match="NequIP alone"):
        ranges(load_config(EXPERIMENTS / "exp014"), wide=True)


def test_of_a_formula_there_is_nothing_in_the_graph_to_vary() -> None:
    found = ranges(load_config(EXPERIMENTS / "exp081"))
    assert "learner.network.n_hidden" in found and not any(path.startswith("learner.graph") for path in found)


def test_cgcnn_may_have_its_twelve_nearest_neighbours_within_8_angstrom_as_published() -> None:
    found = ranges(load_config(EXPERIMENTS / "exp013"))
    assert 12 in found["learner.graph.max_neighbors"] and 8.0 in found["learner.graph.r_max"]
    assert "learner.graph.max_neighbors" not in ranges(load_config(EXPERIMENTS / "exp010"))


def test_an_experiments_own_value_joins_the_choices_that_lack_it() -> None:
    config = with_knobs(load_config(EXPERIMENTS / "exp010"), {"learner.graph.r_max": 4.5})
    assert ranges(config)["learner.graph.r_max"] == (4.5, *RANGES[GraphConfig]["r_max"])


@pytest.mark.parametrize("optimizer", BY_OPTIMIZER)
def test_the_range_of_lr_and_weight_decay_is_that_of_the_trials_optimiser(optimizer: str) -> None:
    config = load_config(EXPERIMENTS / "exp010")
    asked = {}

    def categorical(path: str, choices: tuple) -> object:
        return optimizer if path.endswith("optimizer") else choices[0]

    def number(path: str, low: float, high: float, log: bool) -> float:
        asked[path] = (low, high)
        return high

    found = suggested(SimpleNamespace(suggest_categorical=categorical, suggest_float=number), config)
    assert asked == {f"learner.training.{name}": limits for name, limits in BY_OPTIMIZER[optimizer].items()}
    assert (found.learner.training.optimizer, found.learner.training.lr) == (optimizer, BY_OPTIMIZER[optimizer]["lr"][1])


def test_a_knob_is_set_by_its_path_and_no_other_one_changes() -> None:
    trees = ExperimentConfig(learner=GbdtConfig(features=("fractions",)))
    expected = replace(trees, seed=3, learner=replace(trees.learner, num_leaves=7))
    assert with_knobs(trees, {"learner.num_leaves": 7, "seed": 3}) == expected
