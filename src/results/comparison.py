"""Finished experiments side by side on one target or on several, paired by crystal and by fold."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from src.config.catalogue import experiment_names, is_of_track, track_of
from src.data.task import CLASS_METRICS, MetricName, Task
from src.paths import experiment_name, shown
from src.results.blend import fixed_blend, stack_oof, stack_test
from src.results.difference import Difference, fold_scores, holm_of, p_text, paired_differences
from src.results.folder import oof_arrays
from src.results.intervals import calibrate
from src.results.metrics import METRICS, check_targets, decided, figures_of, scores
from src.results.partial import Partial, partial_rows, partial_runs
from src.results.predictions import Predictions, find_predictions
from src.results.surroundings import Points, points_of

STAR = "* zero is outside both 95% intervals, over crystals (paired bootstrap) and over folds (corrected resampled t)"


def chosen(numbers: Sequence[str], track: str, task: Task, outputs: Path) -> tuple[list[Predictions], list[Partial]]:
    """Return the finished and the partial experiments among these numbers or, if there are none, all of the track.

    One whose config cannot be read is left out, unless it is named. Raises FileNotFoundError if a number has neither finished
    nor partial predictions, or if none is finished.
    """
    partial, found = partial_runs(numbers, track, task, outputs), []
    begun = {one.name: one.text(task.metric) for one in partial}
    for name in map(experiment_name, numbers) if numbers else [name for name in experiment_names() if is_of_track(name, track)]:
        try:
            found.append(find_predictions(name, task, outputs))
        except FileNotFoundError:
            if numbers and name not in begun:
                raise
    if not found:
        texts = "".join(f"; {name}: {text}" for name, text in begun.items())
        raise FileNotFoundError(f"no experiment of the {track} track is finished on task {task.label}{texts}")
    return found, partial


def score_rows(
    experiments: Sequence[Predictions], labels: pd.Series | None, points: Points | None = None, metric: MetricName = "mae"
) -> list[dict]:
    """Return one row of scores per experiment; differences, in the task's metric, are from the first.

    p_holm: the p-value of the difference, corrected for the number of rows that have one.
    labels: id -> target of the test rows; with them, test scores and, with `points`, the share of crystals inside the 90%
    intervals.
    """
    rows = []
    differences = [None, *paired_differences(experiments[0], experiments[1:], metric)]
    for one, difference in zip(experiments, differences, strict=True):
        target, pred, fold = oof_arrays(one.oof)
        check_targets(metric, one.source / "oof.csv", one.oof["id"].tolist(), target)
        own = scores(target, pred, metric, fold)
        row: dict = {"experiment": one.name, "oof_mae": own["mae"]}
        row |= {"fold_mae_sd": one.metrics["fold_mae_sd"], "oof_rmse": own["rmse"]}
        if metric != "mae":
            by_fold = fold_scores(target, decided(metric, target, pred, fold), fold, METRICS[metric])
            row |= {f"oof_{name}": own[name] for name in figures_of(metric)}
            row[f"fold_{metric}_sd"] = float(pd.Series(by_fold).std())  # over folds in which it is defined
        if labels is not None:
            ids = list(labels.index)
            test = scores(labels.to_numpy(), stack_test([one], ids)[:, 0], metric, known=(target, pred))
            row |= {f"test_{name}": test[name] for name in ("mae", "rmse", *figures_of(metric))}
            if points is not None:
                found = calibrate([one], fixed_blend(np.ones(1), pred[:, None]), ids, points, judged=False)
                row["inside_90"] = float(labels.between(found.lower, found.upper).mean())
        row |= {key: one.metrics[key] for key in ("cpu_seconds", "n_parameters")}
        row["seconds_text"] = seconds_text(one.metrics)
        row["difference"] = difference
        rows.append(row)
    return [row | {"p_holm": p} for row, p in zip(rows, holm_of([row["difference"] for row in rows]), strict=True)]


def score_cells(row: dict, metric: MetricName) -> dict[str, str]:
    """Return the scores of one row of `score_rows` for display, column -> text; the task's metric comes first."""
    cells = {}
    for name in figures_of(metric):
        sd = f" ± {row[f'fold_{name}_sd']:.4f}" if f"fold_{name}_sd" in row else ""
        cells[f"OOF {METRICS[name].text}"] = f"{row[f'oof_{name}']:.4f}{sd}"
    if "test_mae" in row:
        cells |= {f"test {METRICS[name].text}": f"{row[f'test_{name}']:.4f}" for name in figures_of(metric)}
    if "inside_90" in row:
        cells["in 90%"] = f"{row['inside_90']:.1%}"
    return cells | {"CPU s": row["seconds_text"], "parameters": str(row["n_parameters"])}


def seconds_text(metrics: dict) -> str:
    """Return the CPU seconds of a run for display; ≥ if they are a lower bound."""
    return f"{'≥ ' if is_lower_bound(metrics) else ''}{metrics['cpu_seconds']:.0f}"


def is_lower_bound(metrics: dict) -> bool:
    """Return whether a run cost more CPU seconds than recorded: a fold was resumed, or a GPU did the work."""
    return bool(metrics.get("resumed_folds") or metrics.get("gpus"))


def error_correlation(experiments: Sequence[Predictions]) -> pd.DataFrame:
    """Return the Pearson correlation of signed OOF errors; a blend gains most from good, weakly correlated experiments."""
    target, oof = stack_oof(experiments)
    return pd.DataFrame(oof - target[:, None], columns=[experiment.name for experiment in experiments]).corr()


def leaderboard(rows: list[dict], metric: MetricName) -> str:
    """Return how well the ranking out of fold agrees with that on the test set, by the task's metric."""
    table = pd.DataFrame(rows).set_index("experiment")[[f"oof_{metric}", f"test_{metric}"]]
    correlation = METRICS["spearman"](*table.to_numpy(dtype=np.float64).T)
    best_oof, best_test = table.idxmax() if METRICS[metric].larger_is_better else table.idxmin()
    return (
        f"CV against leaderboard: rank correlation {correlation:.2f} over {len(rows)} experiments; "
        f"best OOF {best_oof}, best on test {best_test}"
    )


@dataclass(frozen=True, eq=False)
class Compared:
    """Experiments compared on one target. rows: of `score_rows`."""

    task: Task
    experiments: Sequence[Predictions]
    rows: list[dict]
    partial: Sequence[Partial] = ()

    @classmethod
    def of(cls, task: Task, numbers: Sequence[str], track: str, labels: pd.Series | None, outputs: Path) -> "Compared":
        """Return the comparison of what `chosen` returns. labels: id -> target of the test rows, for their scores."""
        experiments, partial = chosen(numbers, track, task, outputs)
        points = None if labels is None or task.of_classes else points_of(task, outputs, experiments[0])
        rows = score_rows(experiments, labels, points, task.metric)
        return cls(task, experiments, rows, partial)

    def text(self, markdown: bool) -> str:
        """Return the tables of scores and of error correlations, the meaning of their signs, and where each run was read from."""
        metric, rows, reference = self.task.metric, self.rows, self.experiments[0].name
        cells = [
            {"experiment": row["experiment"]} | score_cells(row, metric) | gain_cells(row, reference, metric) for row in rows
        ]
        square = error_correlation(self.experiments).map("{:.2f}".format).rename_axis("error correlation").reset_index()
        notes, ranks = ["sd over folds"], []
        if len(rows) > 1:
            n_tested = sum(row["p_holm"] is not None for row in rows)
            notes += [STAR, f"p: of the test over folds; Holm p: corrected for the {n_tested} shown"]
        if "test_mae" in rows[0]:
            notes += ["in 90%: share of test crystals inside their 90% interval"] * ("inside_90" in rows[0])
            ranks = [leaderboard(rows, metric)] if len(rows) > 2 else []
        sources = [f"{one.name}: {track_of(one.name)} track, read from {shown(one.source)}" for one in self.experiments]
        by_classes = "Classes are told apart by thresholds chosen on the other folds."
        units = by_classes if metric in CLASS_METRICS else f"Errors in {self.task.unit}."
        errors = "\n".join([units, *sources])
        tables = [_shown(part, markdown) for part in (pd.DataFrame(cells), square)]
        partial = []
        if self.partial:
            found = pd.DataFrame(partial_rows(self.partial, self.experiments[0], metric))
            partial = [f"Partial runs: {METRICS[metric].text} on the rows of their finished folds.", _shown(found, markdown)]
        return "\n\n".join([tables[0], ";\n".join(notes) + ".", tables[1], *ranks, *partial, errors])


def compared_text(compared: Sequence[Compared], markdown: bool) -> str:
    """Return the tables of each target and, if there are several, that of the mean score, by which the competition ranks."""
    if len(compared) == 1:
        return compared[0].text(markdown)
    metric, mark = compared[0].task.metric, "## " if markdown else ""
    tables = [pd.DataFrame(one.rows).set_index("experiment").filter([f"oof_{metric}", f"test_{metric}"]) for one in compared]
    shared = [name for name in tables[0].index if all(name in table.index for table in tables)]
    means = np.mean([table.loc[shared].to_numpy() for table in tables], axis=0)
    heads = [f"{'OOF' if column.startswith('oof') else 'test'} {METRICS[metric].text}" for column in tables[0]]
    cells = pd.DataFrame(means, pd.Index(shared, name="experiment"), heads).map("{:.4f}".format)
    table = _shown(cells.reset_index(), markdown) if shared else "no experiment has all"
    parts = [f"{mark}{one.task.target_column}\n\n{one.text(markdown)}" for one in compared]
    return "\n\n".join([*parts, f"{mark}mean over {len(compared)} targets\n\n{table}"])


def gain_cells(row: dict, reference: str, metric: MetricName) -> dict[str, str]:
    """Return the difference of one row of `score_rows` for display, column -> text."""
    difference: Difference | None = row["difference"]
    return {
        f"Δ{METRICS[metric].text} to {reference} (95%: crystals; folds)": str(difference or ""),
        "folds won": f"{difference.folds_won} of {difference.n_folds}" if difference else "",
        "p": p_text(difference.folds.p if difference and difference.folds else None),
        "Holm p": p_text(row["p_holm"]),
    }


def to_markdown(table: pd.DataFrame) -> str:
    """Return a table of texts in Markdown."""
    lines = [list(table), ["---"] * table.shape[1], *table.to_numpy().tolist()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _shown(table: pd.DataFrame, markdown: bool) -> str:
    return to_markdown(table) if markdown else table.to_string(index=False)
