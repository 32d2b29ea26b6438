"""Write a checked submission.csv from finished experiments.

    python submit.py --exps 012 015
    python submit.py --exps 012 015 --weights 0.7 0.3 --out my.csv
    python submit.py --exps 010 012 --blend weights --baseline 001

The submission is a weighted mean of the experiments, each the mean of its fold models. `--blend` fits the weights to out-of-fold
rows, separately for each target. `..._with_uncertainty.csv` beside it has 90% intervals, calibrated out of fold.
"""

import sys
from pathlib import Path
from typing import get_args

sys.path.insert(0, str(Path(__file__).resolve().parent))
from src.command import command, one_message, out_option, task_options
from src.config import BlendMethod
from src.data.task import read_tasks


def main(argv: list[str] | None = None) -> None:
    parser = command(__doc__, task_options(), out_option("outputs/<task>/submission.csv"))
    parser.add_argument("--exps", nargs="+", required=True, metavar="NUMBER", help="finished experiments")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--weights", nargs="+", type=float, help="one per experiment (default: equal)")
    how.add_argument("--blend", choices=get_args(BlendMethod), default="mean", help="how to fit the weights out of fold")
    parser.add_argument("--baseline", metavar="NUMBER", help="add this experiment and report its gain; not with --weights")
    args = parser.parse_args(argv)
    if args.baseline and args.weights:
        parser.error("--baseline finds its weight by --blend; with --weights, name it among --exps")
    with one_message("submit"):
        from src.results.submission import submit  # imports for a second

        tasks = read_tasks(args.data, args.target)
        print(submit(tasks, args.outputs, args.exps, args.weights or args.blend, args.baseline, args.out))


if __name__ == "__main__":
    main()
