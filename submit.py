"""Run numbers -> checked submission.csv.

    python submit.py --exps 012 015
    python submit.py --exps 012 015 --weights 0.7 0.3 --out my.csv

Each experiment is the mean of its fold models; the submission is the mean, or the weighted mean, of the experiments.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent))
from src.data.task import Task, read_task
from src.files import write_csv
from src.runs.artifacts import DEFAULT_TASK, OUTPUTS, find_predictions, shown
from src.runs.blend import normalized_weights, stack_oof, stack_test
from src.runs.metrics import scores


def read_sample(task: Task) -> tuple[pd.DataFrame, str]:
    """The sample submission and the name of its column of predictions."""
    path = task.path("sample_submission")
    sample = pd.read_csv(path, dtype=str, keep_default_na=False)
    columns = [column for column in sample if column != task.id_column]
    if task.id_column not in sample or len(columns) != 1:
        raise ValueError(f"{path}: expected the columns {task.id_column!r} and one of predictions, found {list(sample)}")
    ids = sample[task.id_column]
    if ids.duplicated().any():
        raise ValueError(f"{path}: {task.id_column!r} {ids[ids.duplicated()].iloc[0]!r} stands there twice")
    return sample, columns[0]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--exps", nargs="+", required=True, metavar="NUMBER", help="finished experiments")
    parser.add_argument("--weights", nargs="+", type=float, help="one for each experiment (default: equal)")
    parser.add_argument("--data", type=Path, default=DEFAULT_TASK, help="folder of the task (default: input/flla)")
    parser.add_argument("--outputs", type=Path, default=OUTPUTS, help="where runs are (default: outputs/)")
    parser.add_argument("--out", type=Path, help="file to write (default: outputs/<task>/submission.csv)")
    args = parser.parse_args(argv)
    try:
        task = read_task(args.data)
        sample, column = read_sample(task)
        weights = normalized_weights(args.weights, len(args.exps))
        members = [find_predictions(number, task.name, args.outputs) for number in args.exps]
        e_form, oof = stack_oof(members)
        pred = stack_test(members, list(sample[task.id_column])) @ weights
        if not np.isfinite(pred).all():
            bad = sample[task.id_column][~np.isfinite(pred)].tolist()
            raise ValueError(f"{len(bad)} predictions are not finite: {bad[:5]}")
        out = args.out or args.outputs / task.name / "submission.csv"
        write_csv(out, sample.assign(**{column: pred}))
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"submit: {error}")
    title = f"OOF {task.metric.upper()} ({task.unit})"
    print(f"{'experiment':<12} {'weight':>6}  {title}  read from")
    for member, weight, column_oof in zip(members, weights, oof.T, strict=True):
        print(
            f"{member.name:<12} {weight:6.3f}  {scores(e_form, column_oof)[task.metric]:{len(title)}.4f}  {shown(member.source)}"
        )
    print(f"{'blend':<12} {weights.sum():6.3f}  {scores(e_form, oof @ weights)[task.metric]:{len(title)}.4f}")
    print(f"{shown(out)}: {len(sample)} rows, ids and order as in {task.path('sample_submission').name}")


if __name__ == "__main__":
    main()
