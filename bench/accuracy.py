"""The fused convolution learns as well as the reference: fold errors of exp005 with both, and with another seed.

make accuracy
"""

import argparse
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
from joblib import Parallel, delayed

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from src.config.catalogue import load_config
from src.data.load import load_task_data
from src.models import fused
from src.paths import DEFAULT_TASK, EXPERIMENTS
from src.results.folder import RunDir
from src.runs.experiment import run_experiment
from src.runs.launch import Launcher

VARIANTS = {"fused": (True, 0), "reference": (False, 0), "fused, another seed": (True, 100)}


def fold_metrics(variant: str, fold: int, outputs: Path) -> dict:
    """Train one fold of a variant and return its metrics."""
    use_fused, seed = VARIANTS[variant]
    config = load_config(EXPERIMENTS / "exp005")
    data = load_task_data(DEFAULT_TASK, outputs, skip_bad_rows=False, n_jobs=1)
    with patch.object(fused, "make_edges", fused.make_edges if use_fused else lambda *_: None):
        run_experiment(replace(config, seed=seed), variant, data, [fold], Launcher(n_jobs=1), "cpu")
    metrics = RunDir(data.folder / variant).fold_metrics(fold)
    if metrics is None:
        raise RuntimeError(f"{variant}: fold {fold} left no metrics")
    return metrics


def main() -> None:
    """Train all variants and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folds", type=int, nargs="+", default=[0, 1])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tasks = [(variant, fold) for variant in VARIANTS for fold in args.folds]
        metrics = Parallel(n_jobs=os.cpu_count())(delayed(fold_metrics)(*task, Path(folder)) for task in tasks)
    found = dict(zip(tasks, metrics, strict=True))
    print(f"| convolution | MAE of folds {args.folds} (eV/atom) | mean | CPU s per fold |\n|---|---|---|---|")
    for variant in VARIANTS:
        rows = [found[variant, fold] for fold in args.folds]
        maes = [row["mae"] for row in rows]
        seconds = np.mean([row["cpu_seconds"] for row in rows])
        print(f"| {variant} | {' '.join(f'{mae:.4f}' for mae in maes)} | {np.mean(maes):.4f} | {seconds:.0f} |")


if __name__ == "__main__":
    main()
