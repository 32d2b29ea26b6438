"""Make the folder of a new experiment from that of its parent.

    python exp/new.py 099 --from 012 --why "Do 128 channels help?"

The question becomes the first line of the config's docstring, which the ledger shows. Then edit config.py and say what changed.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from src.command import command, one_message
from src.config.catalogue import new_experiment
from src.paths import shown


def main(argv: list[str] | None = None) -> None:
    parser = command(__doc__)
    parser.add_argument("number", help="number of the new experiment, for example 099")
    parser.add_argument("--from", dest="parent", required=True, metavar="NUMBER", help="its parent")
    parser.add_argument("--why", required=True, help="its question, in one line")
    args = parser.parse_args(argv)
    with one_message("new"):
        folder = new_experiment(args.number, args.parent, args.why)
    print(f"{shown(folder)}: now edit config.py, say there what changed, and run: python {shown(folder)}/train.py")


if __name__ == "__main__":
    main()
