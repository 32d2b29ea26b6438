"""Image files of a task and of its runs, for README."""

from collections.abc import Sequence
from pathlib import Path

from src.data.load import TaskData
from src.report import crystals, curves, figures
from src.results.predictions import find_predictions


def draw(data: TaskData, numbers: Sequence[str], folder: Path) -> list[Path]:
    """Draw the target and, of finished experiments, predictions and learning curves; return the files."""
    members = [find_predictions(number, data.task) for number in numbers]
    drawn = {"target": crystals.target(data)}
    if members:
        drawn["oof"] = figures.parity(members, data.task.unit)
        histories = {member.name: curves.read_histories(member.source) for member in members}  # published runs have none
        networks = {name: tables for name, tables in histories.items() if tables and "train_loss" in tables[0]}
        drawn |= {f"history-{name}": curves.training_curves(tables) for name, tables in networks.items()}
    for name, figure in drawn.items():
        figures.save(figure, folder / f"{name}.png")
    return [folder / f"{name}.png" for name in drawn]
