"""The recipes that a race begins with, and why each is among them.

The settings of networks and trees come from searches on FLLA (exp094, exp022, exp081). The recipes differ in what depends on the
task (target, readout, loss, epochs).
"""

from dataclasses import replace
from typing import Any, Literal, NamedTuple

from src.auto.look import BATCH, SMALL_TABLE, Look
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
    RoostConfig,
    TargetConfig,
    TrainingConfig,
)
from src.features.columns import COLUMNS

Family = Literal["trees", "forest", "Gaussian process", "formula network", "network"]
FORMULA = ("fractions", "magpie", "mat2vec", "electrons")
STRUCTURE = ("fractions", "magpie", "geometry", "symmetry", "charges", "voronoi")
VECTORS = ElementConfig(("mat2vec", "skipatom", "magpie"))
RAW = TargetConfig("raw")
RESIDUAL = TargetConfig("residual", pure_elements="median", unseen_elements="predicted")
STANDARD = TargetConfig("standardise")
RAW_PER_AREA = TargetConfig("raw", transform="log", base="layer_area")  # energies of the faces of layers
STANDARD_PER_AREA = TargetConfig("standardise", transform="log", base="layer_area")
TREES = GbdtConfig(STRUCTURE, n_trees=3000, num_leaves=15, max_bin=63)  # a fifth to two fifths less time than 255, and no worse
TREES_OF_FORMULAS = GbdtConfig(FORMULA, n_trees=2000, num_leaves=15, max_bin=63)
TREES_OF_FEW = {"num_leaves": 7, "min_child_samples": 5, "n_trees": 1000}  # changed for fewer rows than SMALL_TABLE
HURDLE = GbdtConfig(FORMULA, objective="binary", n_trees=600, num_leaves=15, max_bin=63)
NEQUIP = NequipConfig(n_channels=96, n_layers=2, radial_hidden=(128, 128), radial_knots=128, head_hidden=(64,))
LARGE_TABLE = 5000  # rows, beyond which a Gaussian process takes too long, and a forest too much memory
LARGE_CELL = 30  # atoms in the median crystal
CHEAP_GRAPH = GraphConfig(r_max=5.0, l_max=1)
GRAPH = GraphConfig(r_max=5.0, l_max=2, radius_exponent=0.5)
ROOST = RoostConfig(n_channels=64, n_layers=3, n_hidden=128)


class Recipe(NamedTuple):
    """A config to try. why: the reason, for display."""

    name: str
    family: Family
    config: ExperimentConfig
    why: str


def portfolio(look: Look) -> list[Recipe]:
    """Return the recipes for a table, at most 16: the cheap trees first, then networks, the most promising ones first."""
    found = [*_trees(look), *_forests_and_process(look), *_networks(look), *_formula_networks(look)]
    if look.shares_zero:
        plain = [recipe for recipe in found if recipe.config.target.kind != "residual"]
        hurdles = [HurdleConfig(HURDLE, of_all=recipe.family not in ("trees", "Gaussian process")) for recipe in plain]
        found = [one._replace(config=replace(one.config, hurdle=hurdle)) for one, hurdle in zip(plain, hurdles, strict=True)]
    if look.of_classes:
        found = _for_classes(found)
    return [Recipe(name, family, replace(config, folds=look.folds), why) for name, family, config, why in found]


def _for_classes(recipes: list[Recipe]) -> list[Recipe]:
    """Return the recipes of learners for classes, each once whatever its target, named by its inputs."""
    found: dict[Any, Recipe] = {}
    for recipe in recipes:
        learner = recipe.config.learner
        if isinstance(learner, GbdtConfig | ForestConfig):
            learner = replace(learner, objective="binary")
        elif isinstance(learner, GnnConfig):
            learner = replace(learner, training=replace(learner.training, loss="bce"))
        else:
            continue
        name = recipe.name.replace("residual, ", "").replace("standardised, ", "").replace(", standardised", "")
        config = ExperimentConfig(learner, target=TargetConfig("classes"))
        found.setdefault(learner, Recipe(name.replace(", residual", ""), recipe.family, config, recipe.why))
    return list(found.values())


def _forests_and_process(look: Look) -> list[Recipe]:
    columns, is_small = (COLUMNS,) if look.columns else (), look.n_train <= LARGE_TABLE
    target = RAW_PER_AREA if look.per_area else replace(RAW, transform=look.transform)

    def recipe(family: Family, learner: ForestConfig | GaussianProcessConfig, why: str, name: str = "") -> Recipe:
        return Recipe(name or family, family, ExperimentConfig(learner, target=target), why)

    found = []
    if is_small or look.of_classes:  # trees of classes have few leaves
        groups = tuple(name for name in _groups(look) if name != "mat2vec")  # on expt_is_metal it is better without
        errors: Any = "l1" if look.absolute else "l2"
        usual = ForestConfig((*groups, *columns), errors, max_features=0.3)
        plain = ForestConfig(("fractions", *columns), errors)
        found.append(recipe("forest", usual, "random splits: good beside boosted trees"))
        if not look.has_structure:
            found.append(recipe("forest", plain, "a few hundred alloys of the same elements", "forest of fractions"))
    if is_small:
        process = GaussianProcessConfig((*_groups(look), *columns))
        found.append(recipe("Gaussian process", process, "smooth where trees are steps: good beside them, of few rows"))
    return found


def _networks(look: Look) -> list[Recipe]:
    if not look.has_structure:
        return []

    def recipe(name: str, target: TargetConfig, why: str, readout: Any = "mean", **learner: Any) -> Recipe:
        shared: dict[str, Any] = {"graph": GRAPH, "network": replace(NEQUIP, readout=readout)}  # exp094
        network = GnnConfig(_training(look, 3.4e-4, 1.1), VECTORS, **(shared | learner))
        return Recipe(name, "network", ExperimentConfig(network, target=target), why)

    found = [
        recipe("residual, mean", RESIDUAL, "energies are sums over atoms (exp094)"),
        recipe("standardised, attention", STANDARD, "a property that some atoms decide more than others", "attention"),
        recipe("standardised, max", STANDARD, "a property that one atom decides, as the highest phonon (exp026)", "max"),
    ]
    log = look.transform
    if look.per_area:
        why = "energies of the faces of layers"
        found = [
            *(recipe(f"log per area, standardised, {name}", STANDARD_PER_AREA, why, name) for name in ("attention", "max")),
            recipe("log, standardised, attention", replace(STANDARD, transform=log), "errors count by ratio", "attention"),
            *found,
        ]
    elif log != "none":
        found += [
            recipe(f"{log}, residual, mean", replace(RESIDUAL, transform=log), "errors count by ratio (exp024)"),
            recipe(f"{log}, standardised, attention", replace(STANDARD, transform=log), "errors count by ratio", "attention"),
            recipe(f"{log}, standardised, max", replace(STANDARD, transform=log), "errors count by ratio", "max"),
        ]
    else:
        found += [
            recipe("residual, attention", RESIDUAL, "energies, not evenly shared", "attention"),
            recipe("standardised, mean", STANDARD, "a mean over atoms without a share for each element"),
        ]
    usual = replace(RESIDUAL, transform=look.transform)
    if look.atoms[0] > LARGE_CELL:
        why = "large cells, at half the cost; in Angstrom, as exp029"
        found.insert(0, recipe("degree 1, standardised, attention", STANDARD, why, "attention", graph=CHEAP_GRAPH))
    if look.grows:
        found.append(recipe("standardised, sum", STANDARD, "the target grows with the atoms", "sum"))
    if look.columns:
        found.append(recipe("with columns", usual, "the table has further columns", global_features=(COLUMNS,)))
    return found


def _trees(look: Look) -> list[Recipe]:
    columns = (COLUMNS,) if look.columns else ()
    few = TREES_OF_FEW if look.n_train < SMALL_TABLE else {}

    def recipe(name: str, base: GbdtConfig, target: TargetConfig, why: str, **changed: Any) -> Recipe:
        learner = replace(base, features=(*base.features, *columns), **(few | changed))
        return Recipe(name, "trees", ExperimentConfig(learner, target=target), why)

    base = replace(TREES, features=_groups(look)) if look.has_structure else TREES_OF_FORMULAS
    found = [
        recipe("trees", base, RAW, "the field's baseline, good to blend in (exp022)"),
        recipe("trees, absolute errors", base, RAW, "the median, not the mean, for a skewed target", objective="l1"),
    ]
    if (log := look.transform) != "none":
        found.append(recipe(f"trees, {log}", base, replace(RAW, transform=log), "errors count by ratio (exp025)"))
    if look.per_area:
        found.append(recipe("trees, log per area", base, RAW_PER_AREA, "energies of the faces of layers"))
    elif look.has_structure:
        found.append(recipe("trees of formulas", TREES_OF_FORMULAS, RAW, "if structures say little or are not relaxed (exp001)"))
    return found


def _groups(look: Look) -> tuple[str, ...]:
    """Return the groups of features for trees and processes, further columns aside."""
    if not look.has_structure:
        return FORMULA
    return (*STRUCTURE, "layers") if look.layered else STRUCTURE


def _formula_networks(look: Look) -> list[Recipe]:
    learner = GnnConfig(_training(look, 3e-4, 1.0), VECTORS, network=ROOST)
    log = replace(STANDARD, transform=look.transform)
    targets = {"standardised": log}
    if not look.has_structure:
        targets = {"residual": RESIDUAL, "standardised": STANDARD} | ({look.transform: log} if look.transform != "none" else {})
    why = "formulas alone, by attention over elements (exp081)"
    configs = {name: ExperimentConfig(learner, target=target) for name, target in targets.items()}
    return [Recipe(f"Roost, {name}", "formula network", config, why) for name, config in configs.items()]


def _training(look: Look, lr: float, weight_decay: float) -> TrainingConfig:
    return TrainingConfig(look.epochs, BATCH, lr, weight_decay, ema_decay=0.98, loss="huber", optimizer="lion")
