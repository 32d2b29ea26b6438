"""What to do about a damaged file: one answer for runs, for published results and for the learners in both."""

import re
from pathlib import Path

from src.paths import SEALED, shown

RESULTS = "results"  # folder of what is published of an experiment
N_MEMBER = 2  # levels of a fold's deepest file: fold_0/member_1/learner.json
N_BELOW = 5  # levels of its deepest file: results/<task>/<target>/models/fold_0/learner.json


def published_in(path: Path) -> Path | None:
    """Return the folder exp/expNNN/results that a path is in, itself included; None if it is in none."""
    folders = (path, *path.parents[:N_BELOW])
    return next((f for f in folders if f.name == RESULTS and re.fullmatch(r"exp\d{3}", f.parent.name)), None)


def damaged(path: Path, what: object, way_out: str | None = None) -> ValueError:
    """Return the error about a file that cannot be read. what: is wrong with it. way_out: if it is not its `remedy`."""
    return ValueError(f"{path} is damaged ({what}); {way_out or remedy(path)}")


def remedy(path: Path) -> str:
    """Return what to do about a damaged file of a run or of published results, as the second half of a message."""
    if path.is_relative_to(SEALED):
        return f"restore it: git checkout {shown(SEALED)}"
    if (folder := published_in(path)) is not None:
        return f"restore it: git checkout {shown(folder)}"
    fold = next((f for f in path.parents[:N_MEMBER] if f.name.startswith("fold_")), None)
    if fold is not None:
        return f"remove the folder {fold}, and train.py will train that fold again"
    return "remove it, and train.py will write it again"
