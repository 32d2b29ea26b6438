"""The folder of a new experiment, made from its parent's."""

import ast
import shutil
import tempfile
from pathlib import Path

from src.paths import EXPERIMENTS, experiment_name, shown

MAX_QUESTION = 120  # characters; it is a line of the config
OLD_SHIFTS = 'TargetConfig(kind="residual"'  # in a config: unseen elements get the mean shift unless it goes on to say otherwise


def new_experiment(number: str, parent_number: str, why: str, experiments: Path = EXPERIMENTS) -> Path:
    """Make and return the new experiment's folder: its parent's files, with the question `why` first in config.py.

    Raises ValueError if the folder exists already, the parent does not, or `why` cannot be the docstring's first line.
    """
    name, parent = experiment_name(number), experiment_name(parent_number)
    folder, source = experiments / name, experiments / parent
    if folder.exists():
        raise ValueError(f"{shown(folder)} exists already; an experiment never changes, choose another number")
    if not (source / "config.py").is_file():
        raise ValueError(f"there is no experiment {parent} in {shown(experiments)}")
    config = _new_config((source / "config.py").read_text(encoding="utf-8"), parent, _checked(why))
    command = (source / "train.py").read_text(encoding="utf-8").replace(parent, name)
    temporary = Path(tempfile.mkdtemp(dir=experiments, prefix=f".{name}-"))
    try:
        (temporary / "config.py").write_text(config, encoding="utf-8")
        (temporary / "train.py").write_text(command, encoding="utf-8")
        temporary.chmod(0o755)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _checked(why: str) -> str:
    why = why.strip()
    if not 1 <= len(why) <= MAX_QUESTION or set(why) & set('\n"\\'):
        raise ValueError(f"--why {why!r}: must be one line of 1 to {MAX_QUESTION} characters, no double quotes or backslashes")
    return why


def _new_config(parent_config: str, parent: str, why: str) -> str:
    """Return the parent's config under a new docstring; elements without a training crystal get predicted shifts from now on."""
    docstring = ast.parse(parent_config).body[0]
    if ast.get_docstring(ast.parse(parent_config)) is None or docstring.end_lineno is None:
        raise ValueError(f"{parent}/config.py has no docstring")
    rest = "".join(parent_config.splitlines(keepends=True)[docstring.end_lineno :])
    changed = "nothing yet"
    if OLD_SHIFTS in rest and not any(knob in rest for knob in ("unseen_elements=", "reference=")):
        rest = rest.replace(OLD_SHIFTS, f'{OLD_SHIFTS}, unseen_elements="predicted"')
        changed = "target.unseen_elements, as in all that is new"
    return f'"""{why}\n\nParent: {parent}. Changed: {changed}.\n"""\n{rest}'
