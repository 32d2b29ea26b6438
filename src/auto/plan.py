"""What a budget buys: which recipes are raced and how long, and which are trained in all folds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from src.auto.look import Look
from src.auto.portfolio import Family, Recipe
from src.auto.race import EPOCHS, Cost, Outcome, shortened
from src.config import ExperimentConfig, GnnConfig
from src.runs.ranges import with_knobs

RACE, FIRST, PREPARE = 0.4, 0.15, 0.15  # shares of the budget: all of the race, its first rung, the inputs of one recipe
FINISH = 0.45  # share of the budget that one recipe may take in all folds
SAFETY = 0.85  # share of what is left that is planned for: what is measured in a race varies
LEAST = 0.3  # of the epochs that a network should have; with fewer it is left out
INNER = 0.8 * 0.9  # share of the training rows that a trial is trained on
FOLD = 1.25  # cost of a fold, compared with that of a trial, which is trained on four fifths of its rows
CHEAP = 0.15  # share of what is left that a further family may take
MAX_MEMBERS, MAX_PARTS = 5, 4


class Part(NamedTuple):
    """A recipe to train in all folds. seconds: expected, on one core."""

    name: str
    family: Family
    config: ExperimentConfig
    seconds: float


@dataclass(frozen=True)
class Plan:
    """The recipes of a race, with the epochs that they can afford, what each costs, and why others are left out.

    core_seconds: the budget, wall seconds times cores.
    """

    recipes: list[Recipe]
    costs: dict[str, Cost]
    left_out: dict[str, str]
    first_epochs: int
    core_seconds: float

    def seconds(self, recipe: Recipe, n_rows: float) -> float:
        """Return the seconds of a training on so many rows, on one core."""
        epochs = recipe.config.learner.training.n_epochs if isinstance(recipe.config.learner, GnnConfig) else 1
        return self.costs[recipe.name].train * epochs * n_rows


def make_plan(look: Look, recipes: Sequence[Recipe], costs: Mapping[str, Cost], core_seconds: float) -> Plan:
    """Return the plan for a budget. core_seconds: wall seconds times cores.

    A network gets as many epochs as it can have in all folds; one that could have only a few is left out, and so is a recipe
    whose inputs take too long. If none is left, the cheapest is.
    """
    kept, left_out = [], {}
    n_trained = look.n_train * (look.folds.n_folds - 1)  # rows of all folds together
    for recipe in recipes:
        cost = costs[recipe.name]
        affordable = FINISH * core_seconds / (n_trained * cost.train)  # epochs of a network, or times that all trees are grown
        if cost.prepare * (look.n_train + look.n_test) > PREPARE * core_seconds:
            left_out[recipe.name] = "its features or graphs take too long"
        elif affordable < (LEAST * look.epochs if isinstance(recipe.config.learner, GnnConfig) else 1):
            left_out[recipe.name] = "its training takes too long"
        else:
            kept.append(recipe._replace(config=shortened(recipe.config, max(1, int(affordable)))))
    if not kept:
        kept = [min(recipes, key=lambda recipe: costs[recipe.name].prepare + costs[recipe.name].train)]
        left_out.pop(kept[0].name)
    plan = Plan(kept, dict(costs), left_out, look.epochs, core_seconds)
    return _with_first_rung(plan, look, FIRST * core_seconds)


def _with_first_rung(plan: Plan, look: Look, core_seconds: float) -> Plan:
    """Return the plan with the epochs of the first rung; the least likely networks leave if it would be too short for all."""
    recipes, left_out = list(plan.recipes), dict(plan.left_out)
    n_rows = INNER * look.n_train * look.n_splits
    while True:
        networks = [recipe for recipe in recipes if isinstance(recipe.config.learner, GnnConfig)]
        others = sum(plan.seconds(recipe, n_rows) for recipe in recipes if recipe not in networks)
        an_epoch = sum(plan.costs[recipe.name].train * n_rows for recipe in networks)
        epochs = int(max(0.0, core_seconds - others) / an_epoch) if networks else look.epochs
        if epochs >= look.epochs / 10 or len(networks) <= 2:
            return replace(plan, recipes=recipes, left_out=left_out, first_epochs=max(1, min(epochs, look.epochs // 4)))
        recipes.remove(networks[-1])
        left_out[networks[-1].name] = "no time to try it"


def choose(outcomes: Sequence[Outcome], families: Mapping[str, Family], n_folds: int, core_seconds: float) -> list[Part]:
    """Return the recipes to train in all folds, the cheapest first.

    outcomes: the best first. They are the best of the trees and of the formula networks if they are cheap, the best network with
    as many members as there is time for, and, if there is time left, the next in the race.
    """
    chosen: list[Part] = []
    left = SAFETY * core_seconds
    of_family = {family: [one for one in outcomes if families[one.name] == family] for family in set(families.values())}

    def add(one: Outcome, most: float, members: int = 1, least: float = 1.0) -> None:
        """Add a recipe if its cost is within `most`. least: the share of its epochs that will do."""
        nonlocal left
        cost = n_folds * FOLD * one.wall
        is_alike = one.name.split(";")[0] in [part.name.split(";")[0] for part in chosen]  # a variant of what is chosen already
        if is_alike or len(chosen) == MAX_PARTS or cost * least > most:
            return
        config = one.config
        if cost > most:
            config = shortened(config, max(1, int(config.learner.training.n_epochs * most / cost)))  # type: ignore[union-attr]
            cost = most
        n = max(1, min(members, int(most / cost)))
        if n > 1 and isinstance(config.learner, GnnConfig):
            config = replace(config, learner=replace(config.learner, members=n))
            cost *= n
        chosen.append(Part(one.name, families[one.name], config, cost))
        left -= cost

    main: Family = "network" if "network" in of_family else "formula network"
    others: tuple[Family, ...] = ("trees", "formula network") if main == "network" else ("trees",)
    for family in others:
        for one in of_family.get(family, [])[:1]:
            add(one, left if one is outcomes[0] else CHEAP * left)
    for one in of_family.get(main, [])[:1]:
        add(one, left, MAX_MEMBERS, LEAST)
    for one in outcomes:
        add(one, left, MAX_MEMBERS if families[one.name] == main else 1)
    if not chosen:
        cheapest = min(outcomes, key=lambda one: one.wall)
        chosen = [Part(cheapest.name, families[cheapest.name], cheapest.config, n_folds * FOLD * cheapest.wall)]
    return sorted(chosen, key=lambda part: part.seconds)


def variants(config: ExperimentConfig, look: Look) -> dict[str, ExperimentConfig]:
    """Return configs with one setting changed each, for the axes that matter from task to task."""
    if not isinstance(config.learner, GnnConfig):
        trees = {"trees x 2, slower": {"learner.n_trees": 2 * config.learner.n_trees, "learner.learning_rate": 0.015}}  # type: ignore[union-attr]
        trees |= {f"{n} leaves": {"learner.num_leaves": n} for n in (7, 15, 31) if n != config.learner.num_leaves}  # type: ignore[union-attr]
        return {name: with_knobs(config, knobs) for name, knobs in trees.items()}
    training = config.learner.training
    knobs: dict[str, dict[str, object]] = {
        "epochs x 2": {EPOCHS: 2 * training.n_epochs},
        "batches of 16": {"learner.training.batch_size": 16},
    }
    if not config.learner.network.reads_formula:
        power = config.learner.graph.radius_exponent
        knobs["lengths in Angstrom" if power else "lengths by radii"] = {"learner.graph.radius_exponent": 0.0 if power else 0.5}
        knobs["degree 1"] = {"learner.graph.l_max": 1}
        readout = config.learner.network.readout  # type: ignore[union-attr]
        knobs |= {
            f"readout {name}": {"learner.network.readout": name} for name in ("mean", "attention", "max") if name != readout
        }
        if look.columns and not config.learner.global_features:
            knobs["with columns"] = {"learner.global_features": ("columns",)}
    if look.transform != "none":
        other = "none" if config.target.transform != "none" else look.transform
        knobs[f"transform {other}"] = {"target.transform": other}
    return {name: with_knobs(config, changed) for name, changed in knobs.items()}
