"""Compare finished experiments, paired by crystal and by fold, and show how their errors correlate.

python exp/compare.py                    # all finished ones of the closed track; --track open for the open one
python exp/compare.py 003 004 005        # differences from the first
python exp/compare.py --score            # with the test scores, which stand in for a leaderboard: choose nothing by them
python exp/compare.py --submission outputs/flla/submission.csv   # the test score of a file
python exp/compare.py --markdown         # Markdown tables
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from src.command import choice_options, command, one_message, task_options
from src.data.task import read_tasks


def main(argv: list[str] | None = None) -> None:
    parser = command(__doc__, choice_options(), task_options())
    parser.add_argument("--submission", type=Path, metavar="FILE", help="score this file instead of comparing experiments")
    parser.add_argument("--markdown", action="store_true", help="print Markdown tables")
    args = parser.parse_args(argv)
    with one_message("compare"):
        from src.results.comparison import Compared, compared_text  # imports for seconds
        from src.results.labels import read_labels, score_submission

        tasks = read_tasks(args.data, args.target)
        if args.submission:
            print(score_submission(args.submission, tasks))
            return
        labels = [read_labels(task) if args.score else None for task in tasks]
        scored = zip(tasks, labels, strict=True)
        compared = [Compared.of(task, args.numbers, args.track, own, args.outputs) for task, own in scored]
        print(compared_text(compared, args.markdown))


if __name__ == "__main__":
    main()
