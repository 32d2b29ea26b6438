"""Configs of the folders in exp/."""

import importlib.util
from pathlib import Path
from typing import Literal

from src.config.checks import check_kinds
from src.config.experiment import ExperimentConfig, StudyConfig
from src.config.learners import BlendConfig
from src.config.stored import track
from src.paths import EXPERIMENTS, experiment_name


def load_config(folder: Path) -> ExperimentConfig | StudyConfig:
    """CONFIG of exp/expNNN/config.py."""
    path = folder / "config.py"
    spec = importlib.util.spec_from_file_location(f"{folder.name}_config", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # a config is Python: whatever is wrong with it is its author's to see
        raise ValueError(f"{path}: {type(error).__name__}: {error}") from error
    config = getattr(module, "CONFIG", None)
    if not isinstance(config, ExperimentConfig | StudyConfig):
        raise ValueError(f"{path}: CONFIG is neither an ExperimentConfig nor a StudyConfig")
    try:
        check_kinds(config)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return config


def track_of(number: str) -> Literal["closed", "open"]:
    """The track of an experiment in exp/: `open` where it or, in an ensemble, any member is."""
    config = load_config(EXPERIMENTS / experiment_name(number))
    if isinstance(config, StudyConfig):
        parts = [track(experiment) for _, experiment in config.variants]
    elif isinstance(config.learner, BlendConfig):
        parts = [track_of(member) for member in config.learner.members]
    else:
        parts = [track(config)]
    return "open" if "open" in parts else "closed"
