"""Draw the target, errors against costs and out-of-fold predictions into exp/pictures/ or a task's outputs.

python exp/pictures.py 001 005
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from src.command import command, one_message, task_options
from src.data.load import load_task_data
from src.data.task import read_tasks
from src.paths import shown
from src.report.figures import draw


def main(argv: list[str] | None = None) -> None:
    parser = command(__doc__, task_options())
    parser.add_argument("numbers", nargs="*", help="finished experiments")
    args = parser.parse_args(argv)
    with one_message("pictures"):
        for task in read_tasks(args.data, args.target):
            data = load_task_data(args.data, args.outputs, False, os.cpu_count() or 1, task.target_column)
            print("\n".join(str(shown(path)) for path in draw(data, args.numbers)))


if __name__ == "__main__":
    main()
