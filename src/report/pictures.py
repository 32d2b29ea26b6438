"""Image files of a task and of its results, for README and docs."""

from collections.abc import Sequence
from pathlib import Path

from src.data.load import TaskData
from src.paths import EXPERIMENTS
from src.report import figures
from src.results.marked import costs
from src.results.predictions import find_predictions, is_default


def draw(data: TaskData, numbers: Sequence[str]) -> list[Path]:
    """Draw the target, errors against costs and the predictions of finished experiments; return the files."""
    folder = (EXPERIMENTS if is_default(data.task) else data.folder) / "pictures"
    drawn = {"target": figures.target(data)}
    if is_default(data.task):
        drawn["costs"] = figures.costs(costs())
    if numbers:
        drawn["oof"] = figures.parity([find_predictions(number, data.task, data.outputs) for number in numbers], data.task.unit)
    for name, figure in drawn.items():
        figures.save(figure, folder / f"{name}.png")
    return [folder / f"{name}.png" for name in drawn]
