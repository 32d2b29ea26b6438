"""Write one HTML page about the finished experiments; it works offline and needs no other file.

python exp/report.py                 # all finished ones of the closed track -> outputs/flla/report.html
python exp/report.py 001 010 012     # or --track open; --score adds the test scores
python exp/report.py --pictures 001 005    # the pictures of README and docs instead, into exp/pictures/
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from src.command import choice_options, command, one_message, out_option, rows_option, task_options
from src.data.task import read_tasks
from src.paths import shown


def main(argv: list[str] | None = None) -> None:
    parser = command(__doc__, choice_options(), task_options(), rows_option(), out_option("outputs/<task>/report.html"))
    parser.add_argument("--pictures", action="store_true", help="draw the target, costs and predictions as files instead")
    args = parser.parse_args(argv)
    with one_message("report"):
        from src.data.load import load_task_data  # imports for seconds
        from src.report import figures, sections
        from src.results.labels import read_labels

        tasks = read_tasks(args.data, args.target)
        if args.out and len(tasks) > 1:
            raise ValueError("--out: there is a page for each target; choose one with --target")
        for task in tasks:
            data = load_task_data(args.data, args.outputs, args.skip_bad_rows, n_jobs=1, target=task.target_column)
            if args.pictures:
                print("\n".join(str(shown(path)) for path in figures.draw(data, args.numbers)))
            else:
                labels = read_labels(task) if args.score else None
                print(sections.write_report(data, args.numbers, args.track, labels, args.out))


if __name__ == "__main__":
    main()
