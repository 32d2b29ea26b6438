"""Searches for better settings of an experiment with Optuna, and writes a proposal for a new one.

    python exp/tune.py 012 --trials 20     # 20 more trials; a study goes on where it was left, also from several processes

Every trial trains on a part of the training rows of fold 0 and is judged on the rest of them: no crystal of fold 0 is looked
at. Poor trials are stopped early. Nothing that exists is changed: the proposal is outputs/<task>/tune/exp012/proposal.py, for
the config.py of a new number (python exp/new.py).
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from src.command import one_message
from src.config import StudyConfig
from src.config.load import load_config
from src.data.load import load_task_data
from src.paths import DEFAULT_TASK, EXPERIMENTS, OUTPUTS, experiment_name, shown
from src.runs.tune import open_study, proposal, ranges, tune
from src.storage.files import write_atomic


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("number", help="the experiment whose settings are the first trial")
    parser.add_argument("--trials", type=int, required=True, metavar="N", help="how many more")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, ... (default: cpu)")
    parser.add_argument("--data", type=Path, default=DEFAULT_TASK, help="folder of the task (default: input/flla)")
    parser.add_argument("--outputs", type=Path, default=OUTPUTS, help="where runs are (default: outputs/)")
    args = parser.parse_args(argv)
    if args.trials < 1:
        parser.error(f"--trials {args.trials}: at least 1")
    with one_message("tune"):
        name = experiment_name(args.number)
        config = load_config(EXPERIMENTS / name)
        if isinstance(config, StudyConfig):
            raise ValueError(f"{name} is a study; name an experiment")
        ranges(config)
        data = load_task_data(args.data, args.outputs, skip_bad_rows=False, n_jobs=1)
        folder = data.folder / "tune" / name
        study = open_study(name, folder)
        tune(config, data, study, folder, args.trials, args.device)
        text = proposal(config, name, study)
        write_atomic(folder / "proposal.py", text.encode())
    print(f"{len(study.trials)} trials, best MAE {study.best_value:.4f} {data.task.unit}: {study.best_params}")
    print(f"{shown(folder / 'proposal.py')}: the settings as the config of a new experiment")


if __name__ == "__main__":
    main()
