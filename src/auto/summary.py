"""The autopilot's page: the report on its experiments, with facts, decisions and their reasons, and the race."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from src.auto.look import Look
from src.auto.plan import Plan
from src.data.load import TaskData
from src.data.task import Task
from src.report.page import Section, html_table, note, page, scatter
from src.report.sections import brief, report_sections, title_of
from src.results.metrics import METRICS, decided, judge_of, score_interval
from src.results.predictions import Predictions, find_predictions
from src.storage.files import write_atomic


def write_page(path: Path, tasks: Sequence[Task], targets: Sequence[Sequence[Section]]) -> None:
    """Write the page of all targets of a task."""
    title = title_of(tasks[0]) if len(tasks) == 1 else tasks[0].name
    write_atomic(path, page(title, [section for sections in targets for section in sections]).encode())


def sections_of(data: TaskData, look: Look, plan: Plan, trials: list[dict[str, Any]], numbers: Sequence[str]) -> list[Section]:
    """Return the sections about one target. trials: see `history`. numbers: of the experiments, the submitted one last."""
    facts = [dict(zip(("what", "found"), line.split(maxsplit=1), strict=True)) for line in look.lines()]
    recipes = [{"recipe": recipe.name, "why": recipe.why} for recipe in plan.recipes]
    recipes += [{"recipe": name, "why": f"left out: {text}"} for name, text in plan.left_out.items()]
    experiments = [find_predictions(number, data.task, data.outputs) for number in numbers]
    (heading, short), *rest = report_sections(data, experiments)
    sections = [
        (heading, short + note(_expected(experiments[-1], data))),
        ("What was seen", html_table(facts)),
        ("The recipes, and why", html_table(recipes)),
        ("The race", _race(trials, data)),
        *rest,
    ]
    prefix = f"{data.task.target_column}: " if len(data.task.targets) > 1 else ""
    return [(f"{prefix}{heading}", body) for heading, body in sections]


def _race(trials: list[dict[str, Any]], data: TaskData) -> str:
    """Return the picture of a race and its table: a row for each recipe and rung, the best first."""
    metric = METRICS[judge_of(data.task.metric)]
    if not trials:
        return note("There was no time for a trial: the cheapest recipe was trained.")
    table = pd.DataFrame(trials)
    table["spent"] = table["cpu"].cumsum()
    found = table.groupby(["rung", "name", "epochs"]).agg(
        loss=("loss", "mean"), cpu=("cpu", "sum"), n=("split", "size"), spent=("spent", "max")
    )
    found = found.reset_index().sort_values("loss")
    found["score"] = found["loss"].abs()
    ended = found[np.isfinite(found["loss"])]
    label = metric.label(data.task.unit)
    picture = scatter(
        ended["spent"],
        {"": ended["score"]},
        (ended["name"] + "\n" + ended["rung"]).tolist(),
        ("CPU seconds of all trials so far", f"{label} on inner splits"),
        ended["rung"].tolist(),
        (False, bool((ended["score"] > 0).all()) and not metric.larger_is_better),
    )
    shown = found.assign(cpu=found["cpu"].round(), **{label: found["score"].map("{:.4g}".format)})
    rows = shown[["name", "rung", "epochs", label, "n", "cpu"]].rename(columns={"name": "recipe", "n": "splits", "cpu": "CPU s"})
    text = "Each point is a recipe after a rung, in the order of time: hover over it or tap it."
    return note(text) + picture + html_table(rows.astype(str).to_dict("records"), searchable=True)


def _expected(submitted: Predictions, data: TaskData) -> str:
    """Return the expected score of the submission, and what more time would add."""
    metric = METRICS[data.task.metric]
    target, pred, fold = (submitted.oof[name].to_numpy() for name in ("e_form", "e_form_pred", "fold"))
    _, low, high = score_interval(data.task.metric, target, decided(data.task.metric, target, pred, fold))
    unit = f" {data.task.unit}" * metric.has_unit
    return (
        f"The submission is {submitted.name}. Expect {metric.text} {brief(low)} to {brief(high)}{unit} on rows like these (95% "
        "over crystals, out of fold). No choice has seen the crystals of fold 0. More time buys members and variants: the same "
        "command with more --minutes goes on."
    )
