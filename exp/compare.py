"""Compares finished experiments, paired by crystal and by fold, and says how alike their errors are.

python exp/compare.py                    # all of the closed track that are finished; --track open: those of the open one
python exp/compare.py 003 004 005        # differences are to the first
python exp/compare.py --score            # with the test MAE: the stand-in for a leaderboard, look once
python exp/compare.py --submission outputs/flla/submission.csv   # the score of a file, likewise
python exp/compare.py --markdown         # or --json
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from src.command import one_message
from src.config.load import track_of
from src.data.rows import number, read_rows
from src.data.task import Task, read_task
from src.paths import DEFAULT_TASK, EXPERIMENTS, OUTPUTS, shown
from src.results.comparison import Difference, error_correlation, score_rows
from src.results.metrics import scores
from src.results.predictions import Predictions, find_predictions


def finished(task_name: str, outputs: Path, track: str) -> list[Predictions]:
    """Every experiment of the track that has predictions for the task, by number."""
    found = []
    for folder in sorted(EXPERIMENTS.glob("exp[0-9][0-9][0-9]")):
        try:
            if track_of(folder.name) == track:
                found.append(find_predictions(folder.name, task_name, outputs))
        except FileNotFoundError:
            continue
    if not found:
        raise FileNotFoundError(f"no experiment of the {track} track is finished on task {task_name}")
    return found


def chosen(args: argparse.Namespace, task_name: str) -> list[Predictions]:
    """The experiments that a command line names, else all that are finished of its track."""
    if args.numbers:
        return [find_predictions(number, task_name, args.outputs) for number in args.numbers]
    return finished(task_name, args.outputs, args.track)


def read_labels(task: Task) -> pd.Series:
    """The test labels, id -> target. Nothing else in the project reads them."""
    return read_numbers(task.path("test_labels"), task.id_column, task.target_column)


def read_numbers(path: Path, id_column: str, column: str) -> pd.Series:
    """id -> a finite number, from a CSV file; ValueError that names what is wrong with it."""
    rows = pd.DataFrame(read_rows(path))
    if not {id_column, column} <= set(rows):
        raise ValueError(f"{path}: expected the columns {id_column!r} and {column!r}, found {list(rows)}")
    ids, numbers = rows[id_column], rows[column].map(number)
    bad = ids[~np.isfinite(numbers) | ids.duplicated()]
    if len(bad):
        raise ValueError(f"{path}: {column!r} of {bad.iloc[0]!r} is not finite, or stands there twice; correct it")
    return pd.Series(numbers.to_numpy(), index=pd.Index(ids, name=id_column), name=column)


def score_submission(path: Path, task: Task) -> str:
    """The score of a submission, by the test labels."""
    labels, submitted = read_labels(task), read_numbers(path, task.id_column, task.target_column)
    if set(labels.index) != set(submitted.index):
        raise ValueError(f"{path}: its ids are not those of the test labels; write it anew with submit.py")
    found = scores(labels.to_numpy(), submitted[labels.index].to_numpy())
    return f"{shown(path)}: test MAE {found['mae']:.4f}, RMSE {found['rmse']:.4f} {task.unit}, {len(labels)} crystals"


def table(rows: list[dict], reference: str) -> pd.DataFrame:
    """Figures of `score_rows` as people read them."""
    shown_rows = []
    for row in rows:
        cells = {
            "experiment": row["experiment"],
            "OOF MAE": f"{row['oof_mae']:.4f} ± {row['fold_mae_sd']:.4f}",
            "OOF RMSE": f"{row['oof_rmse']:.4f}",
        }
        if "test_mae" in row:
            cells |= {"test MAE": f"{row['test_mae']:.4f}", "test RMSE": f"{row['test_rmse']:.4f}"}
            cells |= {"in 90%": f"{row['inside_90']:.1%}"}
        cells |= {"CPU s": f"{row['cpu_seconds']:.0f}", "parameters": str(row["n_parameters"])}
        difference: Difference | None = row["difference"]
        cells[f"ΔMAE to {reference}"] = str(difference) if difference else ""
        cells["folds won"] = f"{difference.folds_won} of {difference.n_folds}" if difference else ""
        shown_rows.append(cells)
    return pd.DataFrame(shown_rows)


def leaderboard(rows: list[dict]) -> str:
    """Whether the order out of fold is the order on the test set."""
    from scipy.stats import spearmanr

    correlation = spearmanr([row["oof_mae"] for row in rows], [row["test_mae"] for row in rows]).statistic
    best = {key: min(rows, key=lambda row: row[key])["experiment"] for key in ("oof_mae", "test_mae")}
    return (
        f"CV against leaderboard: rank correlation {correlation:.2f} over {len(rows)} experiments; "
        f"best OOF {best['oof_mae']}, best on test {best['test_mae']}"
    )


def to_markdown(rows: pd.DataFrame) -> str:
    """The table with its columns as header, in Markdown."""
    lines = [list(rows), ["---"] * rows.shape[1], *rows.to_numpy().tolist()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def as_text(rows: pd.DataFrame, correlation: pd.DataFrame, markdown: bool) -> str:
    """Both tables, and what their signs mean."""
    square = correlation.map("{:.2f}".format).rename_axis("error correlation").reset_index()
    tables = [to_markdown(part) if markdown else part.to_string(index=False) for part in (rows, square)]
    note = "sd over folds; * the 95% interval over crystals excludes zero"
    if "in 90%" in rows:
        note += "; in 90%: share of test crystals inside their 90% interval"
    return "\n\n".join([tables[0], f"{note}.", tables[1]])


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("numbers", nargs="*", help="experiments (default: all that are finished)")
    parser.add_argument("--track", choices=("closed", "open"), default="closed", help="where no experiments are named")
    parser.add_argument("--score", action="store_true", help="add the test scores, from the task's test labels")
    parser.add_argument("--submission", type=Path, metavar="FILE", help="score this file instead of comparing experiments")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--markdown", action="store_true", help="print Markdown tables")
    form.add_argument("--json", action="store_true", help="print all figures as JSON")
    parser.add_argument("--data", type=Path, default=DEFAULT_TASK, help="folder of the task (default: input/flla)")
    parser.add_argument("--outputs", type=Path, default=OUTPUTS, help="where runs are (default: outputs/)")
    args = parser.parse_args(argv)
    with one_message("compare"):
        task = read_task(args.data)
        if args.submission:
            print(score_submission(args.submission, task))
            return
        members = chosen(args, task.name)
        rows = score_rows(members, read_labels(task) if args.score else None)
        correlation = error_correlation(members)
    if args.json:
        plain = [row | {"difference": row["difference"] and asdict(row["difference"])} for row in rows]
        print(json.dumps({"unit": task.unit, "rows": plain, "error_correlation": correlation.to_dict()}, indent=1))
        return
    print(as_text(table(rows, members[0].name), correlation, args.markdown))
    if args.score and len(rows) > 2:
        print(f"\n{leaderboard(rows)}")
    print(f"\nErrors in {task.unit}.")
    for member in members:
        print(f"{member.name}: {track_of(member.name)} track, read from {shown(member.source)}")


if __name__ == "__main__":
    main()
