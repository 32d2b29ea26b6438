"""Image files of a task and of its runs, for README."""

from collections.abc import Sequence
from pathlib import Path

from src.data.load import TaskData
from src.report import crystals, curves, figures
from src.results.predictions import find_predictions


def draw(data: TaskData, numbers: Sequence[str], folder: Path) -> list[Path]:
    """Draw the target and, of finished experiments, predictions and learning curves; return the files."""
    members = [find_predictions(number, data.task.name) for number in numbers]
    drawn = {"target": crystals.target(data)}
    if members:
        drawn["oof"] = figures.parity(members, data.task.unit)
    for member in members:
        if (member.source / "fold_0" / "model.safetensors").is_file():  # a network trained here; published runs have no history
            drawn[f"history-{member.name}"] = curves.training_curves(member.source)
    for name, figure in drawn.items():
        figures.save(figure, folder / f"{name}.png")
    return [folder / f"{name}.png" for name in drawn]
