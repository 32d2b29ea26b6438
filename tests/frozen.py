"""Print the SHA-256 of what fold 0 of each experiment predicts, to compare one version of the code with another on one machine.

python tests/frozen.py 022 094                # whole trainings
python tests/frozen.py --epochs 2             # all living experiments of the task, networks with two epochs
"""

import argparse
import hashlib
import json
import logging
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from src.config.catalogue import load_config
from src.data.load import load_task_data
from src.paths import DEFAULT_TASK, EXPERIMENTS, experiment_name
from src.results.folder import RunDir
from src.runs.experiment import run_experiment
from src.runs.launch import Launcher
from src.storage.files import read_id_table


def shortened(config, n_epochs):
    """Return the config with fewer epochs, of pre-training as well; unchanged if its learner has none."""
    training = getattr(config.learner, "training", None)
    if n_epochs is None or training is None:
        return config
    learner = replace(config.learner, training=replace(training, n_epochs=n_epochs))
    if config.learner.pretraining:
        learner = replace(learner, pretraining=replace(learner.pretraining, n_epochs=1))
    return replace(config, learner=learner)


def digest(*arrays):
    """Return the hash of predictions, rounded to 1e-10."""
    found = hashlib.sha256()
    for array in arrays:
        found.update((np.round(array, 10) + 0.0).tobytes())
    return found.hexdigest()[:16]


def frozen(number, data, n_epochs):
    """Return the hash of what fold 0 of an experiment predicts for its own crystals and the test crystals."""
    name = experiment_name(number)
    run_experiment(shortened(load_config(EXPERIMENTS / name), n_epochs), name, data, [0], Launcher("local", 1), "cpu")
    run = RunDir(data.folder / name)
    arrays = [run.valid(0)["e_form_pred"].to_numpy()]
    if data.task.has_test:
        arrays.append(read_id_table(run.fold(0) / "test.csv", ["id", "e_form_pred"])["e_form_pred"].to_numpy())
    return digest(*arrays)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("numbers", nargs="+")
    parser.add_argument("--data", type=Path, default=DEFAULT_TASK)
    parser.add_argument("--target")
    parser.add_argument("--epochs", type=int)
    args = parser.parse_args()
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as folder:
        data = load_task_data(args.data, Path(folder), False, 1, args.target)
        for number in args.numbers:
            start = time.perf_counter()
            try:
                found = frozen(number, data, args.epochs)
            except Exception as error:
                found = f"{type(error).__name__}: {error}"
            seconds = round(time.perf_counter() - start, 1)
            said = {"experiment": number, "epochs": args.epochs, "sha256": found, "seconds": seconds}
            print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
