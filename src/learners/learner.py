"""What every learner is: inputs and a unitless target in, unitless predictions out."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from src.config import from_dict, to_dict
from src.storage.files import read_json, write_atomic, write_json

Values = NDArray[np.float64]
C = TypeVar("C")


class Inputs(Protocol):
    """What a learner makes of crystals once for all folds: rows that an array of row numbers selects."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: NDArray[np.integer]) -> Any: ...


class Watched(NamedTuple):
    """Rows whose error is written to the history and decides nothing.

    report: called with the mean absolute error after each unit of progress; a search may stop a training by raising from it.
    """

    inputs: Any
    target: Values
    report: Callable[[float], None] = lambda error: None


class DivergedError(FloatingPointError):
    """A training that cannot go on. rows: the batch, as numbers of training rows."""

    def __init__(self, what: str, value: float, epoch: int, rows: list[int]) -> None:
        super().__init__(what, value, epoch, rows)  # all of them, so that the error travels between processes
        self.what, self.value, self.epoch, self.rows = what, value, epoch, rows

    def __str__(self) -> str:
        return self.describe([f"row {row}" for row in self.rows])

    def describe(self, names: list[str]) -> str:
        """For people. names: what the rows of the batch are called."""
        return (
            f"the {self.what} is {self.value:g} in epoch {self.epoch}, in the batch of {', '.join(names)}. "
            "The checkpoint of the epoch before is kept; look at these crystals, or try a smaller lr or clip_norm in a new "
            "experiment"
        )


def write_learner(folder: Path, config: Any, weights: tuple[str, bytes] | None = None, **settings: Any) -> None:
    """Writes the file of weights, name and content, then learner.json with its SHA-256, so that neither is taken for another."""
    checksum = {}
    if weights is not None:
        name, content = weights
        write_atomic(folder / name, content)
        checksum = {"sha256": hashlib.sha256(content).hexdigest()}
    write_json(folder / "learner.json", {"config": to_dict(config), **settings, **checksum})


def read_settings(folder: Path, kind: type[C], weights: str | None = None, **kinds: Any) -> tuple[C, dict[str, Any]]:
    """The config of a saved learner and all else of its learner.json.

    weights: the file that goes with it. kinds: types of the other settings.
    Raises ValueError where it is of another kind, or one of both files was changed since they were written.
    """
    path, remedy = folder / "learner.json", f"remove the folder {folder} and train that fold again"
    settings = read_json(path, {"config": dict, **kinds}, remedy)
    try:
        config = from_dict(settings["config"])
    except ValueError as error:
        raise ValueError(f"{path}: {error}; {remedy}") from error
    if not isinstance(config, kind):
        raise ValueError(f"{path}: not the settings of a {kind.__name__}")
    if weights is not None:
        if not (folder / weights).is_file():
            raise FileNotFoundError(f"{folder / weights} is missing; {remedy}")
        stored, found = settings.get("sha256"), hashlib.sha256((folder / weights).read_bytes()).hexdigest()
        if stored not in (None, found):  # a learner of before there were checksums has none
            raise ValueError(f"{folder / weights} is damaged or was changed: its SHA-256 is not that in {path.name}; {remedy}")
    return config, settings


@contextmanager
def loading(path: Path) -> Iterator[None]:
    """Turns whatever the reader of a file of weights raises into a ValueError that names the file and the remedy."""
    try:
        yield
    except Exception as error:  # each library has errors of its own, and none of them names the file
        text = f"{type(error).__name__}: {error}"
        raise ValueError(
            f"{path} is damaged ({text[:300]}); remove the folder {path.parent} and train that fold again"
        ) from error


class Learner(Protocol):
    """Fits a target of unit scale. The `fit` of a network goes on from its folder's checkpoint; trees start over."""

    def fit(self, inputs: Any, target: Values, folder: Path, watched: Watched | None = None) -> None:
        """Trains on all rows; writes history.csv, one line for each unit of progress."""

    def predict(self, inputs: Any) -> Values:
        """(n_rows,), unitless."""

    def save(self, folder: Path) -> None:
        """Writes the weights and the settings that they need."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The learner that `save` wrote, ready to predict."""

    @property
    def n_parameters(self) -> int:
        """Trained numbers: weights, or leaves of trees."""
