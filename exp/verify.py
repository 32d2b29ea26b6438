"""Trains one fold of a published experiment anew and compares it with the published rows.

    python exp/verify.py 005 --fold 3

On the machine type and library versions of the published run the rows agree to 1e-5 eV/atom. Elsewhere rounding differs,
training amplifies it, and single crystals move; there the fold's MAE must agree within 10%, several times its spread over seeds.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from src.command import one_message
from src.paths import DEFAULT_TASK, EXPERIMENTS, experiment_name
from src.results.folder import OOF_COLUMNS, RunDir, read_csv
from src.runs import train

SAME_MACHINE = 1e-5  # eV/atom, largest difference of a row
OTHER_MACHINE = 0.10  # relative difference of the fold's MAE


def verdict(published: pd.DataFrame, retrained: pd.DataFrame) -> tuple[bool, str]:
    """Whether the retrained rows of a fold support the published ones, and why."""
    pair = published.merge(retrained, on="id", suffixes=("", "_new"), validate="one_to_one")
    if len(pair) != len(published) or len(pair) != len(retrained):
        return False, f"the fold holds {len(retrained)} crystals, {len(published)} are published"
    largest = float(np.abs(pair["e_form_pred"] - pair["e_form_pred_new"]).max())
    old, new = (float(np.abs(pair["e_form"] - pair[column]).mean()) for column in ("e_form_pred", "e_form_pred_new"))
    figures = f"largest difference {largest:.1e} eV/atom; MAE {new:.4f}, published {old:.4f}"
    if largest <= SAME_MACHINE:
        return True, f"same rows: {figures}"
    if abs(new - old) <= OTHER_MACHINE * old:
        return True, f"same score within {OTHER_MACHINE:.0%}, as on another type of machine: {figures}"
    return False, f"DIFFERENT: {figures}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("number", help="a published experiment")
    parser.add_argument("--fold", type=int, default=0)
    args = parser.parse_args()
    with one_message("verify"):
        name = experiment_name(args.number)
        path = EXPERIMENTS / name / "results" / "oof.csv.gz"
        if not path.is_file():
            sys.exit(f"verify: {name} is not published ({path} is missing)")
        published = read_csv(path, OOF_COLUMNS)
        with tempfile.TemporaryDirectory() as outputs:
            train.main(EXPERIMENTS / name, ["--folds", str(args.fold), "--outputs", outputs])
            retrained = read_csv(RunDir(Path(outputs) / DEFAULT_TASK.name / name).fold(args.fold) / "valid.csv", OOF_COLUMNS)
    agrees, reason = verdict(published[published["fold"] == args.fold], retrained)
    print(f"{name} fold {args.fold}: {reason}")
    sys.exit(0 if agrees else 1)


if __name__ == "__main__":
    main()
