"""Image files of a task and of its runs, for README."""

from collections.abc import Sequence
from pathlib import Path

from src.data.load import TaskData
from src.paths import EXPERIMENTS
from src.report import crystals, curves, figures
from src.results.marked import costs
from src.results.predictions import find_predictions, is_default


def draw(data: TaskData, numbers: Sequence[str]) -> list[Path]:
    """Draw the target, errors against costs and, for finished experiments, predictions and learning curves; return the files."""
    members = [find_predictions(number, data.task, data.outputs) for number in numbers]
    folder = (EXPERIMENTS if is_default(data.task) else data.folder) / "pictures"
    drawn = {"target": crystals.target(data)}
    if is_default(data.task):
        drawn["costs"] = figures.costs(costs())
    if members:
        drawn["oof"] = figures.parity(members, data.task.unit)
        histories = {member.name: curves.read_histories(member.source) for member in members}  # published runs have none
        networks = {name: tables for name, tables in histories.items() if tables and "train_loss" in tables[0]}
        drawn |= {f"history-{name}": curves.training_curves(tables) for name, tables in networks.items()}
    for name, figure in drawn.items():
        figures.save(figure, folder / f"{name}.png")
    return [folder / f"{name}.png" for name in drawn]
