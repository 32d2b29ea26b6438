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
    for number in parser.parse_args(argv).numbers:
        with one_message("publish"):
            print(shown(publish(number)))


if __name__ == "__main__":
    main()
