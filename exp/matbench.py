"""Run experiments on matbench's official folds; write matbench's own record and print our row among the published ones.

python exp/matbench.py 022 --data input/matbench_phonons    # one model per official fold
python exp/matbench.py 010 022 --inner --weights 0.3 0.7 --publish --data input/matbench_phonons
"""

import sys
from pathlib import Path
from typing import get_args

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from src.command import command, one_message, task_options
from src.config import BlendMethod
from src.config.catalogue import load_config
from src.paths import EXPERIMENTS, experiment_name


def main(argv: list[str] | None = None) -> None:
    parser = command(__doc__, task_options("none"))
    parser.add_argument("numbers", nargs="+", help="experiments")
    parser.add_argument("--inner", action="store_true", help="train on inner folds within each official fold")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--weights", nargs="+", type=float, help="one per experiment (default: equal)")
    how.add_argument("--blend", choices=get_args(BlendMethod), default="mean", help="how to fit the weights; needs --inner")
    parser.add_argument("--jobs", type=int, help="folds at once (default: the number of cores)")
    parser.add_argument("--device", default="cpu", help="where networks run: cpu, cuda, ... (default: cpu)")
    parser.add_argument("--publish", action="store_true", help="copy the record to exp/expNNN/results/ of the first experiment")
    args = parser.parse_args(argv)
    with one_message("matbench"):
        from src.runs.benchmark import run_benchmark  # imports for seconds
        from src.runs.launch import Launcher

        configs = {name: load_config(EXPERIMENTS / name) for name in map(experiment_name, args.numbers)}
        how = args.inner, args.weights or args.blend
        print(run_benchmark(configs, *how, args.data, args.outputs, Launcher(n_jobs=args.jobs), args.device, args.publish))


if __name__ == "__main__":
    main()
