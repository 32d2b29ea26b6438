"""Fold models of a network as they are published: weights without duplicates, settings, normalisers, training crystals."""

import hashlib
import json
from pathlib import Path

from src.results.folder import RunDir
from src.storage.files import read_json, write_atomic
from src.storage.names import SHARED, WEIGHTS
from src.storage.remedy import remedy

MODELS = "models"  # folder of the published models
MAX_BYTES = 13_000_000  # of all published models of an experiment: they stay in the history of the repository
COMMON = "element_vectors"  # the same table in all folds, stored once


def publish_models(run: RunDir, target: RunDir, n_folds: int) -> None:
    """Copy what predictions need: config, training crystals, and of each fold weights, settings and normaliser.

    Raises ValueError if the run has no networks, or if they are too large; nothing is written then.
    """
    if not run.config_path.is_file():
        raise FileNotFoundError(f"{run.path}: its models are not there; train the experiment first")
    if not run.training_path.is_file():  # runs of older versions
        raise FileNotFoundError(f"{run.training_path} is missing; predict.py --exps {run.path.name} writes it")
    files = {target.config_path: run.config_path.read_bytes(), target.training_path: run.training_path.read_bytes()}
    for k in range(n_folds):
        files |= _fold_files(run.fold(k), target.fold(k))
    if (size := sum(map(len, files.values()))) > MAX_BYTES:
        raise ValueError(f"{run.path}: its models have {size} bytes; at most {MAX_BYTES} are published")
    for path, content in files.items():
        write_atomic(path, content)


def _fold_files(source: Path, target: Path) -> dict[Path, bytes]:
    """Return the files of a fold; its learner.json has the SHA-256 of both files of weights."""
    from safetensors.numpy import load, save  # takes a while to import

    if not (source / WEIGHTS).is_file():
        raise ValueError(f"{source} has no {WEIGHTS}: only models of networks that are trained here are published")
    settings = read_json(source / "learner.json", {"config": dict, "sha256": str})
    content = (source / WEIGHTS).read_bytes()
    if hashlib.sha256(content).hexdigest() != settings["sha256"]:
        raise ValueError(f"{source / WEIGHTS} was changed: its SHA-256 is not that in learner.json; {remedy(source / WEIGHTS)}")
    weights = load(content)
    shared, own = save({COMMON: weights.pop(COMMON)}), save(weights)
    settings |= {"sha256": hashlib.sha256(own).hexdigest(), "shared_sha256": hashlib.sha256(shared).hexdigest()}
    return {
        target.parent / SHARED: shared,
        target / WEIGHTS: own,
        target / "learner.json": (json.dumps(settings, indent=1) + "\n").encode(),
        target / "normalizer.json": (source / "normalizer.json").read_bytes(),
    }
