"""Publish finished runs on the embedded task: copy metrics.json, oof.csv.gz and test.csv.gz to exp/expNNN/results, or a
study's table, picture and predictions.

python exp/publish.py 003 004 005
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from src.command import command, one_message
from src.paths import shown
from src.results.predictions import publish


def main(argv: list[str] | None = None) -> None:
    parser = command(__doc__)
    parser.add_argument("numbers", nargs="+", help="finished experiments")
    parser.add_argument("--models", action="store_true", help="publish the fold models of networks too, for predict.py")
    args = parser.parse_args(argv)
    for number in args.numbers:
        with one_message("publish"):
            print(shown(publish(number, models=args.models)))


if __name__ == "__main__":
    main()
