"""The autopilot: look at a table, race recipes on inner splits, train the winners in all folds, blend and submit."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from src.auto.clock import Clock
from src.auto.look import Look, look_at
from src.auto.plan import (
    FOLD,
    INNER,
    RACE,
    SAFETY,
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
from src.auto.portfolio import Family, Recipe, portfolio
from src.auto.race import Cost, Outcome, Race, cost_key, epochs_of, measure, prepare, shortened
from src.auto.summary import sections_of, write_page
from src.config import BlendConfig, ExperimentConfig, from_dict, to_dict
from src.config.catalogue import find_experiment, write_experiment
from src.data.load import TaskData, load_task_data
from src.data.task import Task
from src.features.columns import COLUMNS, data_key
from src.paths import shown
from src.results.folder import RunDir
from src.results.metrics import check_targets, judge_of
from src.results.submission import read_sample, submit
from src.runs.experiment import run_experiment, structure_needs
from src.runs.inner import InnerSplits
from src.runs.launch import Launcher
from src.storage.files import locked, read_json, write_json

log = logging.getLogger(__name__)
# of a family after the first rung
KEEP: dict[Family, int] = {"network": 3, "trees": 2, "forest": 1, "Gaussian process": 1, "formula network": 1}
KEEP_OF_FORMULAS: dict[Family, int] = {"trees": 2, "forest": 1, "Gaussian process": 1, "formula network": 3}
OVERTIME = 0.1  # of the time that is left, by which an expected end may be late
RESERVED = 3  # members whose time in all folds no change may take
TIMING = 0.25  # share of the budget, after which no recipe is timed
AT_THE_END = 2e-3  # seconds for each row: the submission with its intervals, and the page
RECORD = "record.json"
DEAR = 1.4  # cost of a variant, compared with the recipe that it changes, on average


@dataclass(frozen=True, eq=False)
class Pilot:
    """The autopilot for one target. folder: of its results. clock: of the command.

    kept: what was decided, for later starts with the same budget; `until` is the reading of the clock at which the target has
    used its share. Only its costs, by `cost_key`, serve other budgets too.
    """

    data: TaskData
    folder: Path
    launcher: Launcher
    device: str
    clock: Clock
    kept: dict[str, Any]

    @classmethod
    def of(cls, data: TaskData, launcher: Launcher, device: str, clock: Clock, n_targets: int, costs: dict[str, Cost]) -> "Pilot":
        """Return the pilot for the first of n targets that are left. costs: of other targets; those of this one join them.

        Raises ValueError if an earlier start has seen other tables.
        """
        path, key = data.folder / "auto" / RECORD, data_key(data.key, (COLUMNS,), data.task)
        kinds = {"data": str, "budget": float, "until": float, "costs": dict}
        kept: dict[str, Any] = read_json(path, kinds) if path.is_file() else {"data": key, "costs": {}}
        if kept["data"] != key:
            raise ValueError(f"{path} is about other tables or columns: to start over, remove {data.outputs / data.task.name}")
        costs.update({name: Cost(*cost) for name, cost in kept["costs"].items()})
        if kept.get("budget") != clock.seconds:
            at_the_end = min(AT_THE_END * (len(data.train.ids) + len(data.test.ids)), OVERTIME * clock.left)
            kept = {"data": key, "budget": clock.seconds, "until": clock.used + (clock.left - at_the_end) / n_targets}
        return cls(data, path.parent, launcher, device, clock, kept | {"costs": costs})

    def keep(self, **decided: Any) -> None:
        """Write what was decided."""
        self.kept.update(decided)
        write_json(self.folder / RECORD, self.kept)

    @property
    def left(self) -> float:
        """Seconds of one core that are left for this target."""
        return max(0.0, self.kept["until"] - self.clock.used) * self.launcher.at_once

    def look(self) -> tuple[Look, Plan]:
        """Return the facts about the table and the plan for the budget."""
        look = look_at(self.data)
        costs = self.costs_of(portfolio(look))
        if "n_folds" not in self.kept:
            self.keep(core_seconds=self.left, n_folds=folds_within(look, portfolio(look), costs, self.left))
        if self.kept["n_folds"] != look.n_folds:
            look = look_at(self.data, self.kept["n_folds"], look.duplicates)
            costs = self.costs_of(portfolio(look))  # other rows were seen, so the recipes may be others
        self.keep(look=look.to_json())
        return look, make_plan(look, portfolio(look), costs, self.kept["core_seconds"])

    def costs_of(self, recipes: Sequence[Recipe]) -> dict[str, Cost]:
        """Return the costs of the recipes that there is time to measure, those of formulas first; each is measured only once.

        Raises ValueError, that of the last, if none can be trained.
        """
        failed = ValueError("there are no recipes")
        made, found, keys = dict[str, Any](), self.kept["costs"], {one.name: cost_key(one.config) for one in recipes}
        logging.getLogger("src").setLevel(logging.WARNING)  # of a few crystals
        for recipe in tqdm(sorted(recipes, key=lambda one: len(structure_needs(one.config))), "timing recipes"):
            is_early = self.clock.used < TIMING * self.clock.seconds or found.keys().isdisjoint(keys.values())
            if is_early and (key := keys[recipe.name]) not in found:
                try:
                    found[key] = measure(recipe.config, self.data, made)
                    self.keep()
                except ValueError as error:
                    failed = error
                    log.warning("%s is left out: %s", recipe.name, error)
        logging.getLogger("src").setLevel(logging.DEBUG)
        if found.keys().isdisjoint(keys.values()):
            raise failed
        return {name: found[key] for name, key in keys.items() if key in found}

    def races(self, look: Look) -> Race:
        """Return the race on the inner splits; with another number of folds these have other rows."""
        splits = InnerSplits.of(self.data, look.folds, look.inner)
        return Race(splits, self.folder / f"trials_{look.folds.n_folds}", self.launcher, self.device)

    def race(self, look: Look, plan: Plan) -> tuple[list[Outcome], dict[str, Family]]:
        """Return the outcomes of recipes with all their epochs, the best first, then others; and the families of all."""
        configs = {recipe.name: recipe.config for recipe in plan.recipes}
        families = {recipe.name: recipe.family for recipe in plan.recipes}
        end = plan.core_seconds * (1 - RACE)  # that are left when the race has to be over
        self._say("features and graphs")
        configs = prepare(configs, self.data, self.launcher.n_local)
        race = self.races(look)
        race.folder.mkdir(exist_ok=True)
        short = {name: shortened(config, plan.first_epochs) for name, config in configs.items()}
        self._say("race, first rung")
        tried = race.run("first rung", short, look.n_splits, self._until(end))
        first = [one for one in tried if np.isfinite(one.loss)]
        if not first:  # no time for any
            walls = {one.name: plan.seconds(one, INNER * look.n_train) for one in plan.recipes if one.name in configs}
            name = min(walls, key=walls.__getitem__)
            return [replace(tried[0], name=name, config=configs[name], wall=walls[name])], families
        whole = {recipe.name: recipe.config for recipe in portfolio(look)}
        configs |= {one.name: within_budget(whole[one.name], one, look, plan.core_seconds) for one in first}
        keep = KEEP if look.has_structure else KEEP_OF_FORMULAS
        kept = [one.name for family, n in keep.items() for one in [one for one in first if families[one.name] == family][:n]]
        seconds = {one.name: one.wall * look.n_splits * epochs_of(configs[one.name]) / epochs_of(one.config) for one in first}
        for name in [one.name for one in reversed(first) if one.name in kept][:-2]:  # the poorest first
            if sum(seconds[one] for one in kept) > self.left - end:
                kept.remove(name)
        self._say("race, second rung")
        second = race.run("second rung", {name: configs[name] for name in kept}, look.n_splits, self._until(end))
        found = race.shorter(first, second)
        for family in KEEP:
            best = next((one for one in found if families[one.name] == family), None)
            if best and is_close(best, found[0]):  # never of an infinite loss
                improved = self._improve(race, best, look, end)
                families[improved.name] = family
                if improved is not best:
                    found.append(improved)
        full = sorted((one for one in found if np.isfinite(one.loss)), key=lambda one: one.loss)
        done = [one.name for one in full]
        walls = {name: each / look.n_splits for name, each in seconds.items()}
        rest = [replace(one, config=configs[one.name], wall=walls[one.name]) for one in first if one.name not in done]
        return needed([*full, *rest], families, judge_of(self.data.task.metric)), families

    def _until(self, end: float) -> float:
        """Return the wall seconds until so many core seconds are left."""
        return max(0.0, self.left - end) / self.launcher.at_once

    def _improve(self, race: Race, best: Outcome, look: Look, end: float) -> Outcome:
        """Return the outcome of a recipe after changing one setting at a time, as long as this helps and there is time.

        Members help more reliably than changes, so the time for a few of them in all folds is reserved.
        """
        kept = RESERVED * FOLD * look.folds.n_folds * best.wall / SAFETY  # core seconds
        while True:
            affordable = max(0, int((self.left - max(end, kept)) / (DEAR * best.wall * look.n_splits)))
            tried = dict(list(variants(best.config, look).items())[:affordable])
            if not tried:
                return best
            named = {f"{best.name}; {name}": config for name, config in tried.items()}
            self._say(f"race, variants of {best.name}")
            found = race.run("variants", named, look.n_splits, self._until(end))
            if not race.better(best, found[0]):
                return best
            best = found[0]

    def finish(self, outcomes: Sequence[Outcome], families: Mapping[str, Family], look: Look) -> list[str]:
        """Train the chosen recipes in all folds and blend them; return their numbers, that of the blend last.

        Parts without enough time left, or that fail, are left out; if time is left over, further parts follow.
        """
        kept = [Part(**{**one, "config": from_dict(one["config"])}) for one in self.kept.get("parts", [])]
        parts = kept or choose(outcomes, families, look.folds.n_folds, self.left)
        numbers: list[str] = []
        for part in parts:  # grows meanwhile
            self.keep(parts=[{**one._asdict(), "config": to_dict(one.config)} for one in parts])
            self._say(f"all folds of {part.name}")
            number = self._experiment(part.name, part.config)
            if self._train(number, part, is_needed=not numbers):
                numbers.append(number)
            if part is parts[-1] and (further := one_more(outcomes, families, parts, look.folds.n_folds, self.left)):
                parts.append(further)
        if not numbers:
            raise FloatingPointError(f"{', '.join(part.name for part in parts)} failed, nothing else was to be trained")
        if len(numbers) > 1:
            blend = ExperimentConfig(BlendConfig(tuple(numbers)), look.folds)
            numbers.append(self._experiment(f"blend of {', '.join(numbers)}", blend))
            run_experiment(blend, f"exp{numbers[-1]}", self.data, None, self.launcher, self.device)
        return numbers

    def _say(self, what: str) -> None:
        log.info("%.1f of %g minutes: %s", self.clock.used / 60, self.clock.seconds / 60, what)

    def _train(self, number: str, part: Part, is_needed: bool) -> bool:
        """Train a part, as many folds at once as there are cores; return False if it fails or time is too short for all.

        is_needed: the part is always trained to its end.
        """
        name, n_folds, at_once = f"exp{number}", self.data.n_folds(part.config.folds), self.launcher.at_once
        run, seconds = RunDir(self.data.folder / name), part.seconds / n_folds  # of a fold
        while to_do := [k for k in range(n_folds) if not run.is_finished(k)]:
            if not is_needed and seconds * len(to_do) > (1 + OVERTIME) * self.left:
                log.info("%s (%s) is left out, %d folds are to do: time runs out", name, part.name, len(to_do))
                return False
            n = len(to_do) if seconds * len(to_do) < self.left / 2 else at_once  # time enough, or as many as run at once
            start = self.clock.used
            try:
                run_experiment(part.config, name, self.data, to_do[:n], self.launcher, self.device)
            except (FloatingPointError, ValueError) as error:
                log.warning("%s (%s) is left out: %s", name, part.name, error)
                return False
            seconds = (self.clock.used - start) * at_once / len(to_do[:n])
        run_experiment(part.config, name, self.data, None, self.launcher, self.device)
        return True

    def _experiment(self, name: str, config: ExperimentConfig) -> str:
        """Return the number of the experiment with this config, which gets a folder in exp/ if it has none."""
        why = f"What does exp/auto.py choose for {self.data.task.name}?"
        changed = f"Parent: none. Recipe: {name}; chosen on inner splits, without fold 0."
        return find_experiment(why, config) or write_experiment(why, changed, config)


class Flown(NamedTuple):
    """A summary as text, the numbers of the submitted experiments of each target, and the wall seconds of all starts."""

    text: str
    submitted: dict[str, list[str]]
    seconds: float


def fly(
    tasks: Sequence[Task], outputs: Path, minutes: float, skip_bad_rows: bool, launcher: Launcher, device: str, dry: bool
) -> Flown:
    """Make a submission for all targets of a task within a budget of wall minutes.

    dry: stop after the plan. Finished work of earlier starts is kept, and their time counts.
    """
    top = outputs / tasks[0].name
    if tasks[0].has_test:
        read_sample(tasks)  # what is wrong with it is said first
    submitted, found, costs, held = {}, [], dict[str, Cost](), f"auto.py is running for {shown(top)} already: wait for it"
    with locked(top / "auto" / ".lock", held), Clock(top / "auto" / "clock.json", 60 * minutes).running() as clock:
        for i, task in enumerate(tasks):
            data = load_task_data(task.folder, outputs, skip_bad_rows, launcher.n_local, task.target_column)
            check_targets(task.metric, task.path("train"), data.train.ids.tolist(), data.train.targets)
            pilot = Pilot.of(data, launcher, device, clock, len(tasks) - i, costs)
            look, plan = pilot.look()
            log.info("%s", "\n".join([*look.lines(), *plan_lines(look, plan, minutes, launcher.at_once)]))
            if dry:
                continue
            outcomes, families = pilot.race(look, plan)
            log.info("%s", "\n".join(f"{one.name:<60} {abs(one.loss):.4g}" for one in outcomes))
            numbers = pilot.finish(outcomes, families, look)
            submitted[task.target_column] = numbers[-1:]
            found.append((data, look, plan, pilot.races(look).history(), numbers))
        if dry:
            return Flown("nothing was trained: --dry-run", {}, clock.used)
        text = submit(tasks, outputs, submitted, "mean", None, None) if tasks[0].has_test else "no test table: nothing to submit"
        write_page(top / "auto.html", tasks, [sections_of(*one) for one in found])
    text += f"\n{shown(top / 'auto.html')}: what was seen, decided and why\n{clock.used / 60:.1f} of {minutes:g} minutes"
    return Flown(text, submitted, clock.used)
