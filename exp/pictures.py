"""Draws the target, out-of-fold predictions and learning curves into exp/pictures/.

python exp/pictures.py 001 005
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from src.command import one_message
from src.data.load import load_task_data
from src.paths import DEFAULT_TASK, EXPERIMENTS, OUTPUTS
from src.report import figures
from src.results.predictions import find_predictions


def main(numbers: list[str]) -> None:
    folder = EXPERIMENTS / "pictures"
    data = load_task_data(DEFAULT_TASK, OUTPUTS, skip_bad_rows=False, n_jobs=os.cpu_count() or 1)
    members = [find_predictions(number, data.task.name) for number in numbers]
    figures.save(figures.target(data), folder / "target.png")
    if members:
        figures.save(figures.parity(members, data.task.unit), folder / "oof.png")
    for member in members:
        if (member.source / "fold_0" / "model.safetensors").is_file():  # a network trained here; published runs have no history
            figures.save(figures.training_curves(member.source), folder / f"history-{member.name}.png")
    print(f"{folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")


if __name__ == "__main__":
    with one_message("pictures"):
        main(sys.argv[1:])
