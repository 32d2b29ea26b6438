"""The autopilot's page: what was seen, what was decided and why, the race, the result, and what more time would buy."""

import ast
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd

from src.auto.look import Look
from src.auto.plan import Plan
from src.data.load import TaskData
from src.paths import EXPERIMENTS
from src.report.page import Section, html_table, note, page, picture
from src.results.metrics import METRICS, score_interval
from src.results.predictions import find_predictions
from src.storage.files import write_atomic

matplotlib.use("Agg")
from matplotlib import pyplot as plt

MAX_LEGEND = 8  # recipes in the legend of the picture


def write_page(path: Path, title: str, targets: Sequence[Sequence[Section]]) -> None:
    """Write the page of all targets of a task."""
    write_atomic(path, page(title, [section for sections in targets for section in sections]).encode())


def sections_of(data: TaskData, look: Look, plan: Plan, trials: list[dict[str, Any]], numbers: Sequence[str]) -> list[Section]:
    """Return the sections about one target. trials: see `history`. numbers: of the experiments, the submitted one last."""
    prefix = f"{data.task.target_column}: " if len(data.task.targets) > 1 else ""
    facts = [{"what": line[:11].strip(), "found": line[12:]} for line in look.lines()]
    recipes = [{"recipe": recipe.name, "why": recipe.why} for recipe in plan.recipes]
    recipes += [{"recipe": name, "why": f"left out: {text}"} for name, text in plan.left_out.items()]
    return [
        (f"{prefix}What was seen", html_table(facts)),
        (f"{prefix}The recipes, and why", html_table(recipes)),
        (f"{prefix}The race", _race(trials, data)),
        (f"{prefix}The result", _result(data, numbers)),
    ]


def _race(trials: list[dict[str, Any]], data: TaskData) -> str:
    """Return the picture of a race and its table: a row for each recipe and rung, the best first."""
    metric = METRICS[data.task.metric]
    table = pd.DataFrame(trials)
    table["spent"] = table["cpu"].cumsum()
    found = table.groupby(["rung", "name"], sort=False).agg(
        loss=("loss", "mean"), cpu=("cpu", "sum"), n=("split", "size"), spent=("spent", "max")
    )
    found = found.reset_index().sort_values("loss")
    figure, axis = plt.subplots(figsize=(8.0, 4.2), layout="constrained")
    base = [name.split(";")[0] for name in found["name"]]
    first = list(dict.fromkeys(base))
    shades = plt.get_cmap("cividis")(np.linspace(0, 0.85, len(first)))
    for i, name in enumerate(first):
        own = found[[one == name for one in base]].sort_values("spent")
        axis.plot(own["spent"], own["loss"].abs(), "o-", color=shades[i], markersize=4, label=name if i < MAX_LEGEND else None)
    axis.set(xlabel="CPU seconds of all trials so far", ylabel=f"{metric.label(data.task.unit)} on inner splits")
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, fontsize=7, ncols=2)
    shown = found.assign(cpu=found["cpu"].round(), **{metric.label(data.task.unit): found["loss"].abs().round(4)})
    columns = ["rung", "name", metric.label(data.task.unit), "n", "cpu"]
    rows = shown[columns].rename(columns={"name": "recipe", "n": "splits", "cpu": "CPU s"}).astype(str).to_dict("records")
    return picture(figure, "the race") + html_table(rows)


def _result(data: TaskData, numbers: Sequence[str]) -> str:
    """Return the scores of the experiments and what the submission is expected to score."""
    metric = METRICS[data.task.metric]
    rows = []
    for number in numbers:
        oof = find_predictions(number, data.task, data.outputs)
        score, low, high = score_interval(data.task.metric, *oof.oof[["e_form", "e_form_pred"]].to_numpy().T)
        rows.append(
            {
                "experiment": f"exp{number}",
                "recipe": recipe_of(number),
                f"OOF {metric.label(data.task.unit)}": f"{score:.4f}",
                "95%": f"{low:.4f} to {high:.4f}",
                "CPU s": f"{oof.metrics['cpu_seconds']:.0f}",
            }
        )
    unit = f" {data.task.unit}" * metric.has_unit
    text = (
        f"The submission is exp{numbers[-1]}. Expect {metric.text} {rows[-1]['95%']}{unit} on rows like these (95% over "
        "crystals, out of fold). No choice has seen the crystals of fold 0. More time buys members and variants: the same "
        "command with more --minutes goes on."
    )
    return html_table(rows) + note(text)


def recipe_of(number: str) -> str:
    """Return the recipe that the config of an experiment names."""
    docstring = ast.get_docstring(ast.parse((EXPERIMENTS / f"exp{number}" / "config.py").read_text(encoding="utf-8"))) or ""
    return docstring.partition("Recipe: ")[2].partition("; chosen")[0]
