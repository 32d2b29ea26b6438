"""Finished experiments side by side, paired by crystal and by fold."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from src.config.load import track_of
from src.data.task import MetricName, Task
from src.paths import experiment_folders, shown
from src.results.blend import fixed_blend, stack_oof, stack_test
from src.results.intervals import calibrate, scale_of
from src.results.metrics import METRICS, check_targets, score_difference, scores
from src.results.predictions import Predictions, find_predictions
from src.results.surroundings import Points

Values = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Difference:
    """Difference of an OOF score to a reference, in the task's unit if the metric has one.

    low, high: 95% bootstrap interval over crystals. folds_won, n_folds: in how many folds the score is better.
    """

    metric: MetricName
    value: float
    low: float
    high: float
    folds_won: int
    n_folds: int

    @property
    def is_significant(self) -> bool:
        """True if the interval excludes zero."""
        return not self.low <= 0 <= self.high

    def __str__(self) -> str:
        return f"{self.value:+.4f} ({self.low:+.4f} to {self.high:+.4f}){' *' if self.is_significant else ''}"


def difference_of_scores(e_form: Values, reference: Values, other: Values, fold: IntArray, metric: MetricName) -> Difference:
    """Return how much larger the score of the predictions `other` is; all arrays: (n_crystals,)."""
    losses = [fold_scores(e_form, pred, fold, METRICS[metric].loss) for pred in (reference, other)]
    value, low, high = score_difference(metric, e_form, reference, other)
    return Difference(metric, value, low, high, int((losses[1] < losses[0]).sum()), len(losses[0]))


def fold_scores(e_form: Values, pred: Values, fold: IntArray, score: Callable[[Values, Values], float]) -> Values:
    """Return the score of each fold's rows, (n_folds,)."""
    return np.array([score(e_form[fold == k], pred[fold == k]) for k in np.unique(fold)])


def paired_difference(reference: Predictions, other: Predictions, metric: MetricName = "mae") -> Difference:
    """Return the difference of `other` to `reference` over the same crystals and the folds of `reference`."""
    e_form, oof = stack_oof([reference, other])
    return difference_of_scores(e_form, oof[:, 0], oof[:, 1], reference.oof["fold"].to_numpy(), metric)


def chosen(numbers: Sequence[str], track: str, task: Task, outputs: Path) -> list[Predictions]:
    """Return the experiments of these numbers or, if there are none, all finished ones of the track."""
    if numbers:
        return [find_predictions(number, task, outputs) for number in numbers]
    found = []
    for folder in experiment_folders():
        try:
            if track_of(folder.name) == track:
                found.append(find_predictions(folder.name, task, outputs))
        except FileNotFoundError:
            continue
    if not found:
        raise FileNotFoundError(f"no experiment of the {track} track is finished on task {task.label}")
    return found


def score_rows(
    members: Sequence[Predictions], labels: pd.Series | None, points: Points | None = None, metric: MetricName = "mae"
) -> list[dict]:
    """Return one row of scores per experiment; differences, in the task's metric, are to the first.

    labels: id -> target of the test rows; with them, test scores and, with `points`, the share of crystals inside the 90%
    intervals.
    """
    rows = []
    for member in members:
        e_form, oof = stack_oof([member])
        check_targets(metric, member.source / "oof.csv", member.oof["id"].tolist(), e_form)
        oof_scores = scores(e_form, oof[:, 0], metric)
        row: dict = {"experiment": member.name, "oof_mae": oof_scores["mae"], "fold_mae_sd": member.metrics["fold_mae_sd"]}
        row["oof_rmse"] = oof_scores["rmse"]
        if metric != "mae":
            by_fold = fold_scores(e_form, oof[:, 0], member.oof["fold"].to_numpy(), METRICS[metric])
            row |= {f"oof_{metric}": oof_scores[metric], f"fold_{metric}_sd": float(by_fold.std(ddof=1))}
        if labels is not None:
            pred = stack_test([member], list(labels.index))[:, 0]
            test = scores(labels.to_numpy(), pred, metric)
            row |= {"test_mae": test["mae"], "test_rmse": test["rmse"], f"test_{metric}": test[metric]}
            if points is not None:
                single = fixed_blend(np.ones(1), oof)
                found = calibrate([member], single, list(labels.index), points, on=scale_of([member]))
                row["inside_90"] = float(labels.between(found.lower, found.upper).mean())
        row |= {"cpu_seconds": member.metrics["cpu_seconds"], "n_parameters": member.metrics["n_parameters"]}
        row["difference"] = None if member is members[0] else paired_difference(members[0], member, metric)
        rows.append(row)
    return rows


def score_cells(row: dict, metric: MetricName = "mae") -> dict[str, str]:
    """Return the scores of one row of `score_rows` as people read them, column -> text; the task's metric is the first."""
    names = dict.fromkeys((metric, "mae", "rmse"))
    cells = {f"OOF {METRICS[name].text}": f"{row[f'oof_{name}']:.4f}" for name in names}
    for name in dict.fromkeys((metric, "mae")):
        cells[f"OOF {METRICS[name].text}"] += f" ± {row[f'fold_{name}_sd']:.4f}"
    if "test_mae" in row:
        cells |= {f"test {METRICS[name].text}": f"{row[f'test_{name}']:.4f}" for name in names}
    if "inside_90" in row:
        cells |= {"in 90%": f"{row['inside_90']:.1%}"}
    return cells | {"CPU s": f"{row['cpu_seconds']:.0f}", "parameters": str(row["n_parameters"])}


def error_correlation(members: Sequence[Predictions]) -> pd.DataFrame:
    """Return the Pearson correlation of signed OOF errors; a blend gains most from good experiments that correlate little."""
    e_form, oof = stack_oof(members)
    names = [member.name for member in members]
    return pd.DataFrame(np.corrcoef(oof - e_form[:, None], rowvar=False).reshape(len(names), -1), index=names, columns=names)


def leaderboard(rows: list[dict], metric: MetricName = "mae") -> str:
    """Return how well the order out of fold agrees with the order on the test set, by the task's metric."""
    oof, test = ([row[f"{which}_{metric}"] for row in rows] for which in ("oof", "test"))
    correlation = METRICS["spearman"](np.array(oof), np.array(test))
    first = max if METRICS[metric].larger_is_better else min
    best = [rows[values.index(first(values))]["experiment"] for values in (oof, test)]
    return (
        f"CV against leaderboard: rank correlation {correlation:.2f} over {len(rows)} experiments; "
        f"best OOF {best[0]}, best on test {best[1]}"
    )


def as_json(members: Sequence[Predictions], rows: list[dict], unit: str) -> str:
    """Return all figures as JSON."""
    plain = [row | {"difference": row["difference"] and _difference_as_json(row["difference"])} for row in rows]
    return json.dumps({"unit": unit, "rows": plain, "error_correlation": error_correlation(members).to_dict()}, indent=1)


def _difference_as_json(difference: Difference) -> dict:
    found = asdict(difference)
    return {found.pop("metric"): found.pop("value")} | found


def as_text(members: Sequence[Predictions], rows: list[dict], unit: str, markdown: bool, metric: MetricName = "mae") -> str:
    """Return the table of scores, the meaning of its signs, the table of error correlations, and each member's source."""
    reference = members[0].name
    table = pd.DataFrame(
        [{"experiment": row["experiment"]} | score_cells(row, metric) | _gain_cells(row, reference, metric) for row in rows]
    )
    square = error_correlation(members).map("{:.2f}".format).rename_axis("error correlation").reset_index()
    tables = [to_markdown(part) if markdown else part.to_string(index=False) for part in (table, square)]
    is_scored = "test_mae" in rows[0]
    note = "sd over folds; * the 95% interval over crystals excludes zero"
    note += "; in 90%: share of test crystals inside their 90% interval." if is_scored else "."
    sources = [f"{member.name}: {track_of(member.name)} track, read from {shown(member.source)}" for member in members]
    ranks = [leaderboard(rows, metric)] if is_scored and len(rows) > 2 else []
    return "\n\n".join([tables[0], note, tables[1], *ranks, "\n".join([f"Errors in {unit}.", *sources])])


def _gain_cells(row: dict, reference: str, metric: MetricName) -> dict[str, str]:
    difference: Difference | None = row["difference"]
    return {
        f"Δ{METRICS[metric].text} to {reference}": str(difference or ""),
        "folds won": f"{difference.folds_won} of {difference.n_folds}" if difference else "",
    }


def to_markdown(table: pd.DataFrame) -> str:
    """Return a table of texts in Markdown."""
    lines = [list(table), ["---"] * table.shape[1], *table.to_numpy().tolist()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
