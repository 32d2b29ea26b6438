"""The config.py of a new experiment with the settings that a search found."""

import re
import subprocess
import sys
import textwrap
from operator import attrgetter
from pprint import pformat
from typing import TYPE_CHECKING

from src.config import ExperimentConfig
from src.data.task import Task
from src.paths import ROOT
from src.results.metrics import METRICS
from src.runs.ranges import labelled, ranges, with_knobs
from src.runs.trial import OUTER_FOLD, Trials, is_finished

if TYPE_CHECKING:
    from optuna import Study

MAX_WIDTH = 120  # characters of a line of a proposal's docstring


def score_text(loss: float, task: Task) -> str:
    """Return the score of a trial as people read it. loss: what Optuna minimises."""
    metric = METRICS[task.metric]
    return f"{metric.text} {-loss if metric.larger_is_better else loss:.4f} {task.unit if metric.has_unit else ''}".rstrip()


def proposal(config: ExperimentConfig, name: str, study: "Study", task: Task, trials: Trials) -> str:
    """Return the config.py of a new experiment with the settings of the best trial. trials: what they were."""
    choices = ranges(config, trials.wide)
    best = {path: labelled(choices[path], value) for path, value in study.best_trial.params.items()}
    changed = {path: value for path, value in best.items() if value != attrgetter(path)(config)}
    own = study.trials[0].value if is_finished(study.trials[0]) else None
    where = "a split" if trials.n_splits == 1 else f"{trials.n_splits} splits"
    found = f"{score_text(study.best_value, task)} on {where} inside the training folds of fold {OUTER_FOLD}"
    before = f", {score_text(own, task)} with the settings of {name}" if own is not None else ""
    what = ", ".join(path.removeprefix("learner.") for path in changed) or "nothing: no trial was better"
    lines = (f"{found}{before}.", f"Parent: {name}. Changed: {what}.")
    text = "\n".join(textwrap.fill(line, MAX_WIDTH) for line in lines)
    question = f"What do the settings found by a search over {len(study.trials)} trials bring?"
    return formatted(f'"""{question}\n\n{text}\n"""\n\n{source(with_knobs(config, changed))}')


def source(config: ExperimentConfig) -> str:
    """Return Python source that defines CONFIG."""
    text = pformat(config, sort_dicts=False)
    return f"from src.config import {', '.join(sorted(set(re.findall(r'[A-Za-z]+(?=[(])', text))))}\n\nCONFIG = {text}\n"


def formatted(code: str) -> str:
    """Return Python source as the repository's settings of ruff format it; unchanged if ruff is not installed."""
    command = [sys.executable, "-m", "ruff", "format", "--config", str(ROOT / "pyproject.toml"), "-"]
    done = subprocess.run(command, input=code, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else code
