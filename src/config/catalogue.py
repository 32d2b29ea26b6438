"""The experiments: configs of those with a folder in exp/, records of sealed ones, and the folder of a new one."""

import ast
import functools
import json
import logging
import re
import runpy
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict

from src.config.knobs import ExperimentConfig, GnnConfig
from src.paths import BEST, EXPERIMENTS, SEALED, experiment_folders, experiment_name, shown

log = logging.getLogger(__name__)
Track = Literal["closed", "open"]
# bases, groups of features and element tables that were learned on energies of the Materials Project
LEARNED_ON_ENERGIES = {"7net-l3i5", "megnet16"}
MAX_QUESTION = 120  # characters; it is a line of the config
OLD_SHIFTS = 'TargetConfig(kind="residual"'  # in a config: unseen elements get the mean shift unless it goes on to say otherwise


class Sealed(TypedDict):
    """The record of an experiment whose code was removed. commit: whose code trains it. config: as JSON, never parsed."""

    question: str
    parent: str | None
    track: Track
    commit: str
    transforms: list[str]
    is_ensemble: bool
    config: dict[str, Any]


@functools.cache
def sealed_experiments() -> dict[str, Sealed]:
    """Return the records of the sealed experiments, by name."""
    return json.loads((SEALED / "configs.json").read_text(encoding="utf-8"))


def sealed(name: str) -> Sealed | None:
    """Return the record of an experiment if it is sealed; one that has a folder lives."""
    return None if (EXPERIMENTS / name).is_dir() else sealed_experiments().get(name)


def experiment_names() -> list[str]:
    """Return the names of all experiments, living and sealed, in order."""
    return sorted({*(folder.name for folder in experiment_folders()), *sealed_experiments()})


def sealed_remedy(name: str, commit: str) -> str:
    """Return the remedy if more than the predictions of a sealed experiment is needed."""
    return (
        f"{name} is sealed: it can be compared, blended and submitted, but its code has left; commit {commit} trains it, and "
        f"this prints how: python exp/verify.py {name.removeprefix('exp')}"
    )


def load_config(folder: Path) -> ExperimentConfig:
    """Return CONFIG of exp/expNNN/config.py."""
    path = folder / "config.py"
    if not path.is_file():
        kept = sealed(folder.name)
        raise FileNotFoundError(sealed_remedy(folder.name, kept["commit"]) if kept else f"{path} is missing")
    try:
        config = runpy.run_path(str(path)).get("CONFIG")
    except ValueError as error:  # of a knob, which it names
        raise ValueError(f"{path}: {error}") from error
    except Exception as error:  # a config is Python, and its author has to see whatever is wrong with it
        raise ValueError(f"{path}: {type(error).__name__}: {error}") from error
    if not isinstance(config, ExperimentConfig):
        raise ValueError(f"{path}: CONFIG is not an ExperimentConfig")
    return config


def track(config: ExperimentConfig) -> Track:
    """Return `open` if the base, a group of features or an element table is among LEARNED_ON_ENERGIES, else `closed`.

    The closed track uses the task's data and published tables without energies of crystals. What the open track adds was
    trained on the data set that FLLA was taken from, including its test crystals.
    """
    tables = config.learner.elements.tables if isinstance(config.learner, GnnConfig) else ()
    return "open" if LEARNED_ON_ENERGIES & {config.target.base, *config.feature_groups, *tables} else "closed"


def is_of_track(name: str, track: str) -> bool:
    """Return whether an experiment belongs to a track; a draft whose config cannot be read belongs to none, and is logged."""
    try:
        return track_of(name) == track
    except (ValueError, FileNotFoundError) as error:
        log.warning("%s is left out: %s", name, error)
        return False


def track_of(number: str) -> Track:
    """Return the track of an experiment: `open` if it, or any experiment that it blends, is open."""
    name = experiment_name(number)
    if kept := sealed(name):
        return kept["track"]
    config = load_config(EXPERIMENTS / name)
    return "open" if "open" in (track(config), *map(track_of, config.parts)) else "closed"


def is_ensemble(number: str) -> bool:
    """Return whether an experiment blends finished ones."""
    name = experiment_name(number)
    if kept := sealed(name):
        return kept["is_ensemble"]
    return bool(load_config(EXPERIMENTS / name).parts)


def transforms_of(numbers: Iterable[str]) -> set[str]:
    """Return the transforms of the target that experiments, or those that they blend, learn."""
    found: set[str] = set()
    for name in map(experiment_name, numbers):
        if kept := sealed(name):
            found |= set(kept["transforms"])
            continue
        config = load_config(EXPERIMENTS / name)
        found |= transforms_of(config.parts) if config.parts else {config.target.transform}
    return found


def question_and_parent(name: str) -> tuple[str, str | None]:
    """Return the first line of a config's docstring and the experiment after `Parent:` (None: none)."""
    if kept := sealed(name):
        return kept["question"], kept["parent"]
    path = EXPERIMENTS / name / "config.py"
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    parent = re.search(r"^Parent: (exp\d{3}|none)\b", docstring, re.MULTILINE)
    if parent is None:
        raise ValueError(f"{path}: the docstring has no line 'Parent: expNNN. Changed: ...' or 'Parent: none'")
    return docstring.splitlines()[0].rstrip("."), None if parent[1] == "none" else parent[1]


def recipe_of(name: str) -> str:
    """Return the recipe that an autopilot experiment names in its config; nothing for one that a person made."""
    path = EXPERIMENTS / name / "config.py"
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) if path.is_file() else None
    return (docstring or "").partition("Recipe: ")[2].partition("; chosen")[0]


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
    if not 1 <= len(why) <= MAX_QUESTION or why != why.strip() or set(why) & set('\n"\\'):
        raise ValueError(f"--why {why!r}: must be one line of 1 to {MAX_QUESTION} characters, no double quotes or backslashes")
    config = _new_config((source / "config.py").read_text(encoding="utf-8"), parent, why)
    command = (source / "train.py").read_text(encoding="utf-8").replace(parent, name)
    folder.mkdir()
    (folder / "config.py").write_text(config, encoding="utf-8")
    (folder / "train.py").write_text(command, encoding="utf-8")
    return folder


def write_experiment(question: str, parent: str, config: ExperimentConfig) -> str:
    """Make the folder of a config under the next free number, and return the number. parent: a line that begins with Parent."""
    number = f"{max(int(name[-3:]) for name in experiment_names()) + 1:03d}"
    folder = EXPERIMENTS / experiment_name(number)
    command = (EXPERIMENTS / f"exp{BEST}" / "train.py").read_text(encoding="utf-8").replace(f"exp{BEST}", folder.name)
    folder.mkdir()
    (folder / "config.py").write_text(config_source(f"{question}\n\n{parent}", config), encoding="utf-8")
    (folder / "train.py").write_text(command, encoding="utf-8")
    return number


def find_experiment(question: str, config: ExperimentConfig) -> str | None:
    """Return the number of the living experiment with this question and config, None if there is none."""
    asked = [f for f in experiment_folders() if question in "".join(path.read_text("utf-8") for path in f.glob("config.py"))]
    return next((f.name.removeprefix("exp") for f in asked if load_config(f) == config), None)


def config_source(docstring: str, config: ExperimentConfig) -> str:
    """Return the text of a config.py, formatted like all code here."""
    code = _literal(config, "")
    imports = "".join(f"    {name},\n" for name in sorted(set(re.findall(r"[A-Za-z]+(?=[(])", code))))
    return f'"""{docstring}\n"""\n\nfrom src.config import (\n{imports})\n\nCONFIG = {code}\n'


def _literal(value: Any, indent: str) -> str:
    """Return the code of a setting, with a line for each field of a class."""
    if not is_dataclass(value):
        return repr(value).replace("'", '"')
    lines = "".join(f"{indent}    {f.name}={_literal(getattr(value, f.name), indent + '    ')},\n" for f in fields(value))
    return f"{type(value).__name__}(\n{lines}{indent})"


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
