"""Configs of the folders in exp/: their settings, tracks, questions and parents."""

import ast
import importlib.util
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from src.config.experiment import ExperimentConfig, StudyConfig
from src.config.learners import BlendConfig
from src.config.serialize import to_dict
from src.paths import EXPERIMENTS, experiment_name

# bases, groups of features and element tables that were learned on energies of the Materials Project
LEARNED_ON_ENERGIES = ("chgnet", "chgnet_0.2.0", "chgnet_mean", "7net-l3i5", "7net-0", "7net_mean", "megnet16")


def load_config(folder: Path) -> ExperimentConfig | StudyConfig:
    """Return CONFIG of exp/expNNN/config.py."""
    path = folder / "config.py"
    spec = importlib.util.spec_from_file_location(f"{folder.name}_config", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ValueError as error:  # of a knob, which it names
        raise ValueError(f"{path}: {error}") from error
    except Exception as error:  # a config is Python, and its author has to see whatever is wrong with it
        raise ValueError(f"{path}: {type(error).__name__}: {error}") from error
    config = getattr(module, "CONFIG", None)
    if not isinstance(config, ExperimentConfig | StudyConfig):
        raise ValueError(f"{path}: CONFIG is neither an ExperimentConfig nor a StudyConfig")
    return config


def track(config: ExperimentConfig) -> Literal["closed", "open"]:
    """Return `open` if any setting names something in LEARNED_ON_ENERGIES, else `closed`.

    The closed track is the task's data and published tables that contain no energy of a crystal. What the open track adds was
    trained on the data set that FLLA was taken from, its test crystals included.
    """
    settings = json.dumps(to_dict(config))
    return "open" if any(json.dumps(name) in settings for name in LEARNED_ON_ENERGIES) else "closed"


def track_of(number: str) -> Literal["closed", "open"]:
    """Return the track of an experiment in exp/: `open` if it, its teacher, or any member of an ensemble is open."""
    config = load_config(EXPERIMENTS / experiment_name(number))
    if isinstance(config, StudyConfig):
        parts = [_track_with_teacher(experiment, number) for _, experiment in config.variants]
    elif isinstance(config.learner, BlendConfig):
        parts = [track_of(member) for member in config.learner.members]
    else:
        parts = [_track_with_teacher(config, number)]
    return "open" if "open" in parts else "closed"


def _track_with_teacher(config: ExperimentConfig, number: str) -> Literal["closed", "open"]:
    """Return the track of an experiment that may learn from another one. number: its own; a study's variant may teach another."""
    if config.distillation:
        teacher = experiment_name(config.distillation.teacher[:3])
        if teacher != experiment_name(number) and track_of(teacher) == "open":
            return "open"
    return track(config)


def is_ensemble(number: str) -> bool:
    """Return whether an experiment in exp/ blends finished ones."""
    config = load_config(EXPERIMENTS / experiment_name(number))
    return isinstance(config, ExperimentConfig) and isinstance(config.learner, BlendConfig)


def transforms_of(numbers: Iterable[str]) -> set[str]:
    """Return the transforms of the target that experiments in exp/, or the members of ensembles among them, learn."""
    found: set[str] = set()
    for number in numbers:
        config = load_config(EXPERIMENTS / experiment_name(number))
        if isinstance(config, StudyConfig):
            found |= {experiment.target.transform for _, experiment in config.variants}
        elif isinstance(config.learner, BlendConfig):
            found |= transforms_of(config.learner.members)
        else:
            found.add(config.target.transform)
    return found


def question_and_parent(name: str) -> tuple[str, str | None]:
    """Return the first line of a config's docstring and the experiment after `Parent:` (None: none)."""
    path = EXPERIMENTS / name / "config.py"
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    parent = re.search(r"^Parent: (exp\d{3}|none)\b", docstring, re.MULTILINE)
    if parent is None:
        raise ValueError(f"{path}: the docstring has no line 'Parent: expNNN. Changed: ...' or 'Parent: none'")
    return docstring.splitlines()[0].rstrip("."), None if parent[1] == "none" else parent[1]
