"""Run exp/auto.py on the official folds of a matbench task, write matbench's record and print our row among the published ones.

python exp/boards.py --data input/matbench_steels --minutes 10             # of wall time for each official fold
python exp/boards.py --data input/matbench_steels --minutes 10 --folds 0   # the others another day

In each fold, auto.py sees only the training part. Folds that are finished are not run again.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from src.command import command, one_message, task_options
from src.runs.train import launch_options, launcher_of, start_log


def main(argv: list[str] | None = None) -> None:
    parser = command(__doc__, task_options("none"), launch_options())
    parser.add_argument("--minutes", type=float, required=True, help="wall time for each fold on this machine")
    parser.add_argument("--folds", nargs="+", type=int, help="official folds to run now (default: all)")
    parser.add_argument("--publish", action="store_true", help="copy the record to exp/boards/results/")
    args = parser.parse_args(argv)
    with one_message("boards"):
        from src.auto.official import fly_official  # imports for seconds

        launcher = launcher_of(args)
        start_log(args.outputs / args.data.name / "boards")
        print(fly_official(args.data, args.outputs, args.minutes, args.folds, launcher, args.device, args.publish))


if __name__ == "__main__":
    main()
