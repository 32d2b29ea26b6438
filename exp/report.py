"""Write one HTML page about the finished experiments; it needs no network and no other file.

python exp/report.py                 # all finished ones of the closed track -> outputs/flla/report.html
python exp/report.py --track open
python exp/report.py 001 010 012

The leaderboard has test scores only with --score. Learning curves are those of runs in outputs/: published ones have none.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from src.command import choice_options, command, one_message, out_option, task_options
from src.data.load import load_task_data
from src.data.task import read_tasks
from src.paths import shown
from src.report.sections import report
from src.results.comparison import chosen
from src.results.labels import read_labels
from src.storage.files import write_atomic


def main(argv: list[str] | None = None) -> None:
    args = command(__doc__, choice_options(), task_options(), out_option("report.html")).parse_args(argv)
    with one_message("report"):
        tasks = read_tasks(args.data, args.target)
        if args.out and len(tasks) > 1:
            raise ValueError("--out: there is a page for each target; choose one with --target")
        for task in tasks:
            experiments = chosen(args.numbers, args.track, task, args.outputs)
            data = load_task_data(args.data, args.outputs, skip_bad_rows=False, n_jobs=1, target=task.target_column)
            html = report(data, experiments, read_labels(task) if args.score else None).encode()
            out = args.out or data.folder / "report.html"
            write_atomic(out, html)
            print(f"{shown(out)}: {len(html) / 1e6:.1f} MB, {len(experiments)} experiments")


if __name__ == "__main__":
    main()
