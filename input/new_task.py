"""Describe a task by looking at its tables: write input/NAME/ with task.toml, and say what was understood.

    python input/new_task.py mine --train train.csv --test test.csv --sample sample_submission.csv --metric rmsle
    python input/new_task.py mine --train train.csv --folds folds.csv --structures cifs/ --target gap --unit eV --metric mae

Structures may be CIF, POSCAR or pymatgen JSON as text, names of files (in --structures, or beside the training table), or
formulas. Tables and structure files are copied; only --force replaces an existing task. docs/own-data.md explains task.toml.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from src.command import command, one_message
from src.data.task import FILES, METRIC_NAMES
from src.paths import INPUT

TABLES = {
    "train": "training table",
    "test": "test table",
    "sample": "sample submission, whose columns are predicted",
    "labels": "targets of the test table, if you have them",
    "folds": "folds of the training rows, if the task has its own",
}


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = command(__doc__)
    parser.add_argument("name", help="name of the task, whose folder is input/NAME")
    for option, text in TABLES.items():
        parser.add_argument(f"--{option}", type=Path, required=option == "train", metavar="CSV", help=text)
    parser.add_argument("--structures", type=Path, metavar="FOLDER", help="folder of the structure files that a column names")
    metrics = ", ".join(METRIC_NAMES)
    parser.add_argument("--metric", choices=METRIC_NAMES, metavar="NAME", help=f"score (of two classes: roc_auc): {metrics}")
    parser.add_argument("--target", nargs="+", metavar="COLUMN", help="columns to predict (default: as in the sample submission)")
    parser.add_argument("--id", metavar="COLUMN", help="column of ids (default: detected)")
    parser.add_argument("--structure", metavar="COLUMN", help="column of structures, file names or formulas (default: detected)")
    parser.add_argument("--unit", nargs="+", metavar="UNIT", default=["units"], help="unit of the target, or one for each")
    parser.add_argument("--force", action="store_true", help="replace an existing task")
    parser.add_argument("--out", type=Path, help="folder (default: input/NAME)")
    args = parser.parse_args(argv)
    if args.name != Path(args.name).name or args.name in (".", ".."):
        parser.error(f"{args.name!r} is no name of a folder in input/; use --out for a folder elsewhere")
    if (args.test is None) != (args.sample is None) or (args.labels and not args.test):
        parser.error("--test and --sample go together, and --labels needs them")
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    named = zip(FILES, (*TABLES, "structures"), strict=True)
    files = {which: path for which, option in named if (path := getattr(args, option))}
    wishes = args.id, args.structure, args.target, args.unit
    with one_message("new_task"):
        from joblib import cpu_count  # these import for a second

        from src.data.new_task import new_task
        from src.results.metrics import METRICS

        domain, folder = METRICS[args.metric].domain if args.metric else None, args.out or INPUT / args.name
        print(new_task(folder, files, args.metric, domain, *wishes, args.force, cpu_count()))


if __name__ == "__main__":
    main()
