"""Config -> learner: one registry, one line for each learner."""

from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from src.config import GbdtConfig, GbdtEnsembleConfig, GnnConfig, LearnerConfig
from src.learners.learner import SETTINGS, Learner, read_settings
from src.storage.remedy import remedy

# config -> module and class, imported when asked for: trees train without torch
LEARNERS: dict[type, str] = {
    GnnConfig: "src.learners.gnn:GnnLearner",
    GbdtConfig: "src.learners.gbdt:GbdtLearner",
    GbdtEnsembleConfig: "src.learners.gbdt_mean:GbdtEnsembleLearner",
}


def make_learner(config: LearnerConfig, seed: int = 0, device: str = "cpu", word2vec: Path | None = None) -> Learner[Any]:
    """Return an untrained learner; the arguments are those of `Learner`."""
    return resolve_name(LEARNERS[type(config)])(config, seed, device, word2vec)


def load_learner(folder: Path, device: str = "cpu", word2vec: Path | None = None) -> Learner[Any]:
    """Return the learner that was saved in the folder of a fold, ready to predict; the settings are its own."""
    config, settings = read_settings(folder)
    if type(config) not in LEARNERS:
        raise ValueError(f"{folder / SETTINGS}: not the settings of a learner; {remedy(folder / SETTINGS)}")
    learner = make_learner(config, settings["seed"], device, word2vec)
    learner.restore(folder, settings)
    return learner
