"""Structure files -> predictions.csv, by the models of a finished experiment or of a blend. Nothing is trained.

    python predict.py some.cif POSCAR folder/
    python predict.py input/flla/test.csv.gz --exps 012 015 --weights 0.7 0.3 --out my.csv

Reads CIF, POSCAR, pymatgen's JSON, extended XYZ, and tables (.csv, .csv.gz) with the columns that task.toml names. Writes name,
formula, prediction, 90% interval, spread over models, and remarks: why there is no prediction, for one. Exit status 1 then.
"""

import gc
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from src.command import command, one_message, out_option, task_options
from src.data.task import read_task
from src.paths import BEST


def main(argv: list[str] | None = None) -> None:
    parser = command(__doc__, task_options("one"), out_option("predictions.csv"))
    parser.add_argument("paths", nargs="+", type=Path, metavar="FILE_OR_FOLDER", help="structures")
    parser.add_argument("--exps", nargs="+", default=[BEST], metavar="NUMBER", help=f"experiments (default: {BEST}, published)")
    parser.add_argument("--weights", nargs="+", type=float, help="one per experiment (default: equal)")
    parser.add_argument("--device", default="cpu", help="of networks: cpu, cuda, cuda:1, ... (default: cpu)")
    args = parser.parse_args(argv)
    gc.set_threshold(50_000)  # imports make few cycles, and to look for them takes a tenth of the start
    with one_message("predict"):
        from src.predict import predict_files  # imports for seconds

        out = args.out or read_task(args.data, args.target).runs(args.outputs) / "predictions.csv"
        where = {"task": args.data, "target": args.target, "outputs": args.outputs, "device": args.device}
        text, n_failed = predict_files(args.paths, out, args.exps, weights=args.weights, **where)
    print(text)
    if n_failed:
        sys.exit(f"predict: no prediction for {n_failed} of the structures; the column remark says why")


if __name__ == "__main__":
    main()
