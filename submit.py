"""Run numbers -> checked submission.csv.

    python submit.py --exps 012 015
    python submit.py --exps 012 015 --weights 0.7 0.3 --out my.csv
    python submit.py --exps 010 012 --blend weights --baseline 001

Each experiment is the mean of its fold models; the submission is a weighted mean of the experiments. `--blend` finds the weights
on out-of-fold rows, and the blend's score is nested: each fold is scored with weights fitted on the others. Next to the
submission lies `..._with_uncertainty.csv`: 90% intervals, calibrated out of fold.
"""

import argparse
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent))
from src.command import one_message
from src.config import BlendMethod
from src.config.load import track_of
from src.data.rows import read_rows
from src.data.task import Task, read_task
from src.paths import DEFAULT_TASK, OUTPUTS, shown
from src.results.blend import Blend, fit_blend, fixed_blend, normalized_weights, shared_folds, stack_oof, stack_test
from src.results.intervals import calibrate
from src.results.metrics import bootstrap_interval, scores
from src.results.predictions import Predictions, find_predictions
from src.storage.files import write_csv


def read_sample(task: Task) -> tuple[pd.DataFrame, str]:
    """The sample submission and the name of its column of predictions."""
    path = task.path("sample_submission")
    sample = pd.DataFrame(read_rows(path))
    columns = [column for column in sample if column != task.id_column]
    if task.id_column not in sample or len(columns) != 1:
        raise ValueError(f"{path}: expected the columns {task.id_column!r} and one of predictions, found {list(sample)}")
    ids = sample[task.id_column]
    if ids.duplicated().any():
        raise ValueError(
            f"{path}: {task.id_column!r} {ids[ids.duplicated()].iloc[0]!r} stands there twice; take the competition's file"
        )
    return sample, columns[0]


def check_ids(path: Path, ids: list[str], member: Predictions) -> None:
    """ValueError where the sample asks for other rows than those that were predicted; their order does not matter."""
    predicted = set(member.test["id"])
    unknown, forgotten = [row_id for row_id in ids if row_id not in predicted], sorted(predicted - set(ids))
    if unknown or forgotten:
        raise ValueError(
            f"{path}: {len(unknown)} of its ids are missing in the test predictions of {member.name} {unknown[:5]}, and it lacks "
            f"{len(forgotten)} of theirs {forgotten[:5]}; take the competition's file, or train on its test table"
        )


def blend_members(args: argparse.Namespace, members: list[Predictions], metric: str) -> Blend:
    """The blend that the command line asks for."""
    e_form, oof = stack_oof(members)
    if args.weights:
        return fixed_blend(normalized_weights(args.weights, len(members)), oof)
    if args.blend == "mean":
        return fixed_blend(np.full(len(members), 1 / len(members)), oof)
    return fit_blend(args.blend, e_form, oof, shared_folds(members), metric)


def report(members: list[Predictions], blend: Blend, task: Task) -> str:
    """The table of members, weights with their spread over folds, and the blend's scores."""
    e_form, oof = stack_oof(members)
    title = f"OOF {task.metric.upper()} ({task.unit})"
    lines = [f"{'experiment':<14} {'weight over folds':>17}  {title}  read from"]

    def line(name: str, weight: str, pred: np.ndarray, remark: str) -> str:
        return f"{name:<14} {weight:>17}  {scores(e_form, pred)[task.metric]:{len(title)}.4f}  {remark}"

    for i, member in enumerate(members):
        weight = f"{blend.weights[i]:.3f} ± {blend.fold_weights[:, i].std():.3f}"
        lines.append(line(member.name, weight, oof[:, i], str(shown(member.source))))
    lines.append(line("blend, nested", "", blend.nested_pred, "each fold by weights fitted on the others"))
    lines.append(line("blend, naive", "", blend.naive_pred, "weights fitted on the rows they are scored on"))
    return "\n".join(lines)


def gain(blend: Blend, without: Blend, e_form: np.ndarray) -> str:
    """What a member brings: the difference of nested OOF MAE with its paired interval over crystals."""
    difference = np.abs(e_form - blend.nested_pred) - np.abs(e_form - without.nested_pred)
    low, high = bootstrap_interval(difference)
    return f"{difference.mean():+.4f} ({low:+.4f} to {high:+.4f}){'' if low <= 0 <= high else ' *'}"


def write_intervals(out: Path, submission: pd.DataFrame, members: list[Predictions], blend: Blend, task: Task) -> str:
    """Writes the submission with lower, upper and spread beside it; returns what to say of them."""
    path = out.with_name(f"{out.stem}_with_uncertainty.csv")
    try:
        shared_folds(members)
    except ValueError as error:
        path.unlink(missing_ok=True)
        return f"no intervals: {error}"
    found = calibrate(members, blend, list(submission[task.id_column]))
    (column,) = (name for name in submission if name != task.id_column)
    lower, upper = (submission[column] + sign * found.half_width for sign in (-1, 1))
    write_csv(path, submission.assign(lower=lower, upper=upper, spread=found.spread))
    width, coverage = 2 * found.half_width.mean(), " ".join(f"{share:.0%}" for share in found.coverage)
    return (
        f"{shown(path)}: with the spread over folds and members and 90% intervals, {width:.3f} {task.unit} wide on average "
        f"({found.shrinkage:.2f} of a fold model's)\nOOF coverage by fold: {coverage}"
    )


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--exps", nargs="+", required=True, metavar="NUMBER", help="finished experiments")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--weights", nargs="+", type=float, help="one for each experiment (default: equal)")
    how.add_argument("--blend", choices=get_args(BlendMethod), default="mean", help="how weights are found, out of fold")
    parser.add_argument("--baseline", metavar="NUMBER", help="one more experiment, and what it brings; not with --weights")
    parser.add_argument("--data", type=Path, default=DEFAULT_TASK, help="folder of the task (default: input/flla)")
    parser.add_argument("--outputs", type=Path, default=OUTPUTS, help="where runs are (default: outputs/)")
    parser.add_argument("--out", type=Path, help="file to write (default: outputs/<task>/submission.csv)")
    args = parser.parse_args(argv)
    if args.baseline and args.weights:
        parser.error("--baseline finds its weight by --blend; with --weights, name it among --exps")
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse_arguments(argv)
    with one_message("submit"):
        task = read_task(args.data)
        sample, column = read_sample(task)
        ids = list(sample[task.id_column])
        members = [find_predictions(number, task.name, args.outputs) for number in args.exps]
        check_ids(task.path("sample_submission"), ids, members[0])
        without = blend_members(args, members, task.metric)
        baseline = [find_predictions(args.baseline, task.name, args.outputs)] if args.baseline else []
        if baseline and baseline[0].name in [member.name for member in members]:
            raise ValueError(f"{baseline[0].name} is among --exps already")
        members += baseline
        blend = blend_members(args, members, task.metric) if baseline else without
        pred = stack_test(members, ids) @ blend.weights
        if not np.isfinite(pred).all():
            bad = sample[task.id_column][~np.isfinite(pred)].tolist()
            raise ValueError(f"{len(bad)} predictions are not finite: {bad[:5]}")
        out = args.out or args.outputs / task.name / "submission.csv"
        write_csv(out, sample.assign(**{column: pred}))
        intervals = write_intervals(out, sample.assign(**{column: pred}), members, blend, task)
    print(report(members, blend, task))
    if baseline:
        print(f"{baseline[0].name} brings {gain(blend, without, stack_oof(members)[0])} {task.unit} (nested OOF MAE, 95%)")
    print(f"{shown(out)}: {len(sample)} rows, ids and order as in {task.path('sample_submission').name}")
    print(intervals)
    opened = [member.name for member in members if track_of(member.name) == "open"]
    if opened:
        print(f"open track: {', '.join(opened)} learned from energies that are not the task's")


if __name__ == "__main__":
    main()
