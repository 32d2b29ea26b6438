"""Draw the target, out-of-fold predictions and learning curves into exp/pictures/.

python exp/pictures.py 001 005
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from src.command import command, one_message
from src.data.load import load_task_data
from src.paths import DEFAULT_TASK, EXPERIMENTS, OUTPUTS, shown
from src.report.pictures import draw


def main(argv: list[str] | None = None) -> None:
    parser = command(__doc__)
    parser.add_argument("numbers", nargs="*", help="finished experiments")
    args = parser.parse_args(argv)
    with one_message("pictures"):
        data = load_task_data(DEFAULT_TASK, OUTPUTS, skip_bad_rows=False, n_jobs=os.cpu_count() or 1)
        print("\n".join(str(shown(path)) for path in draw(data, args.numbers, EXPERIMENTS / "pictures")))


if __name__ == "__main__":
    main()
