"""The autopilot: what it sees, what it chooses, and that no scored fold has a say in it."""

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import load, pure_table, small_table, small_task
from pymatgen.core import Lattice, Structure

from exp import auto
from src.auto import clock as clocks
from src.auto import look as looking
from src.auto import pilot as piloting
from src.auto import plan as planning
from src.auto import race as racing
from src.auto import summary
from src.auto.clock import Clock
from src.auto.look import Look, _layers, duplicated, folds_for, look_at, surroundings
from src.auto.pilot import Pilot
from src.auto.plan import (
    Part,
    Plan,
    choose,
    folds_within,
    is_close,
    make_plan,
    needed,
    one_more,
    plan_lines,
    variants,
    within_budget,
)
from src.auto.portfolio import RAW, Recipe, portfolio
from src.auto.race import Cost, Outcome, Race, Trial, cost_key, epochs_of, measure, shortened
from src.config import (
    BlendConfig,
    ExperimentConfig,
    FoldConfig,
    ForestConfig,
    GaussianProcessConfig,
    GbdtConfig,
    GnnConfig,
    HurdleConfig,
    TargetConfig,
    to_dict,
)
from src.config.catalogue import config_source, load_config
from src.data.crystal import Crystal
from src.data.export import write_task
from src.data.load import TaskData, load_folds
from src.data.table import Crystals
from src.data.task import ColumnNames
from src.learners.gbdt import GbdtLearner
from src.paths import EXPERIMENTS
from src.runs.inner import OUTER_FOLD, InnerSplits
from src.runs.launch import Launcher
from src.runs.ranges import with_knobs
from src.storage.files import locked, write_json

HERE, LOG = Launcher("local", 1), logging.getLogger("src")
FOLDS = FoldConfig("stratified", 5)
SMALL = ExperimentConfig(GbdtConfig(("fractions",), n_trees=20, min_child_samples=2), FOLDS, RAW)
LARGE = replace(SMALL, learner=replace(SMALL.learner, n_trees=60))
LOOK = Look(
    **{"task": "t", "target": "gap", "unit": "eV", "metric": "mae", "n_train": 900, "n_test": 100, "bad_train": 2, "bad_test": 1},
    **{"has_structure": True, "n_disordered": 3, "atoms": (12.0, 40), "n_elements": 30, "n_pure": 4, "duplicates": 0.02},
    **{"layers": 0.75, "n_folds": 10, "given_folds": 0, "columns": ("pressure",), "low": 0.5, "high": 80.0, "zeros": 0.0},
    **{"decades": 1.3, "skew": 0.5, "growth": 0.9, "n_formulas": 800},
)
PLAIN = replace(LOOK, **{"n_train": 3000, "duplicates": 0.0, "layers": 0.0, "columns": (), "decades": 0.5, "growth": 0.0})


def few(look: Look) -> list[Recipe]:
    """Two recipes that train in no time."""
    return [Recipe("small", "trees", SMALL, "fast"), Recipe("large", "trees", LARGE, "better")]


@pytest.fixture
def experiments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An exp/ of its own, in which the autopilot has two recipes."""
    folder = tmp_path / "exp"
    shutil.copytree(EXPERIMENTS / "exp094", folder / "exp094", ignore=shutil.ignore_patterns("results", "__pycache__"))
    for module in ("src.paths", "src.config.catalogue"):
        monkeypatch.setattr(f"{module}.EXPERIMENTS", folder)
    monkeypatch.setattr(piloting, "portfolio", few)
    return folder


def seen(data: TaskData, target: np.ndarray, **task: object) -> Look:
    """Return the look at a table with other targets."""
    return look_at(replace(data, task=replace(data.task, **task), train=replace(data.train, target=target)))


@pytest.mark.parametrize(
    ("facts", "transform"),
    [
        ({"decades": 1.0, "skew": 1.5}, "none"),
        ({"decades": 1.01}, "log"),
        ({"skew": 1.51}, "log"),
        ({"low": 0.0, "zeros": 0.1, "skew": 1.51, "high": 1.0}, "none"),
        ({"low": 0.0, "zeros": 0.1, "skew": 1.5}, "none"),
        ({"low": 0.0, "zeros": 0.1, "skew": 1.51, "high": 1.1}, "log1p"),
        ({"low": -0.1, "zeros": 0.1, "skew": 1.51}, "none"),
        ({"low": -0.1, "metric": "rmsle"}, "log1p"),
    ],
)
def test_the_logarithm_follows_from_the_facts(facts: dict[str, Any], transform: str) -> None:
    assert replace(PLAIN, **facts).transform == transform


def test_what_follows_from_a_table_has_these_limits() -> None:
    assert [replace(PLAIN, zeros=zeros).shares_zero for zeros in (0.19, 0.2)] == [False, True]
    assert [replace(PLAIN, zeros=0.5, metric=metric).shares_zero for metric in ("mape", "rmse")] == [True, False]
    assert [replace(PLAIN, growth=growth).grows for growth in (0.8, 0.81)] == [False, True]
    assert not replace(PLAIN, growth=0.9, metric="roc_auc").grows
    assert [replace(LOOK, layers=layers).per_area for layers in (0.5, 0.51)] == [False, True]
    assert not replace(LOOK, decades=0.5).per_area
    assert [replace(PLAIN, n_train=n).n_splits for n in (999, 1000)] == [3, 1]
    assert [folds_for(n, 50, 0.0).n_folds for n in (49, 50)] == [5, 10]
    kinds = (50, 50, 0.0099), (50, 20, 0.01), (50, 19, 0.01), (49, 10, 0.01), (49, 9, 0.01)  # two formulas for each fold
    assert [folds_for(*kind).scheme for kind in kinds] == ["stratified", "grouped", "stratified", "grouped", "stratified"]
    assert replace(LOOK, n_train=60, n_formulas=40).folds == FoldConfig("grouped", 10)
    assert replace(LOOK, given_folds=4).folds == FoldConfig("grouped", 4) and LOOK.inner == FoldConfig("grouped", 5, seed=1000)


def test_the_facts_are_those_of_the_rows_of_the_other_folds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_task(tmp_path / "small", pd.concat([small_table(60), pure_table(4)]), pure_table(10))
    data = load(tmp_path / "small")
    target = np.geomspace(1e-3, 10.0, 64)[np.random.default_rng(0).permutation(64)]
    target[:10] = 0
    monkeypatch.setattr(Crystals, "is_disordered", property(lambda crystals: np.arange(len(crystals)) < 3))
    monkeypatch.setattr(looking, "_layers", lambda crystals: 0.25)
    look = seen(data, target)
    fold = load_folds(replace(data, train=replace(data.train, target=target)), look.folds)
    known = target[fold != OUTER_FOLD]
    counts = data.train.crystals.element_counts
    assert (look.n_train, look.n_test, look.atoms, look.n_pure) == (64, 10, (2.0, 2), 4)
    assert (look.n_disordered, look.layers, look.n_formulas) == (6, 0.25, len(np.unique(counts > 0, axis=0)))
    assert look.n_formulas < 50 and look.folds.n_folds == 10  # by rows
    assert look.n_elements == len(np.unique(np.nonzero(counts)[1])) and (look.bad_train, look.bad_test) == (0, 0)
    assert (look.low, look.high, look.zeros, look.decades) == (0, known.max(), (known == 0).mean(), np.inf)
    assert seen(data, target / 100).decades == np.inf
    positive = seen(data, target + 0.01)
    low, high = np.quantile(known + 0.01, [0.05, 0.95])
    assert positive.decades == pytest.approx(np.log10(high / low)) and positive.skew == pytest.approx(look.skew)
    assert look.skew == pytest.approx(((known - known.mean()) ** 3).mean() / known.std() ** 3)
    assert seen(data, np.where(counts.sum(axis=1) == 1, -2.0, 3.0)).growth == pytest.approx(1)
    zeros = seen(data, np.zeros(len(target)))
    assert (zeros.decades, zeros.skew, zeros.growth) == (0, 0, 0) == (look.given_folds, positive.zeros, 0)
    hidden = seen(data, np.where(fold == OUTER_FOLD, -1.0, target + 0.01))  # a training row of all other folds
    assert positive.transform == "log" and (hidden.low, hidden.decades, hidden.transform) == (-1, positive.decades, "none")
    assert look_at(replace(data, given_folds=np.arange(64) % 3)).given_folds == 3
    formulas = Crystals.from_list([Crystal.from_formula(one) for one in ("TiO2", "NaCl", "Ti2O4", "MgCl2")] * 4)
    plain = look_at(
        replace(data, train=replace(data.train, crystals=formulas, ids=data.train.ids[:16], target=target[:16])), 2, 0.0
    )
    assert (plain.has_structure, plain.layers) == (False, 0)
    alike = replace(data.train, crystals=Crystals.from_list([data.train.crystals[i] for i in range(60)]), ids=data.train.ids[:60])
    assert look_at(replace(data, train=replace(alike, target=target[:60]), outputs=tmp_path / "other")).growth == 0


def test_layers_are_counted_from_a_gap_of_six_angstrom_on() -> None:
    stacks = [Structure(Lattice.tetragonal(3, gap), ["C"], [[0, 0, 0]]) for gap in (5.9, 6.1, 8.0)]
    assert _layers(Crystals.from_list([Crystal.from_structure(one) for one in stacks])) == pytest.approx(2 / 3)


def test_the_facts_are_told_with_what_follows_from_them() -> None:
    assert LOOK.lines() == [
        "rows        900 training, 100 test; 2 and 1 cannot be read",
        "crystals    structures of 12 atoms in the median, 40 at most; 30 elements; 4 pure elements; 3 rows are disordered"
        "; 75% are layers in a vacuum, tried per area",
        "duplicates  2.0% of the training rows",
        "folds       10, grouped; choices are made without fold 0, on 3 of 5 inner splits",
        "columns     pressure",
        "target      gap: 0.5 to 80 eV, 0% zeros",
        "shape       1.3 decades, skewness 0.5; log is tried",
        "size        rank correlation with the atoms 0.90; a sum over atoms is tried",
        "metric      MAE",
        "epochs      134 of a network, about 3392 steps",
    ]
    others = replace(PLAIN, has_structure=False, n_disordered=0, low=0.0, zeros=0.25, given_folds=4).lines()
    assert others[1] == "crystals    formulas; 30 elements; 4 pure elements"
    assert others[3].startswith("folds       4 given ones; ") and others[4] == "columns     none besides"
    assert others[5:7] == [
        "target      gap: 0 to 80 eV, 25% zeros; zeros are judged first",
        "shape       0.5 decades, skewness 0.5",
    ]
    assert others[7].endswith(" 0.00")
    classes = replace(PLAIN, metric="roc_auc", zeros=0.75).lines()
    assert classes[5] == "target      gap: two classes, 25.0% of the rows are of the second"


def test_duplicates_share_a_fold(tmp_path: Path) -> None:
    small_task(tmp_path)
    path = tmp_path / "small" / "train.csv.gz"
    table = pd.read_csv(path)
    pd.concat([table, table[:4].assign(id=[f"again-{i}" for i in range(4)])]).to_csv(path, index=False)
    data = load(tmp_path / "small")
    look = look_at(data)
    assert look.duplicates == pytest.approx(8 / 44) and look.folds.scheme == "grouped"
    assert duplicated(data.train.crystals)[[0, 40]].all()
    fold = load_folds(data, look.folds)
    assert (fold[:4] == fold[40:]).all()
    assert look_at(load(small_task(tmp_path / "other"))).folds.scheme == "stratified"


def test_crystals_are_the_same_in_any_cell_and_other_arrangements_of_the_same_atoms_are_not() -> None:
    cell = Structure(Lattice.cubic(4), ["Na", "Na", "Cl", "Cl"], [[0, 0, 0], [0.5, 0.5, 0], [0, 0.5, 0.5], [0.5, 0, 0.5]])
    double, other = cell * (2, 1, 1), cell * (2, 1, 1)
    other.replace(0, "Cl")
    other.replace(next(i for i, site in enumerate(other) if site.specie.symbol == "Cl" and i), "Na")
    crystals = [Crystal.from_structure(one) for one in (cell, other, double)]
    assert duplicated(Crystals.from_list(crystals)).tolist() == [True, False, True]
    salt = Structure(Lattice.cubic(3.6), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])  # eight others at 3.1, six alike at 3.6
    other, alike = ((1 + np.cos(np.pi * length / 5)) / 2 for length in (1.8 * np.sqrt(3), 3.6))
    expected = (2 * 8 * other * 55 * 17 + (1 + 6 * alike) * (55**2 + 17**2)) / 2  # each atom is among its neighbours
    assert surroundings(Crystal.from_structure(salt)) == pytest.approx(expected)


def test_cells_of_one_crystal_differ_by_a_thousandth_in_volume_and_by_rounding_in_their_surroundings() -> None:
    def repeated(atoms: list[str], ratio: float, length: float) -> bool:
        cells = [Lattice.cubic(length * factor) for factor in (1, 1 + ratio)]
        structures = [Structure(cell, atoms, np.eye(3)[: len(atoms)] / 2) for cell in cells]
        found = set(duplicated(Crystals.from_list([Crystal.from_structure(one) for one in structures])).tolist())
        return found == {True}

    assert [repeated(["Cs"], ratio, 6.0) for ratio in (3e-4, 4e-4)] == [True, False]  # no neighbours within 5 Angstrom
    assert [repeated(["Cs", "Cl"], ratio, 3.6) for ratio in (1e-6, 1e-4)] == [True, False]
    group, value = np.array([1, 0, 1, 0, 1]), np.array([2.0, 2.0005, 2.0005, 3.0, 3.5])
    assert looking._repeated(group, value, 1e-3).tolist() == [True, False, True, False, False]
    formulas = Crystals.from_list([Crystal.from_formula(one) for one in ("TiO2", "NaCl", "Ti2O4")])
    assert duplicated(formulas).tolist() == [True, False, True]


def test_the_number_of_steps_is_the_same_whatever_the_number_of_rows_is() -> None:
    epochs = {n: replace(PLAIN, n_train=n).epochs for n in (20_000, 3000, 316, 308, 150)}
    assert epochs == {20_000: 20, 3000: 40, 316: 383, 308: 392, 150: 400}  # 382.56 and 392.50 by 3400 steps


def named(look: Look, **facts: Any) -> dict[str, ExperimentConfig]:
    """Return the configs of a portfolio by the names of the recipes."""
    return {recipe.name: recipe.config for recipe in portfolio(replace(look, **facts))}


def test_recipes_have_the_settings_of_the_experiments_that_their_reasons_name() -> None:
    """What differs stands in the name of a recipe, but for unseen elements, which are predicted, and the bins of trees."""
    found = named(PLAIN)
    network, trees, roost = (load_config(EXPERIMENTS / f"exp{number}") for number in ("094", "022", "081"))
    residual, standard = replace(network.target, unseen_elements="predicted"), TargetConfig("standardise")
    assert found["residual, mean"] == replace(network, target=residual)
    for name in ("mean", "attention", "max"):
        other = with_knobs(network, {"learner.network.readout": name})
        assert found[f"standardised, {name}"] == replace(other, target=standard)
    assert found["residual, attention"] == replace(with_knobs(network, {"learner.network.readout": "attention"}), target=residual)
    assert found["trees"] == with_knobs(trees, {"learner.max_bin": 63})
    assert found["trees, absolute errors"] == with_knobs(trees, {"learner.max_bin": 63, "learner.objective": "l1"})
    assert found["Roost, standardised"] == replace(with_knobs(roost, {"learner.training.n_epochs": 40}), target=standard)
    assert found["forest"].learner == ForestConfig(trees.learner.features, "l1", max_features=0.3)
    assert named(PLAIN, metric="rmse")["forest"].learner.objective == "l2"
    assert found["Gaussian process"].learner == GaussianProcessConfig(trees.learner.features)
    assert len(found) == 11 and all(config.folds == FoldConfig() for config in found.values())
    few = with_knobs(found["trees"], {"learner.num_leaves": 7, "learner.min_child_samples": 5, "learner.n_trees": 1000})
    assert [named(PLAIN, n_train=n)["trees"] for n in (999, 1000)] == [few, found["trees"]]


def test_recipes_for_what_a_table_has_are_there_from_these_limits_on() -> None:
    """Which recipes those are, the next law says."""
    for name in ("forest", "Gaussian process"):
        assert name in named(PLAIN, n_train=5000) and name not in named(PLAIN, n_train=5001)
    cheap = [named(PLAIN, atoms=(n, 99)).get("degree 1, standardised, attention") for n in (30.0, 31.0)]
    in_angstrom = {"learner.graph.l_max": 1, "learner.graph.radius_exponent": 0.0}
    assert cheap == [None, with_knobs(named(PLAIN)["standardised, attention"], in_angstrom)]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, "70b0b360"),
        ({"n_train": 5001, "growth": 0.9, "columns": ("x",), "atoms": (31.0, 99)}, "2d8a0c96"),
        ({"n_train": 999, "decades": 2.0, "columns": ("x",)}, "f5048844"),
        ({"layers": 0.75, "decades": 2.0}, "ea6cc1c2"),
        ({"metric": "rmse"}, "2921157c"),
        ({"zeros": 0.3, "low": 0.0}, "a6a9616e"),
        ({"has_structure": False, "columns": ("x",)}, "59de9ff1"),
        ({"has_structure": False, "decades": 2.0}, "352ee245"),
        ({"metric": "roc_auc", "columns": ("x",)}, "9e5a8f8a"),
        ({"metric": "roc_auc", "has_structure": False, "n_train": 5001}, "3a60909a"),
    ],
)
def test_the_recipes_of_each_kind_of_task_are_as_they_were(facts: dict[str, Any], expected: str) -> None:
    found = [(name, family, to_dict(config)) for name, family, config, _ in portfolio(replace(PLAIN, **facts))]
    assert hashlib.sha256(json.dumps(found).encode()).hexdigest()[:8] == expected


@pytest.mark.parametrize(("has_structure", "layers"), [(True, 0.0), (False, 0.0), (True, 1.0)])
def test_a_portfolio_has_at_most_16_recipes_each_with_a_reason_and_those_that_need_structures_only_with_them(
    data: TaskData, has_structure: bool, layers: float
) -> None:
    look = replace(
        look_at(data),
        **{"low": 1.0, "high": 1e4, "decades": 4.0, "growth": 1.0, "columns": ("x",), "atoms": (50.0, 80)},
        has_structure=has_structure,
        layers=layers,
    )
    recipes = portfolio(look)
    assert len({recipe.name for recipe in recipes}) == len(recipes) <= 16 and all(recipe.why for recipe in recipes)
    needs = [r.config.learner.graph_network for r in recipes if isinstance(r.config.learner, GnnConfig)]
    assert any(needs) == has_structure
    assert {"log per area" in recipe.name for recipe in recipes} == ({True, False} if layers else {False})
    assert all(recipe.config not in variants(recipe.config, look).values() for recipe in recipes)
    assert all(recipe.config.folds == look.folds for recipe in recipes)


def test_there_are_five_folds_if_a_network_cannot_have_a_third_of_its_epochs_in_ten(data: TaskData) -> None:
    look = replace(look_at(data), n_train=1000)
    recipes = portfolio(look)
    costs = {recipe.name: Cost(0.01, 1e-3) for recipe in recipes}
    needed = 9 * look.n_train * look.epochs * 1e-3 / 0.45  # core seconds for a network with all its epochs in ten folds
    assert [folds_within(look, recipes, costs, share * needed) for share in (1.0, 0.36, 0.34, 0.14, 0.13)] == [10, 10, 5, 5, 10]
    others = costs | {"residual, mean": Cost(0.01, 1.0), "trees": Cost(0.01, 1e-9)}  # the fastest network decides
    assert folds_within(look, recipes, others, 0.34 * needed) == 5
    assert folds_within(look, recipes, {"trees": Cost(0.01, 1.0)}, 1.0) == 10  # no network was timed


NETWORK = next(recipe for recipe in portfolio(PLAIN) if recipe.family == "network")


def test_the_first_rung_is_a_tenth_of_all_epochs_for_each_network_or_two_networks() -> None:
    def first_rung(n_train: int, n_networks: int, *trees: float) -> tuple[int, int]:
        """Return the number of networks that are left, and their epochs. trees: seconds of a row."""
        own = [Recipe(f"t{i}", "trees", SMALL, "") for i in range(len(trees))]
        costs = {f"n{i}": Cost(0.0, 1e-3) for i in range(n_networks)} | {f"t{i}": Cost(0.0, one) for i, one in enumerate(trees)}
        plan = make_plan(replace(PLAIN, n_train=n_train, n_test=6), [*own, *networks(n_networks)], costs, 740.0)
        assert all(f"t{i}" in plan.left_out for i, one in enumerate(trees) if one > 0.037)  # 0.45 of 740 s for ten folds
        return len(plan.recipes) - sum(one < 0.037 for one in trees), plan.first_epochs

    assert first_rung(1007, 12) == (12, 12)  # 111 s, 0.725 s for an epoch; 120 in all
    assert first_rung(1000, 3, 0.036, 0.036, 0.0375) == (3, 27)  # trees take 26 s each of 111
    assert first_rung(1000, 3, *[0.0366] * 4) == (2, 3)
    assert first_rung(1000, 3, *[0.0366] * 5) == (2, 1)


def networks(n: int) -> list[Recipe]:
    """Return the recipes of n networks with 121 epochs, n0 first."""
    config = with_knobs(NETWORK.config, {"learner.training.n_epochs": 121})
    return [NETWORK._replace(name=f"n{i}", config=config) for i in range(n)]


def test_a_budget_buys_epochs_inputs_and_a_first_rung() -> None:
    look, recipes = replace(PLAIN, n_train=1000, n_test=6), networks(14)
    assert look.epochs == 121
    usual = {recipe.name: Cost(0.01, 1e-3) for recipe in recipes}
    costs = usual | {"n0": Cost(0.111, 1e-3), "n1": Cost(0.11, 1e-3)}  # 111.7 and 110.7 of 111 seconds
    assert make_plan(look, recipes, costs, 740.0).left_out["n0"] == "its features or graphs take too long"
    assert make_plan(look, recipes[:3], {"n1": usual["n1"]}, 740.0).left_out == dict.fromkeys(["n0", "n2"], "no time to time it")
    several = {f"n{i}": Cost(prepare, 1e-3) for i, prepare in enumerate((0.11, 0.11, 0.1, 0.02), 1)}  # 231 of 222 seconds
    assert list(make_plan(look, recipes[1:5], several, 740.0).left_out) == ["n4"]
    found = make_plan(look, recipes[1:], costs, 740.0)
    assert [recipe.name for recipe in found.recipes] == [f"n{i}" for i in range(1, 12)]
    assert {recipe.config.learner.training.n_epochs for recipe in found.recipes} == {37}  # 0.45 of 740 s, 9 s each in ten folds
    assert found.left_out == {f"n{i}": "no time to try it" for i in (13, 12)} and found.first_epochs == 14
    assert make_plan(look, recipes[:3], usual, 740.0).first_epochs == 30  # a quarter of all
    assert make_plan(replace(look, n_train=999), recipes[:3], usual, 740.0).first_epochs == 17  # on three splits
    late = make_plan(look, [*recipes[:3], Recipe("small", "trees", SMALL, "fast")], usual | {"small": Cost(0.01, 1e-5)}, 720.0)
    assert late.left_out == {f"n{i}": "its training takes too long" for i in range(3)} and late.first_epochs == 30


@pytest.mark.parametrize(("seconds", "cheapest"), [(140.0, "n1"), (160.0, "n0")])
def test_the_cheapest_recipe_counts_inputs_of_both_tables_and_all_folds(seconds: float, cheapest: str) -> None:
    costs = {"n0": Cost(0.1, 1e-9), "n1": Cost(0.0, seconds / (9000 * 121))}  # 150 seconds for the inputs of the first
    plan = make_plan(replace(PLAIN, n_train=1000, n_test=500), networks(2), costs, 1e-6)
    assert [recipe.name for recipe in plan.recipes] == [cheapest]


def test_a_plan_is_told_with_its_seconds() -> None:
    look = replace(PLAIN, n_train=1000, n_test=6)
    plan = make_plan(look, networks(1), {"n0": Cost(0.01, 1e-3)}, 1e6)
    lines = plan_lines(look, replace(plan, left_out={"n9": "why"}), 5, 2)
    assert [" ".join(line.split()) for line in lines] == [
        "recipe epochs inputs s trial s folds s",
        "n0 121 10 87 1089",
        "left out: n9: why",
        "first rung of 30 epochs, 1 splits; seconds are of one core, there are 2; the budget is 5 minutes",
    ]


def test_a_first_trial_says_how_many_epochs_there_is_time_for() -> None:
    (recipe,) = networks(1)
    trial = outcome("n0", shortened(recipe.config, 5), 0.1, 10.0)  # two seconds an epoch
    epochs = [within_budget(recipe.config, trial, PLAIN, seconds).learner.training.n_epochs for seconds in (1e3, 1e5, 1.0)]
    assert epochs == [18, 121, 1]  # 0.45 of 1000 s, 25 s for an epoch in ten folds


class Timed:
    """A learner of a clock: a crystal takes `crystal` seconds, a row `row` for each tree or epoch; the first calls 100 s more."""

    clock, n_fits, row, crystal, made = 0.0, 0, 0.01, 0.5, list[Crystals]()

    def __init__(self, config: Any, word2vec: Path | None = None) -> None:
        assert word2vec == Path("vectors")
        knobs = [getattr(config, name, None) for name in ("n_trees", "n_fit")]
        self.size = next((n for n in knobs if n), None) or config.training.n_epochs
        self.n_rows, self.limited = 96 if isinstance(config, GnnConfig) else 40, False
        self.of_classes = getattr(config, "objective", "") == "binary"

    def limit_threads(self) -> None:
        self.limited = True

    def prepare_inputs(self, crystals: Crystals, *others: object) -> np.ndarray:
        assert others == ("", None, 1)
        Timed.clock += Timed.crystal * len(crystals) + 100.0 * (not Timed.made)
        Timed.made.append(crystals)
        return np.arange(len(crystals))

    def fit(self, inputs: np.ndarray, target: np.ndarray, folder: Path) -> None:
        drawn = np.random.default_rng(0).normal(size=self.n_rows)
        assert self.limited and len(inputs) == self.n_rows
        assert target.tolist() == (np.where(drawn > 0, 0.5, -0.5) if self.of_classes else drawn).tolist()
        Timed.clock += 0.3 + Timed.row * self.size * len(inputs) + 100.0 * (Timed.n_fits == 0)
        Timed.n_fits += 1


CLASSES = ExperimentConfig(replace(SMALL.learner, objective="binary"), FOLDS, TargetConfig("classes"))


@pytest.mark.parametrize(
    ("config", "crystal", "row", "expected", "n_fits"),
    [
        (NETWORK.config, 0.5, 0.01, 0.01, 3),  # a second one of the short, a long one
        (NETWORK.config, 0.5, 0.1, 0.1 + 0.3 / 96, 2),  # of large cells the short one is long enough
        (NETWORK.config, 0.01, 0.0025, 0.0025, 3),  # a long one takes 1.98 seconds
        (NETWORK.config, 0.01, 0.001, 0.001, 5),  # 0.97 seconds
        (NETWORK.config, 0.01, 0.0, 1e-3 / 6 / 96, 7),
        (SMALL, 0.5, 0.01, 0.01 * 20, 3),
        (CLASSES, 0.5, 0.01, 0.01 * 20, 3),
        (ExperimentConfig(ForestConfig(("fractions",), n_trees=30), target=RAW), 0.5, 0.01, 0.01 * 30, 3),
        (ExperimentConfig(GaussianProcessConfig(("fractions",), n_fit=50), target=RAW), 0.5, 0.01, 0.01 * 48, 3),
    ],
)
def test_the_cost_of_a_row_is_the_difference_of_two_trainings(
    config: ExperimentConfig,
    crystal: float,
    row: float,
    expected: float,
    n_fits: int,
    data: TaskData,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(racing, "make_learner", Timed)
    monkeypatch.setattr(racing, "own_mat2vec", lambda: Path("vectors"))
    monkeypatch.setattr(racing, "time", SimpleNamespace(perf_counter=lambda: Timed.clock))
    Timed.clock, Timed.n_fits, Timed.row, Timed.crystal, Timed.made = 0.0, 0, row, crystal, []
    crystals = Crystals.from_list([data.train.crystals[i] for i in range(40)], pd.DataFrame({"x": np.arange(40.0)}))
    made: dict = {}
    cost = measure(config, replace(data, train=replace(data.train, crystals=crystals)), made)
    assert cost == (pytest.approx(crystal), pytest.approx(expected)) and Timed.n_fits == n_fits
    sizes = [2, 8] if crystal == 0.5 else [2, 8, 40]  # eight took four seconds: no more are made
    assert [len(inputs) for inputs, _ in made.values()] == sizes[-1:] and [len(one) for one in Timed.made] == sizes
    assert Timed.made[0].columns.to_dict() == {"x": {0: 0.0, 1: 39.0}}  # type: ignore[union-attr]
    assert (Timed.made[0].element_counts == crystals.element_counts[[0, 39]]).all()


def test_recipes_share_costs_if_an_epoch_is_the_same_and_inputs_if_these_are() -> None:
    found = named(PLAIN)
    network, roost = NETWORK.config, found["Roost, standardised"]
    other = with_knobs(network, {"learner.graph.l_max": 1})
    alike = (network, shortened(network, 1), with_knobs(network, {"learner.network.readout": "max", "target": RAW}))
    assert len(set(map(cost_key, alike))) == 1 == len(set(map(racing._inputs_key, alike)))
    assert len(set(map(cost_key, (network, other, roost, SMALL, LARGE)))) == 5
    two = replace(SMALL, learner=replace(SMALL.learner, features=("fractions", "magpie")))  # of one learner, or of it and a judge
    behind = replace(SMALL, hurdle=HurdleConfig(replace(CLASSES.learner, features=("magpie",))))
    every = (network, other, roost, SMALL, LARGE, found["trees"], two, behind)
    assert len(set(map(racing._inputs_key, every))) == 7  # fractions once


def test_inputs_are_made_for_all_recipes_and_those_without_any_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    given: Any = (SimpleNamespace(train=SimpleNamespace(crystals=[1]), train_key="key", cache="cache"), 3)
    prepares = {
        LARGE.learner: failing(id, lambda *_: True),
        SMALL.learner: lambda *asked: asked == ([1], "key", "cache", 3) or [][0],
    }
    make = lambda config, word2vec: SimpleNamespace(prepare_inputs=prepares[config], vectors=Path(word2vec))
    monkeypatch.setattr(racing, "make_learner", make)
    monkeypatch.setattr(racing, "own_mat2vec", lambda: "vectors")
    assert racing.prepare({"large": LARGE, "small": SMALL}, *given) == {"small": SMALL}
    with pytest.raises(ValueError, match="no such atom"):
        racing.prepare({"large": LARGE}, *given)


def outcome(name: str, config: ExperimentConfig, loss: float, wall: float) -> Outcome:
    return Outcome(name, config, np.zeros(1), np.zeros(1), loss, wall, wall)


def test_the_first_parts_are_the_best_of_each_family_that_is_cheap_or_leads(data: TaskData) -> None:
    network = next(recipe for recipe in portfolio(look_at(data)) if recipe.family == "network").config
    found = [
        outcome("net", network, 0.1, 10.0),
        outcome("net; epochs x 2", network, 0.11, 10.0),
        outcome("trees", SMALL, 0.2, 1.2),
        outcome("more trees", LARGE, 0.3, 1.3),
    ]
    net, _, trees, more = found
    families = {
        "net": "network",
        "net; epochs x 2": "network",
        "trees": "trees",
        "more trees": "trees",
        "roost": "formula network",
    }

    def chosen(seconds: float, *outcomes: Outcome) -> dict[str, float]:
        return {part.name: part.seconds for part in choose(outcomes, families, 10, seconds)}  # type: ignore[arg-type]

    assert list(chosen(400.0, *found).items()) == [("trees", 15), ("net", 125)]
    assert chosen(20.0, *found) == {"trees": 15}  # never nothing
    assert chosen(160.0, *found) == {"trees": 15, "net": pytest.approx(121)}  # 0.85 of 160 s, without those of the trees
    assert chosen(400.0, net, replace(trees, wall=4.0)) == {"trees": 50, "net": 125}
    dear = replace(trees, wall=4.2)  # 52.5 of 51 seconds, 0.15 of 0.85 of 400
    assert chosen(400.0, net, dear, more) == {"more trees": 16.25, "net": 125}  # the best that is cheap
    assert chosen(400.0, dear, replace(net, wall=1.0)) == {"trees": 52.5, "net": 12.5}  # or leads
    assert chosen(200.0, *found[::-1]) == {"more trees": 16.25, "net; epochs x 2": 125}
    roost = [outcome("roost", network, 0.2, wall) for wall in (4.0, 4.2)]  # a network of another family has all its epochs
    assert [chosen(400.0, net, one) for one in roost] == [{"roost": 50, "net": 125}, {"net": 125}]


def test_a_family_that_a_blend_has_no_use_for_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    target = np.random.default_rng(0).normal(size=200)
    noise = np.random.default_rng(1).normal(size=(3, 200)) * np.array([[0.1], [0.2], [2.0]])
    found = [
        replace(outcome(name, SMALL, float(k), 1.0), target=target, pred=target + noise[k])
        for k, name in enumerate(["a", "b", "c"])
    ]
    families = {"a": "trees", "b": "network", "c": "formula network"}
    assert [one.name for one in needed(found, families, "mae")] == ["a", "b"]  # type: ignore[arg-type]
    assert [one.name for one in needed(found[2:], families, "mae")] == ["c"]  # type: ignore[arg-type]
    for weights, kept in (([0.04, 0.06, 0.9], "ab"), ([0.9, 0.06, 0.04], "abc")):  # of c, b and a, which leads
        monkeypatch.setattr(planning, "fit_weights", lambda *_, found=weights: found)
        assert "".join(one.name for one in needed(found, families, "mae")) == kept  # type: ignore[arg-type]


def test_time_that_is_left_over_goes_to_a_further_recipe_then_to_other_seeds_of_a_network(data: TaskData) -> None:
    network = next(recipe for recipe in portfolio(look_at(data)) if recipe.family == "network").config
    network = replace(network, seed=7)
    other = replace(network, learner=replace(network.learner, graph=replace(network.learner.graph, l_max=1)))
    found = [outcome("net", network, 0.1, 10.0), outcome("other", other, 0.105, 10.0), outcome("poor", SMALL, 0.3, 0.1)]
    families = {"net": "network", "other": "network", "poor": "trees"}
    parts = [Part("net", "network", network, 100.0)]
    further = one_more(found, families, parts, 10, 1e3)
    assert further and further.name == "other" and one_more(found, families, parts * 8, 10, 1e3) is None
    assert one_more(found, families, parts * 7, 10, 1e3) == further
    most = one_more(found, families, [*parts, further], 10, 1e5)
    assert most and most.config.learner.members == 5 and most.seconds == 5 * 125
    again = one_more(found, families, [*parts, further], 10, 310.0)
    assert again and again.config.seed == 107 and again.config.learner.members == 2 and again.seconds <= 310
    third = one_more(found, families, [*parts, further, again], 10, 150.0)
    assert third and third.config.seed == 207
    shorter = one_more(found, families, parts, 10, 100.0)
    assert shorter and shorter.config.learner.training.n_epochs == 272 and shorter.seconds == 85  # of 400 and 125
    assert one_more(found, families, parts, 10, 73.0) is None  # 62 of 125 seconds
    trees, kinds = [outcome("trees", SMALL, 0.1, 1.0)], {"trees": "trees"}
    seeds = one_more(trees, kinds, [Part("trees", "trees", SMALL, 10.0)], 10, 60.0)  # type: ignore[arg-type]
    assert seeds and len(seeds.config.learner.parts) == 4 and seeds.config.seed == 100


def test_a_network_without_time_for_all_epochs_gets_fewer(data: TaskData) -> None:
    network = next(recipe for recipe in portfolio(look_at(data)) if recipe.family == "network").config
    (part,) = choose([outcome("net", network, 0.1, 10.0)], {"net": "network"}, 10, 100.0)
    assert part.config == shortened(network, 272) and part.seconds == 85
    (part,) = choose([outcome("net", shortened(network, 2), 0.1, 10.0)], {"net": "network"}, 10, 60.0)
    assert part.config == shortened(network, 1)  # 0.8 epochs


@pytest.mark.parametrize(("loss", "other"), [(0.1, 0.11), (-0.9, -0.82), (10.0, 11.0)])
def test_a_loss_is_close_within_a_tenth_of_the_best(loss: float, other: float) -> None:
    best, near, far = (outcome("", SMALL, x, 1.0) for x in (loss, other, other + 0.02))
    assert is_close(near, best) and not is_close(far, best)


def test_variants_change_one_thing_each() -> None:
    look = replace(PLAIN, columns=("x",), decades=2.0)
    recipes = named(look)
    for config in recipes.values():
        assert variants(config, look) and config not in variants(config, look).values()
    network, trees, forest, process = (recipes[name] for name in ("residual, mean", "trees", "forest", "Gaussian process"))
    assert variants(network, look) == {
        name: with_knobs(network, {f"learner.{path}" if path != "target.transform" else path: value})
        for name, path, value in (
            ("epochs x 2", "training.n_epochs", 80),
            ("batches of 16", "training.batch_size", 16),
            ("lengths in Angstrom", "graph.radius_exponent", 0.0),
            ("degree 1", "graph.l_max", 1),
            ("readout attention", "network.readout", "attention"),
            ("readout max", "network.readout", "max"),
            ("with columns", "global_features", ("columns",)),
            ("transform log", "target.transform", "log"),
        )
    }
    assert variants(network, PLAIN).keys() == variants(network, look).keys() - {"with columns", "transform log"}
    slow = with_knobs(trees, {"learner.n_trees": 6000, "learner.learning_rate": 0.015})
    leaves = {f"{n} leaves": with_knobs(trees, {"learner.num_leaves": n}) for n in (7, 31)}
    assert variants(trees, look) == {"trees x 2, slower": slow} | leaves
    assert "trees x 2, slower" not in variants(slow, look)
    forests = [{"max_features": 0.1}, {"max_features": 1.0}, {"objective": "l2"}]
    assert [config.learner for config in variants(forest, look).values()] == [replace(forest.learner, **one) for one in forests]
    squared = replace(forest, learner=replace(forest.learner, objective="l2"))
    assert variants(squared, look)["absolute errors"] == forest
    groups = [set(process.learner.features) - set(config.learner.features) for config in variants(process, look).values()]
    assert groups == [{name} for name in process.learner.features]
    plain = variants(with_knobs(network, {"learner.graph.radius_exponent": 0.0, "learner.graph.l_max": 1}), PLAIN)
    assert plain["lengths by radii"].learner.graph.radius_exponent == 0.5 and "degree 1" not in plain
    several = [with_knobs(process, {"learner.features": ("fractions", "magpie")[:n]}) for n in (1, 2)]
    assert [len(variants(config, look)) for config in several] == [0, 2]


FAMILIES = {"n": "network", "t": "trees", "f": "forest", "g": "Gaussian process", "r": "formula network"}
LOSSES = {"n0": 0.1, "t0": 0.11, "t1": 0.12, "t2": 0.125, "f0": 0.1205, "f1": 0.135, "g0": 0.14, "g1": 0.145, "r0": 0.15}
LOSSES |= {"r1": 0.151, "r2": 0.152, "r3": 0.153, "n1": 0.16, "n2": 0.17, "n3": 0.18, "n4": np.inf}


class Staged:
    """A race of trials that have these losses; networks take 10 seconds, others one."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked = folder, list[tuple[str, dict[str, int], int, float]]()

    def run(self, rung: str, configs: dict[str, ExperimentConfig], n_splits: int, seconds: float) -> list[Outcome]:
        self.asked.append((rung, {name: epochs_of(config) for name, config in configs.items()}, n_splits, seconds))
        found = [outcome(name, config, LOSSES[name], 10.0 if name[0] == "n" else 1.0) for name, config in configs.items()]
        return sorted(found, key=lambda one: one.loss)

    def shorter(self, short: list[Outcome], whole: list[Outcome]) -> list[Outcome]:
        return whole


MOST = {"n0": 18, "n1": 18, "n2": 18, "t0": 1, "t1": 1, "f0": 1, "g0": 1, "r0": 40}  # the epochs of those that go on
FEWER = {name: n for name, n in MOST.items() if name != "n2"}


@pytest.mark.parametrize(
    ("facts", "at_once", "until", "kept", "seconds"),
    [
        ({}, 1, 720.0, MOST, 120.0),  # which is what they take
        ({}, 1, 719.0, FEWER, 119.0),
        ({}, 1, 590.0, {"n0": 18, "t0": 1}, 0.0),  # the two best always
        ({"n_train": 999}, 2, 475.0, FEWER, 175.0),  # on three splits they take 360 seconds of 350
        ({"has_structure": False}, 1, 1000.0, {"t0": 1, "t1": 1, "f0": 1, "g0": 1, "r0": 40, "r1": 40, "r2": 40}, 400.0),
    ],
)
def test_the_best_of_each_family_go_on_with_the_epochs_that_there_is_time_for(
    facts: dict, at_once: int, until: float, kept: dict, seconds: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look, race, improved, said = replace(PLAIN, **facts), Staged(tmp_path), list[str](), list[str]()
    recipes = [NETWORK._replace(name=name, family=FAMILIES[name[0]]) for name in LOSSES]  # type: ignore[arg-type]
    recipes = [one if one.name[0] in "nr" else one._replace(config=SMALL) for one in recipes]
    for name, stub in (
        ("prepare", lambda configs, *_: configs),
        ("InnerSplits", SimpleNamespace(of=lambda *_: None)),
        ("Race", lambda *_: race),
    ):
        monkeypatch.setattr(piloting, name, stub)

    def improve(self: Pilot, race: Race, best: Outcome, look: Look, end: float) -> Outcome:
        improved.append(best.name)
        assert end == 600
        return replace(best, name="t0; x", loss=0.105) if best.name == "t0" else best

    monkeypatch.setattr(piloting, "portfolio", lambda look: recipes)
    monkeypatch.setattr(piloting, "needed", lambda outcomes, families, metric: outcomes)
    monkeypatch.setattr(Pilot, "_improve", improve)
    monkeypatch.setattr(Pilot, "_say", lambda self, what: said.append(what))
    data: Any = SimpleNamespace(task=SimpleNamespace(metric="mae"))
    clock: Any = SimpleNamespace(used=0.0, seconds=1000.0)
    pilot = Pilot(data, tmp_path, Launcher("local", at_once), "cpu", clock, {"until": until})
    found, families = pilot.race(look, Plan(recipes, {}, {}, first_epochs=5, core_seconds=1000.0))
    first, second = race.asked
    assert first == ("first rung", {name: 5 if name[0] in "nr" else 1 for name in LOSSES}, look.n_splits, seconds)
    assert second == ("second rung", kept, look.n_splits, seconds)
    assert said == ["features and graphs", "race, first rung", "race, second rung"]
    assert improved == (["n0", "t0"] if look.has_structure else ["t0", "f0"])  # those close to the best
    others, losses = set(LOSSES) - set(kept) - {"n4"}, LOSSES | {"t0; x": 0.105}
    assert [one.name for one in found] == [one for part in ({*kept, "t0; x"}, others) for one in sorted(part, key=losses.get)]
    last = next(one for one in found if one.name == "n3")
    assert (epochs_of(last.config), last.wall) == (18, 36.0) and families == {name: FAMILIES[name[0]] for name in losses}


def test_variants_are_tried_one_after_the_other_while_there_is_time_beside_three_members(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[list[str], int, float]] = []
    said: list[str] = []

    def run(rung: str, configs: dict[str, ExperimentConfig], n_splits: int, seconds: float) -> list[Outcome]:
        asked.append((list(configs), n_splits, seconds))
        return [outcome(name, config, 0.1 if name == next(iter(configs)) else 0.5, 2.0) for name, config in configs.items()]

    monkeypatch.setattr(Pilot, "_say", lambda self, what: said.append(what))
    race: Any = SimpleNamespace(run=run, better=lambda best, other: other.loss < best.loss - 0.15)
    clock: Any = SimpleNamespace(used=10.0, seconds=600.0)
    pilot = Pilot(None, tmp_path, Launcher("local", 2), "cpu", clock, {"until": 75.0})  # type: ignore[arg-type]
    best, look = outcome("net", NETWORK.config, 0.3, 2.0), replace(PLAIN, n_train=999)
    found = pilot._improve(race, best, look, end=20.0)
    tried = ["epochs x 2", "batches of 16", "lengths in Angstrom", "degree 1"]  # 8.4 s each; 88.2 of 130 s are for the members
    assert asked[0] == ([f"net; {name}" for name in tried], 3, 55.0) and said[0] == "race, variants of net"
    assert found.name == "net; epochs x 2" and asked[1][0] == [f"{found.name}; {name}" for name in tried] and len(asked) == 2
    pilot._improve(race, best, look, end=112.0)
    assert asked[2][0] == asked[0][0][:2]
    late = replace(pilot, kept={"until": 40.0})  # 60 seconds are too few for the members alone
    assert late._improve(race, best, look, end=10.0) is best and len(asked) == 4
    assert replace(pilot, kept={"until": 9.0}).left == 0


def test_further_parts_follow_the_last_one_until_there_is_none_and_a_blend_is_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts, further = [Part(name, "trees", SMALL, 1.0) for name in "abcd"], [2, 3, None]
    asked, trained, said, blends, data = list[Any](), list[Any](), list[str](), list[Any](), object()
    numbers = {"a": "901", "b": "902", "c": "903", "d": "904", "blend of 901, 903, 904": "905"}

    def one_more(outcomes: list, families: dict, parts_now: list[Part], n_folds: int, seconds: float) -> Part | None:
        asked.append((outcomes, families, "".join(part.name for part in parts_now), n_folds, seconds))
        return None if (k := further[len(asked) - 1]) is None else parts[k]

    monkeypatch.setattr(piloting, "choose", lambda *given: parts[:2] if given == ([], {}, 10, 50.0) else [])
    monkeypatch.setattr(piloting, "one_more", one_more)
    monkeypatch.setattr(piloting, "run_experiment", lambda *given: blends.append(given))
    monkeypatch.setattr(Pilot, "_say", lambda self, what: said.append(what))
    monkeypatch.setattr(Pilot, "_experiment", lambda self, name, config: numbers[name])
    monkeypatch.setattr(
        Pilot, "_train", lambda self, number, part, is_needed: trained.append((number, part.name, is_needed)) or number != "902"
    )
    clock: Any = SimpleNamespace(used=50.0, seconds=600.0)
    pilot = Pilot(data, tmp_path, HERE, "cpu", clock, {"until": 100.0})  # type: ignore[arg-type]
    assert pilot.finish([], {}, PLAIN) == ["901", "903", "904", "905"]  # the second failed
    assert trained == [("901", "a", True), ("902", "b", False), ("903", "c", False), ("904", "d", False)]
    assert asked == [([], {}, names, 10, 50.0) for names in ("ab", "abc", "abcd")]
    assert said == [f"all folds of {name}" for name in "abcd"]
    assert [one["name"] for one in json.loads((tmp_path / "record.json").read_text())["parts"]] == list("abcd")
    blend = ExperimentConfig(BlendConfig(("901", "903", "904")), PLAIN.folds)
    assert blends == [(blend, "exp905", data, None, HERE, "cpu")]
    monkeypatch.setattr(Pilot, "_train", lambda *_, is_needed: False)
    asked.clear()
    further[0] = None
    with pytest.raises(FloatingPointError, match="a, b, c, d failed"):
        pilot.finish([], {}, PLAIN)


def test_targets_share_a_budget_and_the_last_experiment_of_each_is_submitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, list] = {name: [] for name in ("read_sample", "check_targets", "submit", "write_page", "of")}
    plan = Plan([], {}, {}, 1, 1.0)

    def load_task_data(folder: Path, outputs: Path, skip: bool, n_jobs: int, target: str) -> Any:
        return SimpleNamespace(name=target, train=SimpleNamespace(ids=np.array(["1"]), targets=[target]))

    def of(data: Any, launcher: Launcher, device: str, clock: Clock, n_targets: int, costs: dict) -> Any:
        seen["of"].append((data.name, clock.seconds, n_targets))
        race = SimpleNamespace(history=lambda: ["trial"])
        steps = {"look": lambda: (PLAIN, plan), "races": lambda look: race}
        steps |= {"race": lambda look, plan: ([], {}), "finish": lambda found, families, look: ["901", "902", "903"]}
        return SimpleNamespace(**steps)

    for name in ("read_sample", "check_targets", "submit", "write_page"):
        monkeypatch.setattr(piloting, name, lambda *given, name=name: seen[name].append(given) or "submitted")
    monkeypatch.setattr(piloting, "load_task_data", load_task_data)
    monkeypatch.setattr(piloting, "sections_of", lambda data, *others: (data.name, *others))
    monkeypatch.setattr(piloting.log, "info", lambda *_: None)
    monkeypatch.setattr(Pilot, "of", of)
    tasks: list[Any] = [
        SimpleNamespace(name="t", has_test=True, folder=tmp_path, target_column=one, metric="mae", path=str) for one in "xy"
    ]
    flown = piloting.fly(tasks, tmp_path, 5, False, HERE, "cpu", False)
    submitted = {"x": ["903"], "y": ["903"]}
    assert flown.submitted == submitted and flown.text.startswith("submitted\n") and flown.text.endswith(" of 5 minutes")
    assert 0 < flown.seconds < 300 and seen["of"] == [("x", 300, 2), ("y", 300, 1)]
    assert seen["read_sample"] == [(tasks,)] and seen["submit"] == [(tasks, tmp_path, submitted, "mean", None, None)]
    assert seen["check_targets"] == [("mae", "train", ["1"], [one]) for one in "xy"]
    pages = [(one, PLAIN, plan, ["trial"], ["901", "902", "903"]) for one in "xy"]
    assert seen["write_page"] == [(tmp_path / "t" / "auto.html", tasks, pages)]
    tasks[0].has_test = False
    assert piloting.fly(tasks, tmp_path, 5, False, HERE, "cpu", False).text.startswith("no test table")
    assert len(seen["read_sample"]) == len(seen["submit"]) == 1


def test_the_clock_counts_earlier_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(clocks, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    monkeypatch.setattr(clocks, "BEAT", 0.01)
    path = tmp_path / "clock.json"
    with Clock(path, 100.0).running() as clock:
        assert (clock.used, clock.left) == (0, 100)
        now.seconds = 1007.0
        end = time.monotonic() + 5
        while not path.is_file() and time.monotonic() < end:
            time.sleep(0.01)
        assert path.is_file()  # for a start that is killed
        now.seconds = 1009.0
    clock = Clock(path, 100.0)
    now.seconds = 1010.0
    assert (clock.used, clock.left) == (10, 90)
    now.seconds = 2000.0
    assert clock.left == 0


def test_a_target_keeps_its_share_of_a_budget_when_the_command_starts_again(tmp_path: Path) -> None:
    def shares(used: float, budget: float, key: str = "key", n_rows: int = 0) -> list[float]:
        (tmp_path / "clock.json").write_text(json.dumps({"used": used}))
        clock, rows = Clock(tmp_path / "clock.json", budget), SimpleNamespace(ids=[""] * n_rows)
        task, found = SimpleNamespace(name="t", columns=ColumnNames((), ())), []
        for n in (2, 1):
            data: Any = SimpleNamespace(folder=tmp_path / f"{n}", outputs=tmp_path, key=key, task=task, train=rows, test=rows)
            found.append(Pilot.of(data, HERE, "cpu", clock, n, {}))
            found[-1].keep()
        return [pilot.kept["until"] for pilot in found]

    assert shares(0.0, 100.0) == pytest.approx([50, 100], abs=0.1)
    assert shares(40.0, 100.0) == pytest.approx([50, 100], abs=0.1)
    assert shares(40.0, 200.0) == pytest.approx([120, 200], abs=0.1)
    assert shares(0.0, 300.0, n_rows=500) == pytest.approx([149, 298], abs=0.1)  # 2 s for the submission and the page
    assert shares(0.0, 400.0, n_rows=90_000) == pytest.approx([180, 360], abs=0.1)
    with pytest.raises(ValueError, match="other tables or columns: to start over, remove"):
        shares(0.0, 400.0, key="new")


def test_each_recipe_is_timed_once_for_any_number_of_folds_and_none_after_a_quarter_of_the_budget(
    data: TaskData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed: list[ExperimentConfig] = []
    monkeypatch.setattr(piloting, "portfolio", lambda look: [NETWORK, *few(look)][: 2 if look.n_folds == 10 else 3])
    monkeypatch.setattr(piloting, "folds_within", lambda *_: 5)
    levels: set[int] = set()
    monkeypatch.setattr(piloting, "measure", lambda config, *_: timed.append(config) or levels.add(LOG.level) or Cost(0.0, 1e-6))

    def left_out(used: float, budget: float) -> dict[str, str]:
        (tmp_path / "clock.json").write_text(json.dumps({"used": used}))
        return Pilot.of(data, HERE, "cpu", Clock(tmp_path / "clock.json", budget), 1, {}).look()[1].left_out

    assert left_out(16.0, 60.0) == dict.fromkeys([NETWORK.name, "large"], "no time to time it") and timed == [SMALL]
    assert left_out(14.0, 60.0) == left_out(14.0, 70.0) == {} and timed == [SMALL, NETWORK.config, LARGE]
    assert (levels, LOG.level) == ({logging.WARNING}, logging.DEBUG)
    monkeypatch.setattr(piloting, "measure", lambda config, *_: Cost(0.0, 1.0) if config == SMALL else [][0])
    clock: Any = SimpleNamespace(used=0.0, seconds=60.0)
    with pytest.raises(IndexError):
        Pilot(data, tmp_path, HERE, "cpu", clock, {"costs": {}}).costs_of(few(PLAIN))
    assert list(json.loads((tmp_path / "record.json").read_text())["costs"]) == [cost_key(SMALL)]  # written at once


def test_without_time_for_a_trial_the_cheapest_recipe_is_trained(
    data: TaskData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look, costs = look_at(data), {"small": Cost(0.0, 2e-3), "large": Cost(0.0, 1e-3), "free": Cost(0.0, 0.0)}
    recipes = [*few(look), Recipe("free", "trees", SMALL, "without inputs")]
    pilot = Pilot(data, tmp_path, HERE, "cpu", Clock(tmp_path / "clock.json", 60.0), {"until": 0.0})
    for ready, name, config, each in (
        ({"small": SMALL, "large": LARGE}, "large", LARGE, 1e-3),
        ({"small": SMALL}, "small", SMALL, 2e-3),
    ):
        monkeypatch.setattr(piloting, "prepare", lambda *_, ready=ready: dict(ready))
        outcomes, families = pilot.race(look, Plan(recipes, costs, {}, 1, 100.0))
        (part,) = choose(outcomes, families, 5, 100.0)
        assert (part.name, part.config, part.seconds) == (name, config, pytest.approx(each * 0.72 * 40 * 5 * 1.25))
        assert one_more(outcomes, families, [part], 5, 1e3) is None
    assert "no time for a trial" in summary._race(pilot.races(look).history(), data)
    more = replace(look, n_train=60)  # then there are ten folds, whose rows are others
    assert pilot.races(more).folder != pilot.races(look).folder


def test_an_outcome_is_of_all_splits_and_trials_are_told_in_the_order_in_which_they_ended(tmp_path: Path) -> None:
    target, pred, wall = {0: np.array([1.0, 2.0]), 1: np.array([4.0])}, {0: [1.5, 2.5], 1: [5.0]}, {0: 1.0, 1: 3.0}
    splits: Any = SimpleNamespace(data=SimpleNamespace(task=SimpleNamespace(metric="mape")), target=target.__getitem__)
    race, about = Race(splits, tmp_path, HERE, "cpu"), {"rung": "r", "name": "small", "epochs": 1}
    order = sorted((0, 1), key=lambda split: Trial("r", "small", SMALL, split).key, reverse=True)
    for end, k in enumerate(order):
        path = race._result(Trial("rung", "small", SMALL, k))
        write_json(path, about | {"split": k, "pred": pred[k], "wall": wall[k], "cpu": 2 * wall[k]})
        os.utime(path, (end, end))
    (found,) = race.run("rung", {"small": SMALL}, 2, 60.0)
    assert (found.target.tolist(), found.pred.tolist()) == ([1.0, 2.0, 4.0], [1.5, 2.5, 5.0])
    assert (found.loss, found.wall, found.cpu) == (pytest.approx(1 / 3), 2.0, 4.0)
    assert [(row["split"], row["loss"]) for row in race.history()] == [(k, pytest.approx((0.375, 0.25)[k])) for k in order]
    write_json(path, about | {"split": k, "pred": None, "wall": 1.0, "cpu": 1.0})  # diverged
    assert race.run("rung", {"small": SMALL}, 2, 60.0)[0].loss == np.inf == max(row["loss"] for row in race.history())


def test_a_trial_is_written_with_its_predictions_and_seconds_unless_it_is_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, called, limited = SimpleNamespace(wall=1000.0, cpu=500.0, time=50.0, late=0.0), list[tuple](), list[Any]()

    def predict(*given: Any) -> np.ndarray:
        called.append(given[:-1])
        now.wall, now.cpu, now.time = now.wall + 7, now.cpu + 3, now.time + now.late
        given[-1](0.1)
        return np.array([1.5])

    clock = {"perf_counter": lambda: now.wall, "process_time": lambda: now.cpu, "time": lambda: now.time}
    monkeypatch.setattr(racing, "time", SimpleNamespace(**clock))
    monkeypatch.setattr(racing, "make_learner", lambda config: SimpleNamespace(limit_threads=lambda: limited.append(config)))
    monkeypatch.setattr(racing, "device_of", lambda device, k: f"{device}:{k}")
    race = Race(SimpleNamespace(predict=predict), tmp_path, HERE, "cuda")  # type: ignore[arg-type]
    trials = [Trial("r", "small", SMALL, 0), Trial("r", "large", LARGE, 1)]
    race.train(trials, tmp_path, 50.0, 1)  # ends in time
    found = json.loads(race._result(trials[1]).read_text())
    about = {"rung": "r", "name": "large", "split": 1, "epochs": 1, "pred": [1.5], "failed": ""}
    assert found == about | {"wall": 7.0, "cpu": 3.0} and limited == [LARGE.learner]
    assert called == [(LARGE, 1, tmp_path / trials[1].key, "cuda:1")]
    now.late = 1.0
    for n_called in (2, 2):  # while it is trained, and before it begins
        race.train(trials, tmp_path, 50.0, 0)
        assert race._late(trials[0]).is_file() and not race._result(trials[0]).is_file() and len(called) == n_called
        race._late(trials[0]).unlink()


def test_a_race_says_which_trials_have_ended_and_where_their_histories_grow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = {"net": NETWORK.config, "small": SMALL}
    trials = [Trial("rung", name, config, split) for name, config in configs.items() for split in (0, 1)]
    task = SimpleNamespace(metric="mae")
    race = Race(SimpleNamespace(target=lambda k: np.zeros(1), data=SimpleNamespace(task=task)), tmp_path, HERE, "cpu")  # type: ignore[arg-type]
    write_json(race._result(trials[0]), {"pred": None, "wall": 1.0, "cpu": 1.0})

    def run_all(rung: str, work: object, to_do: list[int], ended: Callable, growing: dict, launcher: Launcher) -> None:
        (place,) = {path.parents[1] for path in growing}
        assert place.parent == tmp_path and (rung, to_do, launcher) == ("rung", [1, 2, 3], HERE)
        assert growing == {place / trials[k].key / "history.csv": 40 if k == 1 else 1 for k in to_do}
        write_json(race._result(trials[1]), {"name": "net", "failed": "", "pred": None, "wall": 1.0, "cpu": 1.0})
        race._late(trials[2]).touch()
        assert [ended(k) for k in to_do] == [True, True, False]

    monkeypatch.setattr(racing, "run_all", run_all)
    found = race.run("rung", configs, 2, 60.0)
    assert [(one.loss, one.wall) for one in found] == [(np.inf, 1.0), (np.inf, np.inf)]


def test_a_trial_that_is_late_is_stopped_and_trained_again_when_there_is_time(data: TaskData, tmp_path: Path) -> None:
    race = Race(InnerSplits.of(data, FOLDS, FOLDS), tmp_path, HERE, "cpu")
    (late,) = race.run("rung", {"small": SMALL}, 1, seconds=-1.0)
    assert late.loss == np.inf
    before = time.process_time()
    (done,) = race.run("rung", {"small": SMALL}, 1, seconds=60.0)
    assert np.isfinite(done.loss) and 0 < done.cpu <= time.process_time() - before


def test_a_short_training_is_kept_unless_the_whole_one_is_better_by_more_than_chance(
    data: TaskData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    target, error = rng.normal(size=(2, 300))
    short, alike, better = (
        replace(outcome("net", SMALL, float(np.abs(one).mean()), 1.0), target=target, pred=target + one)
        for one in (error, 0.99 * rng.permutation(error), 0.5 * rng.permutation(error))
    )
    race = Race(InnerSplits.of(data, FOLDS, FOLDS), tmp_path, HERE, "cpu")
    assert race.shorter([short], [alike]) == [short] and race.shorter([short], [better]) == [better]
    assert race.shorter([replace(short, name="other")], [alike]) == [alike]
    stopped = replace(alike, loss=np.inf)
    assert race.shorter([short], [stopped]) == [stopped]
    assert [race.better(*pair) for pair in ((stopped, short), (short, stopped), (stopped, stopped))] == [True, False, False]
    monkeypatch.setattr(racing, "score_difference", lambda *_: (1.0, -1.0, 3.0))
    losses = [race.better(replace(short, loss=5.0), replace(short, loss=loss)) for loss in (4.01, 4.0, 3.99)]
    assert losses == [False, False, True]  # a quarter of four


def poisoned(data: TaskData, folds: FoldConfig) -> TaskData:
    """Return the data with other targets in the outer fold, but for the least of all, which a logarithm depends on."""
    other = (load_folds(data, folds) == OUTER_FOLD) & (data.train.targets > data.train.targets.min())
    return replace(data, train=replace(data.train, target=data.train.targets + 100.0 * other))


def flown(data: TaskData, folder: Path) -> tuple[Look, list[Outcome]]:
    """Return what the autopilot sees and how its race ends, with costs that are always the same."""
    folder.mkdir()
    look = look_at(data)
    costs = {cost_key(recipe.config): Cost(1e-4, 1e-6) for recipe in few(look)}
    kept = {"costs": costs, "until": 1000.0, "core_seconds": 100.0, "n_folds": look.n_folds}
    pilot = Pilot(data, folder, HERE, "cpu", Clock(folder / "clock.json", 1000.0), kept)
    outcomes, _ = pilot.race(*pilot.look())
    return look, outcomes


def test_the_outer_fold_has_no_say_in_any_choice(data: TaskData, experiments: Path, tmp_path: Path) -> None:
    load_folds(data, look_at(data).folds)  # written, so that poisoned targets do not change them
    load_folds(data, FOLDS)
    (look, own), (other_look, other) = (
        flown(one, tmp_path / name) for name, one in {"a": data, "b": poisoned(data, look_at(data).folds)}.items()
    )
    assert look == other_look
    assert [(one.name, one.config, one.loss) for one in own] == [(one.name, one.config, one.loss) for one in other]
    elsewhere = replace(data, train=replace(data.train, target=data.train.targets * (1 + (load_folds(data, FOLDS) == 1))))
    assert [one.loss for one in flown(elsewhere, tmp_path / "c")[1]] != [one.loss for one in own]  # the law can fail


@pytest.fixture
def fly(experiments: Path, where: list[str], outputs: Path) -> Callable[..., Path]:
    def run(*arguments: str) -> Path:
        auto.main([*where, "--jobs", "1", *arguments])
        return outputs / "small"

    return run


def test_from_tables_to_a_submission_a_page_and_experiments_that_train_the_same_again(
    fly: Callable[..., Path], experiments: Path, task_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fly("--minutes", "5")
    sample = pd.read_csv(task_folder / "sample_submission.csv", dtype={"id": str})
    submission = pd.read_csv(folder / "submission.csv", dtype={"id": str})
    assert list(submission["id"]) == list(sample["id"]) and np.isfinite(submission.iloc[:, 1]).all()
    assert "<h2>The race</h2>" in (folder / "auto.html").read_text()
    numbers = sorted(path.name for path in experiments.glob("exp*") if path.name != "exp094")
    assert len(numbers) >= 1 and all((folder / name / "oof.csv").is_file() for name in numbers)
    record = json.loads((folder / "auto" / "record.json").read_text())
    assert len({part["name"] for part in record["parts"]}) == len(record["parts"]) and record["look"]["n_train"] == 40
    texts = {path: path.read_text() for path in folder.glob("exp*/oof.csv")}

    def trained_again(*_: object, **__: object) -> None:
        raise AssertionError("nothing is left to train")

    monkeypatch.setattr("src.auto.race.Race.train", trained_again)
    fly("--minutes", "5")
    assert {path: path.read_text() for path in folder.glob("exp*/oof.csv")} == texts
    assert sorted(path.name for path in experiments.glob("exp*") if path.name != "exp094") == numbers


def test_the_page_of_a_race_has_a_point_and_a_row_for_each_recipe_after_a_rung(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: dict[str, Any] = {}
    monkeypatch.setattr(summary, "scatter", lambda *given: shown.update(picture=given) or "picture")
    monkeypatch.setattr(summary, "html_table", lambda rows, searchable: shown.update(rows=rows, searchable=searchable) or "rows")
    kinds = [
        ("first", "a", 5, 0, 0.5, 10.0),
        ("first", "a", 5, 1, 0.3, 11.0),
        ("first", "b", 1, 0, 0.2, 5.0),
        ("first", "a", 9, 0, 0.6, 4.0),  # of a later start, with more minutes
        ("second", "a", 9, 0, np.inf, 1.0),
    ]
    trials = [dict(zip(("rung", "name", "epochs", "split", "loss", "cpu"), one, strict=True)) for one in kinds]
    data: Any = SimpleNamespace(task=SimpleNamespace(metric="mae", unit="eV"))
    text = summary._race(trials, data)
    assert "hover over it" in text and text.endswith("picturerows") and shown["searchable"]
    rows = [tuple(row[name] for name in ("recipe", "rung", "epochs", "splits", "CPU s")) for row in shown["rows"]]
    assert rows[:2] == [("b", "first", "1", "1", "5.0"), ("a", "first", "5", "2", "21.0")]
    assert rows[2:] == [("a", "first", "9", "1", "4.0"), ("a", "second", "9", "1", "1.0")]
    spent, scores, texts, _, rungs, logarithmic = shown["picture"]
    assert (spent.tolist(), scores[""].tolist(), rungs) == ([26.0, 21.0, 30.0], pytest.approx([0.2, 0.4, 0.6]), ["first"] * 3)
    assert texts == ["b\nfirst", "a\nfirst", "a\nfirst"] and logarithmic == (False, True)
    for other, metric in (
        ({"loss": 0.0}, "mae"),
        ({"loss": -0.5}, "roc_auc"),
    ):  # no logarithm of zero, nor of what should be large
        data.task.metric = metric
        summary._race([*(trials if metric == "mae" else []), trials[0] | {"name": "c"} | other], data)
        assert shown["picture"][-1] == (False, False)


def test_the_page_of_a_target_tells_what_was_seen_and_why_recipes_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = SimpleNamespace(name="t", target_column="gap", targets=("gap", "energy"))
    data: Any = SimpleNamespace(task=task, outputs="outputs")
    stubs: dict[str, Callable] = {
        "find_predictions": lambda number, task, outputs: f"{number} in {outputs}",
        "report_sections": lambda data, experiments: [("Short", f"{experiments}"), ("Rest", "")],
        "_expected": lambda submitted, data: f" expect {submitted}",
        "_race": lambda trials, data: trials,
        "note": str,
        "html_table": lambda rows: rows,
        "title_of": lambda task: f"title of {task.name}",
        "page": lambda title, sections: f"{title} {sections}",
    }
    for name, stub in stubs.items():
        monkeypatch.setattr(summary, name, stub)
    plan = Plan(few(LOOK)[:1], {}, {"large": "slow"}, 1, 1.0)
    first, (_, facts), (_, recipes), race, _ = summary.sections_of(data, LOOK, plan, [{"name": "a"}], ["901", "902", "903"])
    experiments = [f"{number} in outputs" for number in (901, 902, 903)]
    assert first == ("gap: Short", f"{experiments} expect 903 in outputs") and race == ("gap: The race", [{"name": "a"}])
    assert facts[2] == {"what": "duplicates", "found": "2.0% of the training rows"}  # type: ignore[comparison-overlap]
    assert [tuple(one.values()) for one in recipes] == [("small", "fast"), ("large", "left out: slow")]  # type: ignore[attr-defined]
    task.targets = ("gap",)
    assert next(heading for heading, _ in summary.sections_of(data, LOOK, plan, [], ["901"])) == "Short"
    others: list[Any] = [task, SimpleNamespace(name="u")]
    for n, title in ((1, "title of t"), (2, "t")):
        summary.write_page(tmp_path / "page", others[:n], [["a"], ["b"]])  # type: ignore[list-item]
        assert (tmp_path / "page").read_text() == f"{title} ['a', 'b']"


def test_a_dry_run_prints_the_plan_and_trains_nothing(
    fly: Callable[..., Path], experiments: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = fly("--minutes", "5", "--dry-run")
    printed = capsys.readouterr()
    assert "small" in printed.err and "nothing was trained" in printed.out
    assert [path.name for path in experiments.iterdir()] == ["exp094"] and not list(folder.glob("exp*"))


def test_a_start_that_could_not_end_well_is_refused(fly: Callable[..., Path], task_folder: Path, outputs: Path) -> None:
    def refused(match: str) -> None:
        with pytest.raises(SystemExit, match=match):
            fly("--minutes", "5", "--dry-run")

    fly("--minutes", "5", "--dry-run")
    with locked(outputs / "small" / "auto" / ".lock", "held"):
        refused("small already: wait for it")
    table, sample = task_folder / "train.csv.gz", task_folder / "sample_submission.csv"
    pd.read_csv(table)[1:].to_csv(table, index=False)
    refused("other tables or columns")
    pd.read_csv(sample).rename(columns={"id": "number"}).to_csv(sample, index=False)
    refused("expected the columns 'id'")


def test_a_config_is_written_as_it_is_read(tmp_path: Path, data: TaskData) -> None:
    for i, recipe in enumerate(portfolio(look_at(data))):
        folder = tmp_path / f"exp{i:03d}"
        folder.mkdir()
        (folder / "config.py").write_text(config_source("Why?", recipe.config))
        assert load_config(folder) == recipe.config


def test_a_test_row_that_cannot_be_read_is_predicted_from_its_formula_or_by_the_median(
    fly: Callable[..., Path], task_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = task_folder / "test.csv.gz"
    table = pd.read_csv(path)
    table["cif"] = table["cif"].astype(object)
    table.loc[1, "cif"], table.loc[2, "cif"] = "no structure", "nor here"
    counts = table.columns.intersection(list(small_table(1).columns)).difference(["id", "cif", "nsites"])
    table[counts] = table[counts].astype(object)
    table.loc[2, counts] = 0
    table.to_csv(path, index=False)
    folder = fly("--minutes", "5")
    found = pd.read_csv(folder / "submission_with_uncertainty.csv")
    assert found.iloc[:, 1:4].notna().all().all() and (found["lower"] <= found["upper"]).all()
    remarks = found["remark"].fillna("")
    assert "formula alone" in remarks[1] and "median" in remarks[2] and (remarks.drop([1, 2]) == "").all()
    median = load(task_folder).train.targets
    assert found.iloc[2, 1] == pytest.approx(np.median(median)) and found.iloc[1, 1] != found.iloc[2, 1]
    assert "2 test rows cannot be read" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("until", "at_once", "is_needed", "each", "expected"),
    [
        (909.0, 1, False, 200.0, []),  # 1000 seconds are expected, and a tenth more than 909 is less
        (910.0, 1, False, 200.0, [[0]]),  # then 800 are, and there are 710
        (910.0, 1, True, 200.0, [[0], [1], [2], [3], [4], None]),
        (2001.0, 1, False, 200.0, [[0, 1, 2, 3, 4], None]),
        (1500.0, 1, False, 100.0, [[0], [1, 2, 3, 4], None]),  # faster than expected
        (600.0, 2, False, 200.0, [[0, 1], [2, 3], [4], None]),
    ],
)
def test_folds_are_trained_while_there_is_time_for_all_of_them(
    until: float, at_once: int, is_needed: bool, each: float, expected: list, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock: Any = SimpleNamespace(used=1000.0, seconds=until)
    called: list[list[int] | None] = []

    def run(config: ExperimentConfig, name: str, data: TaskData, folds: list[int] | None, *_: object) -> None:
        called.append(folds)
        clock.used += each * -(-len(folds or []) // at_once)

    def is_finished(k: int) -> bool:
        return any(k in folds for folds in called if folds)

    monkeypatch.setattr(piloting, "run_experiment", run)
    runs = {tmp_path / "exp123": SimpleNamespace(is_finished=is_finished)}
    monkeypatch.setattr(piloting, "RunDir", runs.__getitem__)
    data: Any = SimpleNamespace(n_folds=lambda folds: 5, folder=tmp_path)
    pilot = Pilot(data, tmp_path, Launcher("local", at_once), "cpu", clock, {"until": 1000.0 + until})
    assert pilot._train("123", Part("small", "trees", SMALL, 1000.0), is_needed) == (None in expected)
    assert called == expected


@pytest.mark.parametrize("error", [FloatingPointError, ValueError])
def test_a_part_that_fails_is_left_out(
    error: type[Exception], data: TaskData, experiments: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = [Part("small", "trees", SMALL, 1.0), Part("large", "trees", LARGE, 1.0)]  # chosen already
    kept = {"until": 2000.0, "parts": [{**part._asdict(), "config": to_dict(part.config)} for part in parts]}
    pilot = Pilot(data, data.folder / "auto", HERE, "cpu", Clock(tmp_path / "clock.json", 2000.0), kept)
    monkeypatch.setattr(piloting, "run_experiment", failing(piloting.run_experiment, lambda config, *_: config == LARGE, error))
    assert len(pilot.finish([], {}, look_at(data))) == 1


def failing(function: Callable, fails: Callable[..., bool], error: type[Exception] = ValueError) -> Callable:
    """Return a function that raises the error for some arguments."""

    def run(*arguments: Any, **named: Any) -> Any:
        if fails(*arguments):
            raise error("no such atom")
        return function(*arguments, **named)

    return run


STAGES: dict[str, tuple[Any, str, Callable[..., bool]]] = {
    "timing": (piloting, "measure", lambda config, *_: config == LARGE),
    "inputs": (GbdtLearner, "prepare_inputs", lambda self, _, key, cache, *n: cache and self.config == LARGE.learner),
    "trial": (GbdtLearner, "fit", lambda self, *_: self.config == LARGE.learner),
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_recipe_that_cannot_be_trained_is_left_out_and_said_with_its_reason(
    stage: str, fly: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    place, name, fails = STAGES[stage]
    monkeypatch.setattr(place, name, failing(getattr(place, name), fails))
    folder = fly("--minutes", "5")
    assert "large is left out: no such atom" in (folder / "auto" / "log.txt").read_text()
    parts = json.loads((folder / "auto" / "record.json").read_text())["parts"]
    assert parts and {part["name"].partition(";")[0] for part in parts} == {"small"}


@pytest.mark.parametrize("stage", ["timing", "inputs"])
def test_if_no_recipe_can_be_trained_the_reason_ends_the_command(
    stage: str, fly: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place, name, _ = STAGES[stage]
    monkeypatch.setattr(place, name, failing(getattr(place, name), lambda *args: stage == "timing" or args[3]))
    with pytest.raises(SystemExit):
        fly("--minutes", "5")
    assert "no such atom" in capsys.readouterr().err
