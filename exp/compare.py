"""Compares finished experiments, paired by crystal.

python exp/compare.py                    # all that are finished
python exp/compare.py 003 004 005        # differences are to the first
python exp/compare.py --score            # with the test MAE: the stand-in for a leaderboard, look once
python exp/compare.py --markdown --score # the ledger's table
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from src.data.task import Task, read_task
from src.runs.artifacts import DEFAULT_TASK, EXPERIMENTS, OUTPUTS, Predictions, find_predictions, shown
from src.runs.blend import stack_oof, stack_test
from src.runs.metrics import bootstrap_interval, scores


def finished(task_name: str, outputs: Path) -> list[Predictions]:
    """Every experiment that has predictions for the task, by number."""
    found = []
    for folder in sorted(EXPERIMENTS.glob("exp[0-9][0-9][0-9]")):
        try:
            found.append(find_predictions(folder.name, task_name, outputs))
        except FileNotFoundError:
            continue
    if not found:
        raise FileNotFoundError(f"no experiment is finished on task {task_name}")
    return found


def read_labels(task: Task) -> pd.Series:
    """The test labels, id -> target. Nothing else in the project reads them."""
    path = task.path("test_labels")
    labels = pd.read_csv(path, dtype={task.id_column: str}, keep_default_na=False, float_precision="round_trip")
    if not {task.id_column, task.target_column} <= set(labels):
        raise ValueError(f"{path}: expected the columns {task.id_column!r} and {task.target_column!r}, found {list(labels)}")
    return labels.set_index(task.id_column)[task.target_column]


def table(members: list[Predictions], labels: pd.Series | None) -> pd.DataFrame:
    """One row for each experiment; differences are to the first, with a 95% bootstrap interval over crystals."""
    e_form, oof = stack_oof(members)
    error = np.abs(oof - e_form[:, None])
    rows = []
    for i, member in enumerate(members):
        m, oof_scores = member.metrics, scores(e_form, oof[:, i])
        row = {
            "experiment": member.name,
            "OOF MAE": f"{oof_scores['mae']:.4f} ± {m['fold_mae_sd']:.4f}",
            "OOF RMSE": f"{oof_scores['rmse']:.4f}",
        }
        if labels is not None:
            test = scores(labels.to_numpy(), stack_test([member], list(labels.index))[:, 0])
            row |= {"test MAE": f"{test['mae']:.4f}", "test RMSE": f"{test['rmse']:.4f}"}
        row |= {"CPU s": f"{m['cpu_seconds']:.0f}", "parameters": str(m["n_parameters"])}
        difference = error[:, i] - error[:, 0]
        if i == 0:
            row[f"ΔMAE to {members[0].name}"] = ""
        else:
            low, high = bootstrap_interval(difference)
            sign = "" if low <= 0 <= high else " *"
            row[f"ΔMAE to {members[0].name}"] = f"{difference.mean():+.4f} ({low:+.4f} to {high:+.4f}){sign}"
        rows.append(row)
    return pd.DataFrame(rows)


def to_markdown(rows: pd.DataFrame) -> str:
    lines = [list(rows), ["---"] * rows.shape[1], *rows.to_numpy().tolist()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("numbers", nargs="*", help="experiments (default: all that are finished)")
    parser.add_argument("--score", action="store_true", help="add the test scores, from the task's test labels")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    parser.add_argument("--data", type=Path, default=DEFAULT_TASK, help="folder of the task (default: input/flla)")
    parser.add_argument("--outputs", type=Path, default=OUTPUTS, help="where runs are (default: outputs/)")
    args = parser.parse_args(argv)
    try:
        task = read_task(args.data)
        if args.numbers:
            members = [find_predictions(number, task.name, args.outputs) for number in args.numbers]
        else:
            members = finished(task.name, args.outputs)
        rows = table(members, read_labels(task) if args.score else None)
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"compare: {error}")
    print(to_markdown(rows) if args.markdown else rows.to_string(index=False))
    print(f"\nErrors in {task.unit}; sd over folds; * the 95% interval over crystals excludes zero.")
    for member in members:
        print(f"{member.name}: read from {shown(member.source)}")


if __name__ == "__main__":
    main()
