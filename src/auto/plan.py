"""Plans for a budget: which recipes are raced, for how long, and which are trained in all folds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from src.auto.look import FEW_FOLDS, FOLDS, Look
from src.auto.portfolio import Family, Recipe
from src.auto.race import EPOCHS, Cost, Outcome, epochs_of, shortened
from src.config import (
    ExperimentConfig,
    ForestConfig,
    GaussianProcessConfig,
    GbdtConfig,
    GbdtEnsembleConfig,
    GnnConfig,
    NequipConfig,
)
from src.data.task import MetricName
from src.results.blend import fit_weights
from src.runs.ranges import with_knobs

RACE, FIRST, PREPARE, INPUTS = 0.4, 0.15, 0.15, 0.3  # shares of the budget: the race, its first rung, a recipe's inputs, all
FINISH = 0.45  # share of the budget that one recipe may take in all folds
SAFETY = 0.85  # share of what is left that is planned for: what is measured in a race varies
LEAST = 0.3  # of the epochs that a network should have; with fewer it is left out
FEWER = 0.5  # of the epochs of a race, with which a network is a further part
ENOUGH = 0.35  # of these epochs: if no network can have them in ten folds, there are five
INNER = 0.8 * 0.9  # share of the training rows that a trial is trained on
FOLD = 1.25  # cost of a fold, compared with that of a trial, which is trained on four fifths of its rows
CHEAP = 0.15  # share of what is left that a further family may take
MAX_MEMBERS, MAX_PARTS = 5, 8
SLOW = 0.015  # learning rate of trees
CLOSE = 0.1  # by which the error of a further part may be above that of the best, as a share of it
LEAST_WEIGHT = 0.05  # of a family in a blend, for it to be trained in all folds
NEXT_SEED = 100  # more than there are folds, each of which has its own seed


class Part(NamedTuple):
    """A recipe to train in all folds. seconds: expected, on one core."""

    name: str
    family: Family
    config: ExperimentConfig
    seconds: float


@dataclass(frozen=True)
class Plan:
    """The recipes of a race with their affordable epochs and costs, and the reasons why others are left out.

    core_seconds: the budget, wall seconds times cores.
    """

    recipes: list[Recipe]
    costs: dict[str, Cost]
    left_out: dict[str, str]
    first_epochs: int
    core_seconds: float

    def seconds(self, recipe: Recipe, n_rows: float) -> float:
        """Return the seconds of a training on so many rows, on one core."""
        return self.costs[recipe.name].train * epochs_of(recipe.config) * n_rows


def folds_within(look: Look, recipes: Sequence[Recipe], costs: Mapping[str, Cost], core_seconds: float) -> int:
    """Return ten folds, or five if a network then has enough of its epochs to be trained at all."""
    networks = [costs[one.name] for one in recipes if one.name in costs and isinstance(one.config.learner, GnnConfig)]
    share = max((_affordable(look, cost, core_seconds, FOLDS) for cost in networks), default=math.inf) / look.epochs
    fewer = share * (FOLDS - 1) / (FEW_FOLDS - 1)
    return FEW_FOLDS if share < ENOUGH and fewer >= LEAST else FOLDS


def _affordable(look: Look, cost: Cost, core_seconds: float, n_folds: int) -> float:
    """Return the epochs of a network (for trees: the number of trainings) that one recipe can have in all folds."""
    return FINISH * core_seconds / (look.n_train * (n_folds - 1) * cost.train)


def within_budget(config: ExperimentConfig, trial: Outcome, look: Look, core_seconds: float) -> ExperimentConfig:
    """Return the config of a recipe with as many epochs as it can have in all folds, judging by its first trial."""
    an_epoch = trial.wall / epochs_of(trial.config)
    return shortened(config, max(1, int(FINISH * core_seconds / (look.folds.n_folds * FOLD * an_epoch))))


def make_plan(look: Look, recipes: Sequence[Recipe], costs: Mapping[str, Cost], core_seconds: float) -> Plan:
    """Return the plan for a budget. core_seconds: wall seconds times cores.

    A network gets as many epochs as it can have in all folds. Networks that can have only a few are left out, and so are recipes
    whose inputs take too long. If none is left, the cheapest is kept.
    """
    kept: list[Recipe] = []
    left_out = {recipe.name: "no time to time it" for recipe in recipes if recipe.name not in costs}
    recipes = [recipe for recipe in recipes if recipe.name in costs]
    for recipe in recipes:
        cost, inputs = costs[recipe.name], {costs[one.name].prepare for one in (*kept, recipe)}  # those that are shared once
        affordable = _affordable(look, cost, core_seconds, look.folds.n_folds)
        if max(cost.prepare / PREPARE, sum(inputs) / INPUTS) * (look.n_train + look.n_test) > core_seconds:
            left_out[recipe.name] = "its features or graphs take too long"
        elif affordable < (LEAST * look.epochs if isinstance(recipe.config.learner, GnnConfig) else 1):
            left_out[recipe.name] = "its training takes too long"
        else:
            kept.append(recipe._replace(config=shortened(recipe.config, int(affordable))))
    if not kept:
        rows, trained = look.n_train + look.n_test, look.n_train * (look.folds.n_folds - 1)
        whole = {r.name: np.dot(costs[r.name], (rows, trained * epochs_of(r.config))) for r in recipes}
        kept = [min(recipes, key=lambda recipe: whole[recipe.name])]
        left_out.pop(kept[0].name)
    return _with_first_rung(Plan(kept, dict(costs), left_out, look.epochs, core_seconds), look, FIRST * core_seconds)


def _with_first_rung(plan: Plan, look: Look, core_seconds: float) -> Plan:
    """Return the plan with the epochs of the first rung; if it is too short for all, the least promising networks leave."""
    recipes, left_out = list(plan.recipes), dict(plan.left_out)
    n_rows = INNER * look.n_train * look.n_splits
    while True:
        networks = [recipe for recipe in recipes if isinstance(recipe.config.learner, GnnConfig)]
        others = sum(plan.seconds(recipe, n_rows) for recipe in recipes if recipe not in networks)
        an_epoch = sum(plan.costs[recipe.name].train * n_rows for recipe in networks)
        epochs = int((core_seconds - others) / an_epoch) if networks else look.epochs
        if epochs >= look.epochs / 10 or len(networks) <= 2:
            return replace(plan, recipes=recipes, left_out=left_out, first_epochs=max(1, min(epochs, look.epochs // 4)))
        recipes.remove(networks[-1])
        left_out[networks[-1].name] = "no time to try it"


def choose(outcomes: Sequence[Outcome], families: Mapping[str, Family], n_folds: int, core_seconds: float) -> list[Part]:
    """Return the recipes to train first in all folds, the cheapest first; `one_more` adds others if time is left.

    outcomes: the best first. The recipes are the best network, with fewer epochs if there is no time for all, and the best of
    each other family, if it is cheap or leads.
    """
    chosen: list[Part] = []
    left = SAFETY * core_seconds
    found = dict.fromkeys(families[one.name] for one in outcomes)
    main: Family = "network" if "network" in found else "formula network"
    for family in sorted(found, key=lambda family: family == main):
        own = [one for one in outcomes if families[one.name] == family]
        most = left if family == main or outcomes[0] in own else CHEAP * left
        share = LEAST if family == main else 1  # of the epochs, that will do
        if part := next((part for one in own if (part := _part(one, family, n_folds, most, share))), None):
            chosen.append(part)
            left -= part.seconds
    if not chosen:
        cheapest = min(outcomes, key=lambda one: one.wall)
        chosen = [Part(cheapest.name, families[cheapest.name], cheapest.config, n_folds * FOLD * cheapest.wall)]
    return sorted(chosen, key=lambda part: part.seconds)


def _part(one: Outcome, family: Family, n_folds: int, most: float, share: float) -> Part | None:
    """Return a recipe for all folds that takes at most so many seconds, if need be with fewer epochs; None if it cannot.

    share: the least share of its epochs that is acceptable.
    """
    cost, config = n_folds * FOLD * one.wall, one.config
    if cost * (share if isinstance(config.learner, GnnConfig) else 1) > most:
        return None
    if cost > most:
        config, cost = shortened(config, max(1, int(epochs_of(config) * most / cost))), most
    return Part(one.name, family, config, cost)


def needed(outcomes: Sequence[Outcome], families: Mapping[str, Family], metric: MetricName) -> list[Outcome]:
    """Return the outcomes of families with some weight in a blend of the best of each. outcomes: the best first."""
    best = {families[one.name]: one for one in reversed(outcomes)}
    weights = fit_weights("weights", np.stack([one.pred for one in best.values()], axis=1), outcomes[0].target, metric)
    kept = {family for family, weight in zip(best, weights, strict=True) if weight >= LEAST_WEIGHT}
    return [one for one in outcomes if families[one.name] in kept | {families[outcomes[0].name]}]


def is_close(one: Outcome, best: Outcome) -> bool:
    """Return whether the loss of an outcome, which may be negative, is only slightly above that of the best."""
    return one.loss - best.loss <= CLOSE * abs(best.loss)


def one_more(
    outcomes: Sequence[Outcome], families: Mapping[str, Family], parts: Sequence[Part], n_folds: int, core_seconds: float
) -> Part | None:
    """Return a recipe for the remaining time, or None: a nearly best one that is no part yet, or a network once more.

    parts: those trained already. A network among them gets another seed, and as many members as there is time for;
    trees likewise, but once. Networks may have fewer epochs than in the race.
    """
    taken = [part.name.split(";")[0] for part in parts]
    found = [
        (part, taken.count(one.name.split(";")[0]))
        for one in outcomes
        if is_close(one, outcomes[0]) and (part := _part(one, families[one.name], n_folds, SAFETY * core_seconds, FEWER))
    ]
    if len(parts) >= MAX_PARTS:
        return None
    for part, n_alike in found:
        if not n_alike:
            return part
    for part, n_alike in found:
        if n_alike == 1 or isinstance(part.config.learner, GnnConfig):
            n = min(MAX_MEMBERS, int(SAFETY * core_seconds / part.seconds))
            if again := _with_members(part.config, n):
                config = replace(again, seed=again.seed + NEXT_SEED * n_alike)
                return Part(f"{part.name}; seed {config.seed}", part.family, config, n * part.seconds)
    return None


def _with_members(config: ExperimentConfig, n: int) -> ExperimentConfig | None:
    """Return the mean of n of a recipe's learners with different seeds; None if the learner does not depend on seeds."""
    if isinstance(config.learner, GnnConfig):
        return replace(config, learner=replace(config.learner, members=n))
    if isinstance(config.learner, GbdtConfig):
        return replace(config, learner=GbdtEnsembleConfig((config.learner,) * n))
    return None


def variants(config: ExperimentConfig, look: Look) -> dict[str, ExperimentConfig]:
    """Return configs with one setting changed each, for the axes that matter from task to task."""
    knobs: dict[str, dict[str, object]] = {}
    match config.learner:
        case ForestConfig() as forest:
            knobs = {f"{share:g} of the features": {"learner.max_features": share} for share in (0.1, 0.3, 1.0)}
            knobs.pop(f"{forest.max_features:g} of the features", None)
            if not forest.of_classes:
                other = "squared" if forest.objective == "l1" else "absolute"
                knobs[f"{other} errors"] = {"learner.objective": "l2" if other == "squared" else "l1"}
        case GaussianProcessConfig(features=groups) if len(groups) > 1:
            knobs = {f"without {name}": {"learner.features": tuple(one for one in groups if one != name)} for name in groups}
        case GbdtConfig() as trees:
            slower: dict[str, object] = {"learner.n_trees": 2 * trees.n_trees, "learner.learning_rate": SLOW}
            knobs = {} if trees.learning_rate == SLOW else {"trees x 2, slower": slower}
            knobs |= {f"{n} leaves": {"learner.num_leaves": n} for n in (7, 15, 31) if n != trees.num_leaves}
        case GnnConfig() as network:
            knobs = _of_network(network, look)
            if look.transform != "none":
                other = "none" if config.target.transform != "none" else look.transform
                knobs[f"transform {other}"] = {"target.base": "none", "target.transform": other}
    return {name: with_knobs(config, changed) for name, changed in knobs.items()}


def _of_network(learner: GnnConfig, look: Look) -> dict[str, dict[str, object]]:
    """Return the changes of a network's own settings."""
    knobs: dict[str, dict[str, object]] = {
        "epochs x 2": {EPOCHS: 2 * learner.training.n_epochs},
        "batches of 16": {"learner.training.batch_size": 16},
    }
    if isinstance(learner.network, NequipConfig):
        power = learner.graph.radius_exponent
        knobs["lengths in Angstrom" if power else "lengths by radii"] = {"learner.graph.radius_exponent": 0.0 if power else 0.5}
        if learner.graph.l_max > 1:
            knobs["degree 1"] = {"learner.graph.l_max": 1}
        readouts = [name for name in ("mean", "attention", "max") if name != learner.network.readout]
        knobs |= {f"readout {name}": {"learner.network.readout": name} for name in readouts}
        if look.columns and not learner.global_features:
            knobs["with columns"] = {"learner.global_features": ("columns",)}
    return knobs


def plan_lines(look: Look, plan: Plan, minutes: float, n_cores: int) -> list[str]:
    """Return the table of recipes with their expected seconds as lines of text."""
    n_folds = look.folds.n_folds
    rows = [f"{'recipe':<42} {'epochs':>6} {'inputs s':>9} {'trial s':>8} {'folds s':>8}"]
    for recipe in plan.recipes:
        epochs = getattr(getattr(recipe.config.learner, "training", None), "n_epochs", "")
        inputs = plan.costs[recipe.name].prepare * (look.n_train + look.n_test)
        trial, folds = (plan.seconds(recipe, share * look.n_train) for share in (INNER, n_folds - 1))
        rows.append(f"{recipe.name:<42} {epochs:>6} {inputs:>9.0f} {trial:>8.0f} {folds:>8.0f}")
    rows += [f"left out: {name}: {why}" for name, why in plan.left_out.items()]
    rounds = f"first rung of {plan.first_epochs} epochs, {look.n_splits} splits; "
    return [*rows, f"{rounds}seconds are of one core, there are {n_cores}; the budget is {minutes:g} minutes"]
