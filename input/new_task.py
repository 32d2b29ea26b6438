"""Describe a task by looking at its tables: write input/NAME/ with task.toml, and say what was understood.

    python input/new_task.py mine --train train.csv --test test.csv --sample sample_submission.csv --metric rmsle
    python input/new_task.py mine --train train.csv --folds folds.csv --structures cifs/ --target gap --unit eV --metric mae

Structures may be CIF, POSCAR or JSON text of pymatgen, names of files (in --structures, or beside the training table), or
formulas. Tables and structure files are copied; an existing task is left alone. docs/own-data.md explains task.toml.
"""

import argparse
import sys
from pathlib import Path
from typing import get_args

import joblib

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from src.command import command, one_message
from src.data.new_task import new_task
from src.data.task import FILES, MetricName
from src.paths import INPUT

METRICS = get_args(MetricName)
OPTIONS = dict(zip(("train", "test", "sample", "labels", "folds", "structures"), FILES, strict=True))

HELP = {
    "train": "training table",
    "test": "test table",
    "sample": "sample submission: its columns are predicted",
    "labels": "targets of the test table, if you have them",
    "folds": "folds of the training rows, if they are given",
}


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = command(__doc__)
    parser.add_argument("name", help="of the task: the folder input/NAME")
    for option in list(OPTIONS)[:-1]:
        parser.add_argument(f"--{option}", type=Path, required=option == "train", metavar="CSV", help=HELP[option])
    parser.add_argument("--structures", type=Path, metavar="FOLDER", help="of the structure files that a column names")
    parser.add_argument("--metric", choices=METRICS, help="how predictions are scored")
    parser.add_argument("--target", nargs="+", metavar="COLUMN", help="to predict (default: as in the sample submission)")
    parser.add_argument("--id", metavar="COLUMN", help="ids (default: found out)")
    parser.add_argument("--structure", metavar="COLUMN", help="structures, names of files or formulas (default: found out)")
    parser.add_argument("--unit", nargs="+", metavar="UNIT", help="of the target, or one for each (default: by its name)")
    parser.add_argument("--link", action="store_true", help="link to tables and structures instead of copying them")
    parser.add_argument("--force", action="store_true", help="replace an existing task")
    parser.add_argument("--out", type=Path, help="folder (default: input/NAME)")
    args = parser.parse_args(argv)
    if args.name != Path(args.name).name or args.name in (".", ".."):
        parser.error(f"{args.name!r} is no name of a folder in input/; use --out for a folder elsewhere")
    if (args.test is None) != (args.sample is None) or (args.labels and not args.test):
        parser.error("--test and --sample go together, and --labels needs them")
    while args.metric not in METRICS and sys.stdin.isatty():
        args.metric = input(f"How are predictions scored? One of {', '.join(METRICS)}: ").strip()
    if args.metric is None:
        parser.error(f"how are predictions scored? Say --metric with one of {', '.join(METRICS)}; see docs/own-data.md")
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    files = {which: path for option, which in OPTIONS.items() if (path := getattr(args, option))}
    wishes = args.id, args.structure, args.target, args.unit
    with one_message("new_task"):
        print(new_task(args.out or INPUT / args.name, files, args.metric, *wishes, args.link, args.force, joblib.cpu_count()))


if __name__ == "__main__":
    main()
