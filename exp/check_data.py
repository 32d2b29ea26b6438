"""Check a task's tables before anything is trained on them.

    python exp/check_data.py [--data input/mine]

Prints whether test and training crystals can be told apart, the target in each fold, duplicates, and elements in only one table.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from src.command import command, one_message, rows_option, task_options
from src.config import FoldConfig
from src.data.task import read_tasks


def main(argv: list[str] | None = None) -> None:
    args = command(__doc__, task_options(), rows_option()).parse_args(argv)
    with one_message("check_data"):
        from src.data.load import load_folds, load_task_data  # imports for seconds
        from src.report.audit import audit

        for task in read_tasks(args.data, args.target):
            data = load_task_data(args.data, args.outputs, args.skip_bad_rows, n_jobs=1, target=task.target_column)
            title = f"{task.label}\n" if len(task.targets) > 1 else ""
            print(f"{title}{audit(data, load_folds(data, FoldConfig()))}")


if __name__ == "__main__":
    main()
