"""Make the best submission for a task within a budget of minutes.

    python exp/auto.py --data input/mine --minutes 60
    python exp/auto.py --data input/mine --minutes 60 --dry-run     # the facts and the plan, nothing is trained

It examines the tables, races up to 16 recipes on inner splits that leave fold 0 out, tries variants of the best, trains the
winners in all folds as numbered experiments, and blends them. outputs/<task>/ then has submission.csv and auto.html, which
explains what was decided. If it is killed, start it again and it continues, also with more minutes.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from src.command import command, one_message, rows_option, task_options
from src.data.task import read_tasks
from src.runs.train import launch_options, launcher_of, start_log


def main(argv: list[str] | None = None) -> None:
    parser = command(__doc__, task_options(), rows_option(), launch_options())
    parser.add_argument("--minutes", type=float, required=True, help="budget of wall time on this machine")
    parser.add_argument("--dry-run", action="store_true", help="print the facts and the plan, and stop")
    args = parser.parse_args(argv)
    if args.minutes <= 0:
        parser.error(f"--minutes {args.minutes:g}: must be positive")
    with one_message("auto"):
        from src.auto.pilot import fly  # imports for seconds

        launcher = launcher_of(args)
        tasks = read_tasks(args.data, args.target)
        start_log(args.outputs / tasks[0].name / "auto")
        print(fly(tasks, args.outputs, args.minutes, args.skip_bad_rows, launcher, args.device, args.dry_run).text)


if __name__ == "__main__":
    main()
