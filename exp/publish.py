"""Publish finished runs: copy metrics, predictions and the trials of a search (exp/tune.py) to exp/expNNN/results. Results on
tasks other than input/flla go to a folder named after the task, with their scores on its test labels.

python exp/publish.py 003 004 005
python exp/publish.py 024 --data input/mine            # all targets, or those named by --target
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from src.command import command, one_message, task_options
from src.data.task import read_tasks
from src.paths import shown


def main(argv: list[str] | None = None) -> None:
    parser = command(__doc__, task_options())
    parser.add_argument("numbers", nargs="+", help="finished experiments")
    parser.add_argument("--models", action="store_true", help="publish the fold models of networks too, for predict.py")
    args = parser.parse_args(argv)
    with one_message("publish"):
        from src import predict  # imports for seconds
        from src.results.folder import RunDir
        from src.results.labels import read_labels
        from src.results.predictions import MODELS, is_default
        from src.results.publish import check_trained, publish

        for task in read_tasks(args.data, args.target):
            check_trained(args.numbers, task, args.outputs)
            labels = read_labels(task) if task.has_labels and not is_default(task) else None
            for number in args.numbers:
                print(shown(folder := publish(number, task, args.outputs, args.models, labels)))
                if args.models:
                    ready = predict.Predictor.load(number, task=args.data, target=task.target_column, outputs=args.outputs)
                    ready.write_difficulty(RunDir(folder / MODELS).difficulty_path)


if __name__ == "__main__":
    main()
