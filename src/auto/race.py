"""Trials of recipes on inner splits, several at once; each is written when it ends, so a killed race can continue."""

import hashlib
import json
import logging
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.config import ExperimentConfig, ForestConfig, GaussianProcessConfig, GbdtConfig, GnnConfig, NequipConfig, to_dict
from src.data.load import TaskData
from src.data.table import Crystals
from src.learners.device import device_of
from src.learners.learner import DivergedError, Inputs, make_learner
from src.paths import own_mat2vec
from src.results.metrics import METRICS, judge_of, score_difference
from src.runs.inner import InnerSplits
from src.runs.launch import Launcher, run_all
from src.runs.ranges import with_knobs
from src.storage.files import read_json, write_json

log = logging.getLogger(__name__)
N_SAMPLE = (2, 8, 48)  # crystals whose features and graphs are made; the last ones are timed, of large cells the second
LEAST_SECONDS = 1e-3  # that a timed training counts for
N_TIMED = 1000  # rows at most, on which trees are timed
N_ROUNDS, LONG_ENOUGH = 3, 1.5  # trainings of each length at most, and seconds of the longer ones after which no more are needed
EPOCHS, TREE_COUNT, FITTED = "learner.training.n_epochs", "learner.n_trees", "learner.n_fit"
Values = NDArray[np.float64]


class Cost(NamedTuple):
    """Seconds on one core: for the inputs of a crystal, and for a row in an epoch of a network or in all trees."""

    prepare: float
    train: float


class Trial(NamedTuple):
    """A recipe that is trained on one split. rung: which part of the race asked for it."""

    rung: str
    name: str
    config: ExperimentConfig
    split: int

    @property
    def key(self) -> str:
        """Name of its files."""
        return hashlib.sha256(json.dumps([to_dict(self.config), self.split]).encode()).hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class Outcome:
    """Predictions of a recipe for the rows of several splits. loss: by the metric. wall, cpu: mean seconds of a training."""

    name: str
    config: ExperimentConfig
    target: Values
    pred: Values
    loss: float
    wall: float
    cpu: float


@dataclass(frozen=True, eq=False)
class Race:
    """Trains the trials of a target and keeps their predictions. folder: of their results."""

    splits: InnerSplits
    folder: Path
    launcher: Launcher
    device: str

    def run(self, rung: str, configs: Mapping[str, ExperimentConfig], n_splits: int, seconds: float) -> list[Outcome]:
        """Return the outcome of each config, the best first; trials that have ended before are not trained again.

        seconds: after which trials are stopped; a stopped trial has an infinite loss.
        """
        trials = [Trial(rung, name, config, split) for name, config in configs.items() for split in range(n_splits)]
        to_do = [k for k, trial in enumerate(trials) if not self._result(trial).is_file()]
        if to_do:
            for k in to_do:
                self._late(trials[k]).unlink(missing_ok=True)
            with tempfile.TemporaryDirectory(dir=self.folder) as place:
                histories = [(trials[k].key, make_learner(trials[k].config.trained).histories()) for k in to_do]
                growing = {Path(place) / key / file: n for key, files in histories for file, n in files.items()}
                work = partial(self.train, trials, Path(place), time.time() + seconds)
                ended = lambda k: self._result(trials[k]).is_file() or self._late(trials[k]).is_file()
                run_all(rung, work, to_do, ended, growing, self.launcher)
            for path in [self._result(trials[k]) for k in to_do if self._result(trials[k]).is_file()]:
                if (tried := read_json(path, {"name": str, "failed": str}))["failed"]:
                    log.warning("%s is left out: %s", tried["name"], tried["failed"])
        found = [self._outcome(name, config, n_splits) for name, config in configs.items()]
        return sorted(found, key=lambda outcome: outcome.loss)

    def train(self, trials: list[Trial], place: Path, end: float, k: int) -> None:
        """Train a trial and write its predictions; if it fails or is stopped at the time `end`, there are none."""
        trial = trials[k]
        learner = make_learner(trial.config.trained)
        learner.limit_threads()
        wall, cpu = time.perf_counter(), time.process_time()

        def stop_if_late(*_: float) -> None:
            if time.time() > end:
                raise TimeoutError

        try:
            stop_if_late()
            failed = ""
            place, device = place / trial.key, device_of(self.device, k)
            pred = self.splits.predict(trial.config, trial.split, place, device, stop_if_late).tolist()
        except (DivergedError, ValueError) as error:
            pred, failed = None, str(error)
        except TimeoutError:
            self._late(trial).touch()
            return
        seconds = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        about = {"rung": trial.rung, "name": trial.name, "split": trial.split, "epochs": epochs_of(trial.config)}
        write_json(self._result(trial), about | {"pred": pred, "failed": failed} | seconds)

    def history(self) -> list[dict[str, Any]]:
        """Return all trials in the order in which they ended: rung, name, split, epochs, loss and seconds."""
        metric, rows = METRICS[judge_of(self.splits.data.task.metric)], []
        for path in sorted(self.folder.glob("*.json"), key=lambda path: path.stat().st_mtime):
            found = read_json(path, {"rung": str, "name": str, "split": int, "epochs": int})
            pred, target = found.pop("pred"), self.splits.target(found["split"])
            rows.append(found | {"loss": np.inf if pred is None else metric.loss(target, np.array(pred))})
        return rows

    def better(self, first: Outcome, other: Outcome) -> bool:
        """Return whether `other` is better than `first` by more than a standard error of their difference over crystals."""
        if not np.isfinite([first.loss, other.loss]).all():
            return other.loss < first.loss
        _, low, high = score_difference(judge_of(self.splits.data.task.metric), first.target, first.pred, other.pred)
        return first.loss - other.loss > (high - low) / 4  # a quarter of the 95% interval

    def shorter(self, short: Sequence[Outcome], whole: Sequence[Outcome]) -> list[Outcome]:
        """Return the outcomes of full trainings, the best first; if one is no better than its short one, that of the short.

        The time is then better spent on members. A full training that was stopped is ignored.
        """
        of = {one.name: one for one in short}
        pairs = [(of.get(one.name, one), one) for one in whole]
        found = [last if last.loss == np.inf or self.better(first, last) else first for first, last in pairs]
        return sorted(found, key=lambda outcome: outcome.loss)

    def _result(self, trial: Trial) -> Path:
        return self.folder / f"{trial.key}.json"

    def _late(self, trial: Trial) -> Path:
        """Return the file that marks a trial as stopped; with more time, it is trained again."""
        return self.folder / f"{trial.key}.late"

    def _outcome(self, name: str, config: ExperimentConfig, n_splits: int) -> Outcome:
        paths = [self._result(Trial("", name, config, split)) for split in range(n_splits)]
        found = [read_json(path, {"wall": float, "cpu": float}) for path in paths if path.is_file()]
        target = np.concatenate([self.splits.target(split) for split in range(n_splits)])
        pred, loss = np.full(len(target), np.nan), np.inf
        if len(found) == n_splits and all(one["pred"] is not None for one in found):
            pred = np.concatenate([one["pred"] for one in found])
            loss = METRICS[judge_of(self.splits.data.task.metric)].loss(target, pred)
        wall, cpu = (float(np.mean([one[key] for one in found] or [np.inf])) for key in ("wall", "cpu"))
        return Outcome(name, config, target, pred, loss, wall, cpu)


def measure(config: ExperimentConfig, data: TaskData, made: dict[str, tuple[Inputs, float]]) -> Cost:
    """Return the cost of a recipe, measured on a few crystals. made: inputs of earlier recipes, which are not made again.

    Trainings of two lengths are compared, because the start of a training, with compilation and imports the first time, is not
    part of the cost per row. For each length, the fastest training counts, as it was disturbed least.
    """
    if (key := _inputs_key(config)) not in made:
        made[key] = _make(config, data)
    inputs, seconds = made[key]
    is_network = isinstance(config.learner, GnnConfig)
    length, (short, long), factor = (EPOCHS, (1, 7), 1.0) if is_network else (TREE_COUNT, (10, 110), 0.0)
    if isinstance(config.learner, GbdtConfig | ForestConfig):
        factor = config.learner.n_trees
    elif isinstance(config.learner, GaussianProcessConfig):
        length, (short, long), factor = FITTED, (2, config.learner.n_fit), config.learner.n_fit - 2
    n_rows = 96 if is_network else min(N_TIMED, len(data.train.ids))
    rows = np.resize(np.arange(len(inputs)), n_rows)
    target = np.random.default_rng(0).normal(size=n_rows)
    target = np.where(target > 0, 0.5, -0.5) if config.target.kind == "classes" else target
    train: dict[int, list[float]] = {short: [], long: []}
    for n in (short, *(short, long) * N_ROUNDS):
        if sum(train[long]) > LONG_ENOUGH:
            break
        if is_network and n == long and min(train[short]) > LONG_ENOUGH:  # of large cells: the start is short beside it
            return Cost(seconds / len(inputs), min(train[short]) / n_rows)
        learner = make_learner(with_knobs(config, {length: n}).trained, word2vec=own_mat2vec())
        learner.limit_threads()
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            learner.fit(inputs[rows], target, Path(folder))
        train[n].append(time.perf_counter() - start)
    a_row = max(min(train[long]) - min(train[short]), LEAST_SECONDS) / (long - short) / n_rows
    return Cost(seconds / len(inputs), factor * a_row)


def _make(config: ExperimentConfig, data: TaskData) -> tuple[Inputs, float]:
    """Return inputs of a few crystals and the seconds to make them; two go first, as the first call may import libraries."""
    learner = make_learner(config.trained, word2vec=own_mat2vec())
    n_rows, columns = len(data.train.ids), data.train.crystals.columns
    for n in N_SAMPLE:
        chosen = np.linspace(0, n_rows - 1, min(n, n_rows)).astype(int)
        own = None if columns is None else columns.iloc[chosen].reset_index(drop=True)
        crystals = Crystals.from_list([data.train.crystals[i] for i in chosen], own)
        start = time.perf_counter()
        inputs = learner.prepare_inputs(crystals, "", None, 1)
        seconds = time.perf_counter() - start
        if n > N_SAMPLE[0] and seconds > LONG_ENOUGH:
            break
    return inputs, seconds


def _inputs_key(config: ExperimentConfig) -> str:
    """Return the settings that the inputs of a recipe depend on."""
    if isinstance(config.learner, GnnConfig):
        return cost_key(config)
    return json.dumps([config.hurdle is None, *config.feature_groups])


def shortened(config: ExperimentConfig, n_epochs: int) -> ExperimentConfig:
    """Return the config with at most so many epochs; a config without epochs is unchanged."""
    if not isinstance(config.learner, GnnConfig):
        return config
    return with_knobs(config, {EPOCHS: min(n_epochs, config.learner.training.n_epochs)})


def prepare(configs: Mapping[str, ExperimentConfig], data: TaskData, n_jobs: int) -> dict[str, ExperimentConfig]:
    """Make the inputs of all recipes once, by all cores; trials read them from the cache. Return those that have inputs.

    Raises ValueError, that of the last, if none has.
    """
    ready, failed = dict[str, ExperimentConfig](), ValueError("there are no recipes")
    for name, config in configs.items():
        learner = make_learner(config.trained, word2vec=own_mat2vec())
        try:
            learner.prepare_inputs(data.train.crystals, data.train_key, data.cache, n_jobs)
            ready[name] = config
        except ValueError as error:
            failed = error
            log.warning("%s is left out: %s", name, error)
    if not ready:
        raise failed
    return ready


def cost_key(config: ExperimentConfig) -> str:
    """Return the settings that the cost of an epoch depends on; target and readout are not among them."""
    config = shortened(config, 1)
    if isinstance(config.learner, GnnConfig) and isinstance(config.learner.network, NequipConfig):
        config = with_knobs(config, {"learner.network.readout": "mean"})
    return json.dumps(to_dict(config.learner))


def epochs_of(config: ExperimentConfig) -> int:
    """Return the number of epochs; 1 for trees, which are all grown in any case."""
    return config.learner.training.n_epochs if isinstance(config.learner, GnnConfig) else 1
