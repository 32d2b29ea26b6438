"""Search for better settings of an experiment with Optuna, and write a proposal for a new one.

    python exp/tune.py 012 --trials 20     # 20 more trials; a study continues where it stopped, also from several processes
    python exp/tune.py 012 --seconds 900 --epochs 15     # short trainings, as many as can start within 900 s
    python exp/tune.py 094 --splits 2 --epochs 20 --trials 150     # each trial judged on two splits

Every trial trains on one part of the training rows of fold 0 and is judged on the rest; the crystals of fold 0 itself are never
used. Poor trials are stopped early. outputs/<task>/tune/exp012/ then has proposal.py (a config for a new number), trials.csv
(which exp/publish.py publishes), and Optuna's study.db (for optuna.importance and its dashboard).
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from src.command import command, one_message, rows_option, task_options
from src.data.task import read_tasks


def main(argv: list[str] | None = None) -> None:
    parser = command(__doc__, task_options(), rows_option())
    parser.add_argument("number", help="the experiment whose settings are the first trial")
    parser.add_argument("--trials", type=int, metavar="N", help="number of further trials")
    parser.add_argument("--seconds", type=int, metavar="S", help="time after which no trial starts")
    parser.add_argument("--epochs", type=int, metavar="N", help="epochs of each trial (default: the experiment's)")
    parser.add_argument("--splits", type=int, default=1, metavar="N", help="splits that judge each trial (default: 1)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, ... (default: cpu)")
    args = parser.parse_args(argv)
    with one_message("tune"):
        from src.runs.search import Search, search  # imports for seconds

        plan = Search(args.trials, args.seconds, args.epochs, args.splits)
        for task in read_tasks(args.data, args.target):
            print(search(args.number, task, args.outputs, plan, args.device, args.skip_bad_rows))


if __name__ == "__main__":
    main()
