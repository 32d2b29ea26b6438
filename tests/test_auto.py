"""The autopilot: what it sees, what it chooses, and that no scored fold has a say in it."""

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import load, small_table, small_task
from pymatgen.core import Lattice, Structure

from exp import auto
from src.auto import pilot as piloting
from src.auto.look import Look, duplicated, look_at
from src.auto.pilot import Clock, Pilot
from src.auto.plan import FINISH, Part, choose, folds_within, make_plan, needed, one_more, variants
from src.auto.portfolio import RAW, Recipe, portfolio
from src.auto.race import Cost, Outcome, Race
from src.config import ExperimentConfig, FoldConfig, GbdtConfig, GnnConfig, to_dict
from src.config.catalogue import config_source, load_config
from src.data.crystal import Crystal
from src.data.load import TaskData, load_folds
from src.data.table import Crystals
from src.data.task import MetricName
from src.paths import EXPERIMENTS
from src.runs.inner import OUTER_FOLD, InnerSplits
from src.runs.launch import Launcher

HERE = Launcher("local", 1)
FOLDS = FoldConfig("stratified", 5)
SMALL = ExperimentConfig(GbdtConfig(("fractions",), n_trees=20, min_child_samples=2), FOLDS, RAW)
LARGE = replace(SMALL, learner=replace(SMALL.learner, n_trees=60))


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


def test_a_logarithm_is_tried_for_decades_skewed_targets_and_scores_of_logarithms_alone(data: TaskData) -> None:
    n = len(data.train.ids)
    wide, narrow = np.logspace(0, 3, n), np.linspace(1, 2, n)
    assert [seen(data, target).transform for target in (wide, narrow, -wide)] == ["log", "none", "none"]
    assert seen(data, np.where(np.arange(n) == n - 1, 8, narrow)).transform == "log"
    assert seen(data, narrow, metric="rmsle").transform == "log1p"
    assert seen(data, np.where(np.arange(n) % 3 == 0, 0, wide)).transform == "log1p"


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


def test_a_target_that_grows_with_the_atoms_is_tried_as_a_sum(data: TaskData) -> None:
    n_atoms = data.train.crystals.element_counts.sum(axis=1)
    assert not seen(data, data.train.targets).grows
    crystals = type(data.train.crystals).from_list([data.train.crystals[i] for i in range(5)] * 8)
    look = replace(seen(data, data.train.targets), growth=0.95)
    assert "standardised, sum" in [recipe.name for recipe in portfolio(look)] and len(n_atoms) == len(crystals)


def test_the_number_of_steps_is_the_same_whatever_the_number_of_rows_is(data: TaskData) -> None:
    look = look_at(data)
    epochs = {n: replace(look, n_train=n).epochs for n in (3000, 1012, 150)}
    assert epochs == {3000: 40, 1012: 119, 150: 400}


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


@pytest.mark.parametrize(("metric", "zeros", "expected"), [("mae", 0.1, {False}), ("mae", 0.3, {True}), ("rmse", 0.3, {False})])
def test_if_many_targets_are_zero_every_recipe_judges_that_first(
    data: TaskData, metric: MetricName, zeros: float, expected: set[bool]
) -> None:
    look = replace(look_at(data), low=0.0, metric=metric, zeros=zeros)
    assert {recipe.config.hurdle is not None for recipe in portfolio(look)} == expected


def test_a_recipe_is_left_out_if_the_budget_does_not_reach_for_it_and_never_the_last(data: TaskData) -> None:
    look, recipes = look_at(data), portfolio(look_at(data))
    costs = {recipe.name: Cost(0.01, 0.05 if "network" in recipe.family else 1e-4) for recipe in recipes}
    rich, poor, broke = (make_plan(look, recipes, costs, seconds) for seconds in (1e6, 100.0, 1e-3))
    assert len(rich.recipes) == len(recipes) and not rich.left_out
    assert {recipe.family for recipe in poor.recipes} == {"trees", "forest", "Gaussian process"}
    assert set(poor.left_out) == {recipe.name for recipe in recipes if "network" in recipe.family}
    assert [recipe.family for recipe in broke.recipes] == ["trees"]  # the cheapest of all
    slow = {name: Cost(10.0 if cost.train < 0.01 else 1e-3, cost.train) for name, cost in costs.items()}
    assert [recipe.family for recipe in make_plan(look, recipes, slow, 1e-3).recipes] == ["trees"]


def test_there_are_five_folds_if_a_network_cannot_have_a_third_of_its_epochs_in_ten(data: TaskData) -> None:
    look = replace(look_at(data), n_train=1000)
    recipes = portfolio(look)
    costs = {recipe.name: Cost(0.01, 1e-3) for recipe in recipes}
    needed = 9 * look.n_train * look.epochs * 1e-3 / FINISH  # core seconds for a network with all its epochs in ten folds
    assert [folds_within(look, recipes, costs, share * needed) for share in (1.0, 0.36, 0.34, 0.2, 0.1)] == [10, 10, 5, 5, 10]


def outcome(name: str, config: ExperimentConfig, loss: float, wall: float) -> Outcome:
    return Outcome(name, config, np.zeros(1), np.zeros(1), loss, wall, wall)


def test_the_first_parts_are_the_best_of_each_family_that_is_cheap_or_leads(data: TaskData) -> None:
    network = next(recipe for recipe in portfolio(look_at(data)) if recipe.family == "network").config
    found = [
        outcome("net", network, 0.1, 10.0),
        outcome("net; epochs x 2", network, 0.11, 10.0),
        outcome("trees", SMALL, 0.2, 1.0),
        outcome("more trees", LARGE, 0.3, 1.0),
    ]
    families = {"net": "network", "net; epochs x 2": "network", "trees": "trees", "more trees": "trees"}
    for seconds, names in ((400.0, ["trees", "net"]), (20.0, ["trees"])):  # something is always submitted
        parts = choose(found, families, 10, seconds)
        assert [part.name for part in parts] == names
    dear = [found[0], replace(found[2], wall=50.0), found[3]]
    assert [part.name for part in choose(dear, families, 10, 400.0)] == ["more trees", "net"]  # the best that is cheap
    assert [part.name for part in choose(found[::-1], families, 10, 200.0)] == ["more trees", "net; epochs x 2"]


def test_a_family_that_a_blend_has_no_use_for_is_left_out() -> None:
    target = np.random.default_rng(0).normal(size=200)
    noise = np.random.default_rng(1).normal(size=(3, 200)) * np.array([[0.1], [0.2], [2.0]])
    found = [
        replace(outcome(name, SMALL, float(k), 1.0), target=target, pred=target + noise[k])
        for k, name in enumerate(["a", "b", "c"])
    ]
    families = {"a": "trees", "b": "network", "c": "formula network"}
    assert [one.name for one in needed(found, families, "mae")] == ["a", "b"]  # type: ignore[arg-type]
    assert [one.name for one in needed(found[2:], families, "mae")] == ["c"]  # type: ignore[arg-type]


def test_time_that_is_left_over_goes_to_a_further_recipe_then_to_other_seeds_of_a_network(data: TaskData) -> None:
    network = next(recipe for recipe in portfolio(look_at(data)) if recipe.family == "network").config
    other = replace(network, learner=replace(network.learner, graph=replace(network.learner.graph, l_max=1)))
    found = [outcome("net", network, 0.1, 10.0), outcome("other", other, 0.105, 10.0), outcome("poor", SMALL, 0.3, 0.1)]
    families = {"net": "network", "other": "network", "poor": "trees"}
    parts = [Part("net", "network", network, 100.0)]
    further = one_more(found, families, parts, 10, 1e3)
    assert further and further.name == "other"
    again = one_more(found, families, [*parts, further], 10, 310.0)
    assert again and again.config.seed == 100 and again.config.learner.members == 2 and again.seconds <= 310
    third = one_more(found, families, [*parts, further, again], 10, 150.0)
    assert third and third.config.seed == 200
    shorter = one_more(found, families, parts, 10, 100.0)
    assert shorter and shorter.config.learner.training.n_epochs < 400 and shorter.seconds <= 100
    assert one_more(found, families, parts, 10, 50.0) is None
    trees, kinds = [outcome("trees", SMALL, 0.1, 1.0)], {"trees": "trees"}
    seeds = one_more(trees, kinds, [Part("trees", "trees", SMALL, 10.0)], 10, 60.0)  # type: ignore[arg-type]
    assert seeds and len(seeds.config.learner.parts) == 4 and seeds.config.seed == 100


def test_a_network_without_time_for_all_epochs_gets_fewer(data: TaskData) -> None:
    network = next(recipe for recipe in portfolio(look_at(data)) if recipe.family == "network").config
    (part,) = choose([outcome("net", network, 0.1, 10.0)], {"net": "network"}, 10, 100.0)
    assert part.config.learner.training.n_epochs < network.learner.training.n_epochs and part.seconds <= 100


def test_variants_change_one_thing_each(data: TaskData) -> None:
    look = replace(look_at(data), columns=("x",))
    for recipe in portfolio(look):
        changed = variants(recipe.config, look)
        assert changed and recipe.config not in changed.values()


def test_the_clock_counts_earlier_starts(tmp_path: Path) -> None:
    with Clock(tmp_path / "clock.json", 100.0).running():
        time.sleep(0.2)
    clock = Clock(tmp_path / "clock.json", 100.0)
    assert 0.2 <= clock.used < 5 and clock.left + clock.used == pytest.approx(100, abs=0.1)


def test_a_trial_that_is_late_is_stopped_and_trained_again_when_there_is_time(data: TaskData, tmp_path: Path) -> None:
    race = Race(InnerSplits.of(data, FOLDS, FOLDS), tmp_path, HERE, "cpu")
    (late,) = race.run("rung", {"small": SMALL}, 1, seconds=-1.0)
    assert late.loss == np.inf
    (done,) = race.run("rung", {"small": SMALL}, 1, seconds=60.0)
    assert np.isfinite(done.loss)


def test_a_short_training_is_kept_unless_the_whole_one_is_better_by_more_than_chance(data: TaskData, tmp_path: Path) -> None:
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


def poisoned(data: TaskData, folds: FoldConfig) -> TaskData:
    """Return the data with other targets in the outer fold, and the same folds."""
    fold = load_folds(data, folds)
    target = np.where(fold == OUTER_FOLD, 100.0 + data.train.targets, data.train.targets)
    return replace(data, train=replace(data.train, target=target))


def flown(data: TaskData, folder: Path) -> tuple[Look, list[Outcome]]:
    """Return what the autopilot sees and how its race ends, with costs that are always the same."""
    folder.mkdir()
    look = look_at(data)
    costs = {recipe.name: [1e-4, 1e-6] for recipe in few(look)}
    (folder / "look.json").write_text(
        json.dumps({"costs": costs, "core_seconds": 100.0, "budget": 1000.0, "n_folds": look.n_folds})
    )
    pilot = Pilot(data, folder, HERE, "cpu", Clock(folder / "clock.json", 1000.0), 1000.0)
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
    parts = json.loads((folder / "auto" / "parts.json").read_text())["parts"]
    assert len({part["name"] for part in parts}) == len(parts)
    texts = {path: path.read_text() for path in folder.glob("exp*/oof.csv")}

    def trained_again(*_: object, **__: object) -> None:
        raise AssertionError("nothing is left to train")

    monkeypatch.setattr("src.auto.race.Race.train", trained_again)
    fly("--minutes", "5")
    assert {path: path.read_text() for path in folder.glob("exp*/oof.csv")} == texts
    assert sorted(path.name for path in experiments.glob("exp*") if path.name != "exp094") == numbers


def test_a_dry_run_prints_the_plan_and_trains_nothing(
    fly: Callable[..., Path], experiments: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = fly("--minutes", "5", "--dry-run")
    printed = capsys.readouterr()
    assert "small" in printed.err and "nothing was trained" in printed.out
    assert [path.name for path in experiments.iterdir()] == ["exp094"] and not list(folder.glob("exp*"))


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


@pytest.fixture
def finish(data: TaskData, experiments: Path, tmp_path: Path) -> Callable[[float], list[str]]:
    """Train two parts that are chosen already with so many seconds left; the second one is expected to take 1000."""

    def run(seconds: float) -> list[str]:
        pilot = Pilot(data, data.folder / "auto", HERE, "cpu", Clock(tmp_path / "clock.json", seconds), seconds)
        pilot.folder.mkdir(parents=True)
        parts = [Part("small", "trees", SMALL, 1.0), Part("large", "trees", LARGE, 1000.0)]
        kept = [{**part._asdict(), "config": to_dict(part.config)} for part in parts]
        (pilot.folder / "parts.json").write_text(json.dumps({"budget": seconds, "parts": kept}))
        return pilot.finish([], {}, look_at(data))

    return run


@pytest.mark.parametrize(("seconds", "n"), [(0.0, 1), (500.0, 1), (2000.0, 3)])
def test_a_part_that_time_runs_out_for_is_left_out_unless_it_is_the_only_one(
    finish: Callable[[float], list[str]], seconds: float, n: int
) -> None:
    assert len(finish(seconds)) == n  # the third one is the blend


def test_a_part_that_diverges_is_left_out(finish: Callable[[float], list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    trained = piloting.run_experiment

    def diverge(config: ExperimentConfig, *rest: object) -> dict | None:
        if config == LARGE:
            raise FloatingPointError("fold 3: the loss is not finite")
        return trained(config, *rest)

    monkeypatch.setattr(piloting, "run_experiment", diverge)
    assert len(finish(2000.0)) == 1
