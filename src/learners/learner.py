"""The interface of all learners: inputs and a unitless target in, unitless predictions out; LEARNERS lists them."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Generic, NamedTuple, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from src.config import (
    ForestConfig,
    GaussianProcessConfig,
    GbdtConfig,
    GbdtEnsembleConfig,
    GnnConfig,
    HurdleConfig,
    LearnerConfig,
    from_dict,
    to_dict,
)
from src.data.table import Crystals
from src.data.target import class_of
from src.data.task import ColumnNames
from src.features.columns import COLUMNS, ColumnEncoder
from src.storage.files import damaged, read_json, remedy, write_atomic, write_json

Values = NDArray[np.float64]
SETTINGS = "learner.json"  # of a saved learner: its config, its seed and the SHA-256 of its weights
MEMBER_SEEDS = 1000  # between members, so that no two folds' members share a seed
C = TypeVar("C")
S = TypeVar("S")


class Inputs(Protocol):
    """What a learner computes from the crystals of a table, once for all folds; an array of row numbers selects rows."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: NDArray[np.integer]) -> Any: ...


class Watched(NamedTuple):
    """Rows whose error is written to the history but decides nothing.

    report: called with the error after each unit of progress; a search stops a training by raising from it.
    """

    inputs: Any
    target: Values
    report: Callable[[float], None] = lambda error: None

    def error(self, pred: Values, of_classes: bool) -> float:
        """Return the mean absolute error or, of classes, the log loss. pred: (n_members, n_rows)."""
        if not of_classes:
            return float(np.abs(pred.mean(axis=0) - self.target).mean())
        from scipy.special import expit  # processes that prepare crystals do without

        classes, start = class_of(self.target)
        chance = expit((2 * classes - 1) * (start + pred)).mean(axis=0)  # of the class that is there
        return float(-np.log(np.maximum(chance, np.finfo(float).tiny)).mean())


class DivergedError(FloatingPointError):
    """A training that cannot go on. rows: the batch, as numbers of training rows."""

    def __init__(self, what: str, value: float, epoch: int, rows: list[int]) -> None:
        super().__init__(what, value, epoch, rows)  # all of them, so that the error can be pickled
        self.what, self.value, self.epoch, self.rows = what, value, epoch, rows

    def __str__(self) -> str:
        return self.describe([f"row {row}" for row in self.rows])

    def describe(self, names: list[str]) -> str:
        """Return the message for people. names: of the rows of the batch."""
        return (
            f"the {self.what} is {self.value:g} in epoch {self.epoch}, in the batch of {', '.join(names)}. "
            "The checkpoint of the previous epoch is kept; look at these crystals, or try a smaller lr in a new experiment"
        )


def write_learner(
    folder: Path, config: Any, weights: tuple[str, bytes] | None = None, encoder: ColumnEncoder | None = None, **settings: Any
) -> None:
    """Write the file of weights (name, content), then learner.json with its SHA-256, so that the two cannot be mixed up.

    encoder: of further columns; None: the learner uses none.
    """
    if encoder is not None:
        settings[COLUMNS] = encoder.to_json()
    if weights is not None:
        name, content = weights
        write_atomic(folder / name, content)
        settings["sha256"] = hashlib.sha256(content).hexdigest()
    write_json(folder / SETTINGS, {"config": to_dict(config), **settings})


def read_encoder(folder: Path, groups: tuple[str, ...], settings: dict[str, Any]) -> ColumnEncoder | None:
    """Return the encoder of further columns in the settings of a saved learner; None if it does not use any.

    Raises ValueError if it is missing or damaged.
    """
    if COLUMNS not in groups:
        return None
    with loading(folder / SETTINGS):
        return ColumnEncoder.from_json(settings[COLUMNS])


def check_sha256(path: Path, stored: str | None) -> None:
    """Raise an error that names the file if it is missing, or if its SHA-256 is not the stored one (None: there is none)."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; {remedy(path)}")
    if stored not in (None, hashlib.sha256(path.read_bytes()).hexdigest()):  # learners saved by older versions have none
        raise ValueError(f"{path} is damaged or was changed: its SHA-256 is not that in {SETTINGS}; {remedy(path)}")


@contextmanager
def loading(path: Path, way_out: str | None = None) -> Iterator[None]:
    """Turn any error of a file's reader into a ValueError that names the file and the way out (by default its `remedy`)."""
    try:
        yield
    except Exception as error:  # each library has errors of its own, none of which names the file
        raise damaged(path, f"{type(error).__name__}: {error}".splitlines()[0][:300], way_out) from error


def fitted(state: S | None) -> S:
    """Return what `fit` has set; raise ValueError if it has not been called."""
    if state is None:
        raise ValueError("the learner is not fitted")
    return state


class Learner(ABC, Generic[C]):
    """Fits a target of unit scale. A network resumes from the checkpoint in its folder; other learners start over.

    encoder: of the further columns, fitted to the training rows; None if they are not used.
    """

    encoder: ColumnEncoder | None = None

    def __init__(self, config: C, seed: int = 0, device: str = "cpu", word2vec: Path | None = None) -> None:
        """device: of a network, as torch names it. word2vec: a gensim file of mat2vec vectors; None: the packaged table."""
        self.config, self.seed, self.device, self.word2vec = config, seed, device, word2vec

    @abstractmethod
    def prepare_inputs(self, crystals: Crystals, key: str, cache: Path | None, n_jobs: int) -> Inputs:
        """Return the inputs for all crystals of a table, from the cache if they are there.

        key: identifies the crystals. cache: folder of stores; None: they are made in memory, and nothing is written.
        """

    @abstractmethod
    def histories(self) -> dict[str, int]:
        """Return the files that grow in the folder of a fold during training, and how many lines below the header each gets."""

    @property
    def columns(self) -> ColumnNames:
        """Names of the further columns that a fitted learner needs to predict."""
        return self.encoder.names if self.encoder else ColumnNames((), ())

    @property
    def gpu(self) -> str | None:
        """The GPU model that trains this learner, for example "NVIDIA H100 80GB HBM3"; None if it trains on a CPU."""
        return None

    def limit_threads(self) -> None:
        """Keep this process to one core: folds run side by side, and one thread gives the same numbers everywhere."""

    @abstractmethod
    def fit(self, inputs: Any, target: Values, folder: Path, watched: Watched | None = None) -> None:
        """Train on all rows and write the histories.

        target: (n_rows,), unitless. folder: of the fold. watched: rows whose error is reported.
        """

    @abstractmethod
    def predict(self, inputs: Any) -> Values:
        """Return the predictions, (n_rows,), unitless."""

    def predict_members(self, inputs: Any) -> Values:
        """Return the predictions of the networks that were trained in one pass, (n_members, n_rows), unitless."""
        return self.predict(inputs)[None]

    @classmethod
    def predict_each(cls, learners: Sequence[Self], inputs: Any) -> Values:
        """Return the predictions of the members of several learners of one kind, (n_learners, n_members, n_rows), unitless."""
        return np.stack([learner.predict_members(inputs) for learner in learners])

    def features(self, inputs: Any) -> NDArray[np.float32]:
        """Return the vectors that a network predicts from, (n_rows, n_features). Raises ValueError for other learners."""
        raise ValueError(f"{type(self).__name__}: only networks have vectors of their own for a crystal")

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the weights and learner.json, with the settings that they need."""

    @abstractmethod
    def restore(self, folder: Path, settings: dict[str, Any]) -> None:
        """Become the learner that `save` wrote, ready to predict. settings: what its learner.json says.

        Raises ValueError if a file is damaged, and FileNotFoundError if it is missing.
        """

    @property
    @abstractmethod
    def n_parameters(self) -> int:
        """Number of fitted parameters: weights, or leaves of trees."""


# config -> module and class, imported when asked for: trees train without torch
LEARNERS: dict[type, str] = {
    GnnConfig: "src.learners.gnn:GnnLearner",
    GbdtConfig: "src.learners.gbdt:GbdtLearner",
    GbdtEnsembleConfig: "src.learners.gbdt:GbdtEnsembleLearner",
    ForestConfig: "src.learners.forest:ForestLearner",
    GaussianProcessConfig: "src.learners.process:GaussianProcessLearner",
    HurdleConfig: "src.learners.hurdle:HurdleLearner",
}


def make_learner(
    config: LearnerConfig | HurdleConfig, seed: int = 0, device: str = "cpu", word2vec: Path | None = None
) -> Learner[Any]:
    """Return an untrained learner; the arguments are those of `Learner`."""
    return resolve_name(LEARNERS[type(config)])(config, seed, device, word2vec)


def load_learner(folder: Path, device: str = "cpu", word2vec: Path | None = None) -> Learner[Any]:
    """Return the learner that was saved in the folder of a fold, ready to predict; the settings are its own.

    Raises ValueError if they are damaged, and FileNotFoundError if they are missing.
    """
    path = folder / SETTINGS
    settings = read_json(path, {"config": dict, "seed": int})
    with loading(path):
        config = from_dict(settings["config"])
    if type(config) not in LEARNERS:
        raise ValueError(f"{path}: not the settings of a learner; {remedy(path)}")
    learner = make_learner(config, settings["seed"], device, word2vec)
    learner.restore(folder, settings)
    return learner
