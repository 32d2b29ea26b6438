"""The submission: the sample's rows in the sample's order, with the predictions of a blend of experiments for each target."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from src.config import BlendMethod
from src.config.catalogue import track_of
from src.data.rows import read_rows
from src.data.task import MetricName, Task
from src.paths import shown
from src.results.blend import Blend, fit_blend, fixed_blend, normalized_weights, shared_folds, stack_oof, stack_test
from src.results.difference import difference_of_scores
from src.results.folder import UNREAD, oof_arrays
from src.results.intervals import calibrate, least_of
from src.results.metrics import METRICS, best_threshold, check_targets, oof_score
from src.results.predictions import Predictions, find_parts, find_predictions
from src.results.probabilities import VennAbers, calibration_text
from src.results.surroundings import points_of
from src.storage.files import write_csv

Values = NDArray[np.float64]
How = BlendMethod | Sequence[float]


@dataclass(frozen=True, eq=False)
class Blended:
    """The blend of experiments for one target.

    column: of the target in the sample. ids: of the test rows that the parts predict. unread: predictions for the others, see
    `formula_predictions`; None: there are none. gain: of the baseline, as text.
    """

    task: Task
    column: str
    parts: list[Predictions]
    blend: Blend
    ids: list[str]
    unread: pd.DataFrame | None
    gain: list[str]

    def predict(self) -> Values:
        """Return the predictions for `ids`, not below zero if no training row is; raise ValueError if one is not finite.

        For classes they are probabilities of the second.
        """
        pred = self.blend.mix(stack_test(self.parts, self.ids))
        if not np.isfinite(pred).all():
            bad = [self.ids[i] for i in np.flatnonzero(~np.isfinite(pred))]
            raise ValueError(f"{len(bad)} predictions are not finite: {bad[:5]}")
        if self.task.of_classes:
            return np.clip(pred, 0, 1)
        return np.maximum(pred, least_of(self.parts[0].oof["e_form"].to_numpy()))

    def complete(self, values: Values, name: str, ids: list[str]) -> Values:
        """Return values for all rows of the sample. values: for `ids`. name: the column of `unread` that has the others."""
        if self.unread is None:
            return values
        return pd.concat([pd.Series(values, self.ids), self.unread[name]]).loc[ids].to_numpy()

    @property
    def score(self) -> float:
        """Nested out-of-fold score of the blend in the task's metric."""
        target, _, fold = oof_arrays(self.parts[0].oof)
        return oof_score(self.task.metric, target, self.blend.nested_pred, fold)

    def intervals(self, outputs: Path) -> tuple[dict[str, Values], str]:
        """Return columns for `ids` (lower and upper bounds and the spread) and a summary of them.

        outputs: where the crystals' coordinates are cached. Raises ValueError if there cannot be intervals.
        """
        found = calibrate(self.parts, self.blend, self.ids, points_of(self.task, outputs, self.parts[0]))
        width, coverage = 2 * found.half_width, " ".join(f"{share:.0%}" for share in found.coverage)
        text = (
            f"{width.mean():.3f} {self.task.unit} wide on average, {np.median(width):.3f} in the median\n"
            f"OOF coverage by fold: {coverage}"
        )
        return {"lower": found.lower, "upper": found.upper, "spread": found.spread}, text

    def probabilities(self) -> tuple[dict[str, Values], str]:
        """Return columns for `ids` (probability, calibrated probability and its bounds) and a summary of them."""
        target, _, fold = oof_arrays(self.parts[0].oof)
        pred, found = self.predict(), VennAbers.fit(target, self.blend.nested_pred)
        lower, upper = found.bounds(pred)
        columns = {"probability": pred, "calibrated": found.calibrated(pred), "lower": lower, "upper": upper}
        return columns, calibration_text(target, self.blend.nested_pred, fold)

    def submitted(self, ids: list[str]) -> tuple[Values | list[str], list[str]]:
        """Return the submitted values for all rows of the sample, and remarks on them.

        If the metric scores decisions, the values are classes in the task's own texts, by the best threshold out of fold.
        """
        pred = self.complete(self.predict(), "prediction", ids)
        if METRICS[self.task.metric].curve is None:
            return pred, []
        target, _, _ = oof_arrays(self.parts[0].oof)
        threshold = best_threshold(self.task.metric, target, self.blend.nested_pred)
        texts = self.task.texts
        above = f"{texts[1]!r} where the probability is above {threshold:.4f}, the best threshold out of fold, else {texts[0]!r}"
        return [texts[int(one)] for one in pred > threshold], [f"{self.column}: {above}"]


def submit(
    tasks: Sequence[Task],
    outputs: Path,
    numbers: Sequence[str] | Mapping[str, Sequence[str]],
    how: How,
    baseline: str | None,
    out: Path | None,
) -> str:
    """Write submission.csv and its intervals; return a summary for people.

    tasks: one per target. numbers: of experiments, by target if they differ. how: one weight per experiment, or the method that
    fits the weights to out-of-fold rows, separately for each target. baseline: one more experiment, whose gain is added to
    the text. out: the file (None: in the task's outputs).
    """
    first = tasks[0]
    sample, columns = read_sample(tasks)
    every = list(sample[first.id_column])
    pairs = zip(tasks, columns, strict=True)
    own = numbers if isinstance(numbers, Mapping) else {task.target_column: numbers for task in tasks}
    blended = [blend_target(task, column, outputs, own[task.target_column], how, baseline, every) for task, column in pairs]
    submitted = [one.submitted(every) for one in blended]
    submission = sample.assign(**{one.column: values for one, (values, _) in zip(blended, submitted, strict=True)})
    out = out or outputs / first.name / "submission.csv"
    write_csv(out, submission)
    intervals = write_intervals(out, submission, blended, outputs)
    lines = []
    for one, (_, said) in zip(blended, submitted, strict=True):
        title = [f"{one.task.target_column}:"] if len(first.targets) > 1 else []
        lines += [*title, parts_table(one.parts, one.blend, one.task), *one.gain, *said]
    lines += [f"{shown(out)}: {len(sample)} rows, ids and order as in {first.path('sample_submission').name}", intervals]
    if (unread := blended[0].unread) is not None:
        lines.append(f"warning: {len(unread)} test rows cannot be read, see their remarks: {', '.join(unread.index[:5])}")
    opened = [part.name for part in blended[0].parts if track_of(part.name) == "open"]
    if opened:
        lines.append(f"open track: {', '.join(opened)} used energies from outside the task's data")
    if len(blended) > 1:
        mean = np.mean([one.score for one in blended])
        lines.append(f"mean over {len(blended)} targets: {METRICS[first.metric].text} {mean:.4f} (nested OOF)")
    return "\n".join(lines)


def blend_target(
    task: Task, column: str, outputs: Path, numbers: Sequence[str], how: How, baseline: str | None, ids: list[str]
) -> Blended:
    """Return the blend of experiments for one target. ids: of the sample; column: of the target in it."""
    parts = find_parts(numbers, task, outputs)
    unread, fallback = set(parts[0].metrics.get(UNREAD, ())), None
    missing, ids = [row_id for row_id in ids if row_id in unread], [row_id for row_id in ids if row_id not in unread]
    check_ids(task.path("sample_submission"), ids, parts[0])
    if missing:
        from src.data.load import load_task_data  # pymatgen is slow to import
        from src.results.fallback import formula_predictions

        skipped = bool(parts[0].metrics.get("rows_left_out"))
        fallback = formula_predictions(load_task_data(task.folder, outputs, skipped, 1, task.target_column), missing)
    without = blend_parts(parts, how, task.metric)
    if not baseline:
        return Blended(task, column, parts, without, ids, fallback, [])
    parts = [*parts, find_predictions(baseline, task, outputs)]
    if parts[-1].name in [part.name for part in parts[:-1]]:
        raise ValueError(f"{parts[-1].name} is among --exps already")
    blend = blend_parts(parts, how, task.metric)
    target, _, fold = oof_arrays(parts[0].oof)
    gain = difference_of_scores(target, without.nested_pred, blend.nested_pred, fold, task.metric)
    metric = METRICS[task.metric]
    unit = f"{task.unit} " * metric.has_unit
    brings = f"{parts[-1].name} brings {gain} {unit}(nested OOF {metric.text}; 95% over crystals; over folds)"
    return Blended(task, column, parts, blend, ids, fallback, [brings])


def read_sample(tasks: Sequence[Task]) -> tuple[pd.DataFrame, list[str]]:
    """Return the sample submission and the name of each target's column in it; a task's only target may have any name."""
    task = tasks[0]
    if not task.has_test:
        raise ValueError(
            f"{task.folder / 'task.toml'}: [files] names no test table, so there is nothing to submit; the result is out of "
            "fold: look at it with exp/compare.py"
        )
    path = task.path("sample_submission")
    sample = pd.DataFrame(read_rows(path))
    every, found = [target.column for target in task.targets], [column for column in sample if column != task.id_column]
    columns = [one.target_column for one in tasks]
    wanted = f"and, named as the targets in task.toml, {', '.join(map(repr, every))}"
    if len(every) == 1:
        columns, wanted = found[:1], "and one of predictions"
    if task.id_column not in sample or not found or sorted(found) != sorted(columns):
        all_of_them = "; leave out --target, a submission has all of them" if len(tasks) < len(every) else ""
        raise ValueError(f"{path}: expected the columns {task.id_column!r} {wanted}; found {list(sample)}{all_of_them}")
    ids = sample[task.id_column]
    if len(twice := ids[ids.duplicated()]):
        raise ValueError(f"{path}: {task.id_column!r} {twice.iloc[0]!r} is duplicated; take the competition's file")
    return sample, columns


def check_ids(path: Path, ids: list[str], part: Predictions) -> None:
    """Raise ValueError if the sample asks for other rows than the predicted ones, in any order."""
    predicted = set(part.test["id"])
    unknown, forgotten = [row_id for row_id in ids if row_id not in predicted], sorted(predicted - set(ids))
    if unknown or forgotten:
        raise ValueError(
            f"{path}: {len(unknown)} of its ids are missing in the test predictions of {part.name} {unknown[:5]}, and it lacks "
            f"{len(forgotten)} of theirs {forgotten[:5]}; take the competition's file, or train on its test table"
        )


def blend_parts(parts: list[Predictions], how: How, metric: MetricName) -> Blend:
    """Return the blend of parts with given weights or with those that a method fits."""
    target, oof = stack_oof(parts)
    check_targets(metric, parts[0].source / "oof.csv", parts[0].oof["id"].tolist(), target)
    if not isinstance(how, str):
        return fixed_blend(normalized_weights(how, len(parts)), oof)
    if how == "mean":  # needs no common folds
        return fixed_blend(np.full(len(parts), 1 / len(parts)), oof)
    return fit_blend(how, target, oof, shared_folds(parts), metric)


def write_intervals(out: Path, submission: pd.DataFrame, blended: Sequence[Blended], outputs: Path) -> str:
    """Write the submission with lower and upper bounds and the spread of each target next to it; return a summary.

    For classes these are calibrated probabilities and their bounds. outputs: where the crystals' coordinates are cached.
    """
    path, first = out.with_name(f"{out.stem}_with_uncertainty.csv"), blended[0].task
    every, several = list(submission[first.id_column]), len(blended) > 1
    table, texts = submission.copy(), []
    for one in blended:
        try:
            columns, text = one.probabilities() if first.of_classes else one.intervals(outputs)
        except ValueError as error:
            path.unlink(missing_ok=True)
            return f"no intervals: {error}"
        for name, values in columns.items():
            table[f"{one.column}_" * several + name] = one.complete(values, name, every)
        if one.unread is not None:
            table["remark"] = one.unread["remark"].reindex(every).fillna("").to_numpy()
        texts.append(f"{one.column}: " * several + text)
    write_csv(path, table)
    what = "the spread over folds and members and 90% intervals"
    if first.of_classes:
        what = "probabilities of the second class, calibrated ones and their bounds"
    return "\n".join([f"{shown(path)}: with {what}", *texts])


def parts_table(parts: list[Predictions], blend: Blend, task: Task) -> str:
    """Return a table of the parts, their weights with the spread over folds, and the blend's scores."""
    _, oof = stack_oof(parts)
    target, _, fold = oof_arrays(parts[0].oof)
    metric = METRICS[task.metric]
    title = f"OOF {metric.label(task.unit)}"
    lines = [f"{'experiment':<14} {'weight over folds':>17}  {title}  read from"]

    def line(name: str, weight: str, pred: Values, remark: str) -> str:
        return f"{name:<14} {weight:>17}  {oof_score(task.metric, target, pred, fold):{len(title)}.4f}  {remark}"

    for i, part in enumerate(parts):
        weight = f"{blend.weights[i]:.3f} ± {blend.fold_weights[:, i].std():.3f}"
        lines.append(line(part.name, weight, oof[:, i], str(shown(part.source))))
    if len(parts) == 1:
        return "\n".join(lines)
    if len(blend.fold_weights) == 1:
        return "\n".join([*lines, line("blend", "", blend.nested_pred, "the weights are given, nothing is fitted")])
    nested = f"each fold by weights fitted on the others{blend.logits_text}"
    naive = f"weights fitted on the rows they are scored on{', of logits' * blend.on_logits}"
    lines.append(line("blend, nested", "", blend.nested_pred, nested))
    lines.append(line("blend, naive", "", blend.naive_pred, naive))
    return "\n".join(lines)
