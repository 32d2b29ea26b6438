"""Predict structure files with the models of a finished experiment or of a blend. Nothing is trained.

    python predict.py some.cif POSCAR folder/
    python predict.py input/flla/test.csv.gz --exps 012 015 --weights 0.7 0.3 --out my.csv

Reads CIF, POSCAR, JSON of pymatgen or the Materials Project, extended XYZ, and tables (.csv, .tsv), also compressed (.gz). Writes
name, formula, prediction, 90% interval, spread over models, and a remark. The exit status is 1 if a prediction is missing.
"""

import gc
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from src.command import command, one_message, out_option, task_options
from src.paths import BEST


def main(argv: list[str] | None = None) -> None:
    parser = command(__doc__, task_options("one"), out_option("predictions.csv, in this folder", Path("predictions.csv")))
    parser.add_argument("paths", nargs="+", type=Path, metavar="FILE_OR_FOLDER", help="structures or tables")
    parser.add_argument("--exps", nargs="+", default=[BEST], metavar="NUMBER", help=f"experiments (default: {BEST}, published)")
    parser.add_argument("--weights", nargs="+", type=float, help="one per experiment (default: equal)")
    parser.add_argument("--device", default="cpu", help="where networks run: cpu, cuda, cuda:1, ... (default: cpu)")
    parser.add_argument("--id", metavar="COLUMN", help="column of ids in tables (default: as in task.toml)")
    parser.add_argument("--structure", metavar="COLUMN", help="column of structures in tables (default: as in task.toml)")
    args = parser.parse_args(argv)
    gc.set_threshold(50_000)  # imports make few cycles, and to look for them takes a tenth of the start
    with one_message("predict"):
        from src.predict import predict_files  # imports for seconds

        options = {name: getattr(args, name) for name in ("target", "outputs", "device", "weights")}
        text, n_failed = predict_files(args.paths, args.out, args.exps, args.data, named=(args.id, args.structure), **options)
    print(text)
    if n_failed:
        sys.exit(f"predict: no prediction for {n_failed} of the structures; the column remark says why")


if __name__ == "__main__":
    main()
