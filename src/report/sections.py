"""The report: one page on a task's data and its finished experiments, a function per section."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from src.config.catalogue import is_ensemble, question_and_parent, recipe_of, track_of
from src.data.crystal import N_ELEMENTS
from src.data.load import TaskData
from src.data.task import MetricName, Task
from src.features.geometry import SYSTEMS
from src.paths import shown
from src.report import figures
from src.report.audit import describe
from src.report.page import Cell, Section, html_table, note, page, periodic_table, pictures, scatter, tiles
from src.results.blend import Blend, fit_blend, fixed_blend, shared_folds, stack_oof
from src.results.comparison import STAR, chosen, error_correlation, gain_cells, leaderboard, score_cells, score_rows
from src.results.folder import oof_arrays
from src.results.intervals import calibrate
from src.results.metrics import METRICS, check_targets, decided, figures_of, oof_score, score_interval
from src.results.partial import Partial, partial_rows
from src.results.predictions import Predictions
from src.results.probabilities import calibrated_oof, calibration_text
from src.results.surroundings import Points, points_of
from src.storage.files import write_atomic
from src.storage.names import HISTORY

Values = NDArray[np.float64]
N_FEW = 5  # of the best experiments, which figures show
N_WORST = 30
N_POINTS = 5_000  # crystals whose predictions and symmetries are shown, the worst among them
CONFIDENCE_LEVELS = np.array([0.1, 0.3, 0.5, 0.7, 0.8, 0.9])
SIZES = {"≤2": 2, "3-4": 4, "5-8": 8, "9-12": 12, "13-16": 16, "17-20": 20, ">20": np.inf}  # atoms in the cell


def title_of(task: Task) -> str:
    """Return the title of a page: the task, the target, and its unit."""
    return f"{task.name}: {task.target_column} ({task.unit})"


def write_report(data: TaskData, numbers: Sequence[str], track: str, labels: pd.Series | None, out: Path | None) -> str:
    """Write the page on the experiments of these numbers or, if there are none, of the track, and return a summary.

    labels: id -> target of the test rows; None: no test scores. out: by default in the outputs of the task.
    """
    experiments, partial = chosen(numbers, track, data.task, data.outputs)
    sections, out = report_sections(data, experiments, labels, partial), out or data.folder / "report.html"
    html = page(title_of(data.task), sections).encode()
    write_atomic(out, html)
    return f"{shown(out)}: {len(html) / 1e6:.1f} MB, {len(experiments)} experiments"


def report_sections(
    data: TaskData, experiments: list[Predictions], labels: pd.Series | None = None, partial: Sequence[Partial] = ()
) -> list[Section]:
    """Return the sections of the page, the most important first. Figures show the few best experiments on the same rows."""
    task = data.task
    metric = METRICS[task.metric]
    check_targets(task.metric, task.path("train"), data.train.ids.tolist(), data.train.targets)
    losses = {one.name: metric.loss(*_scored(one, task.metric)) for one in experiments}
    experiments = sorted(experiments, key=lambda one: (-len(one.oof), losses[one.name]))
    best = experiments[0]
    few = [one for one in experiments if len(one.oof) == len(best.oof)][:N_FEW]
    singles = _alike([one for one in experiments if not is_ensemble(one.name)] or [best])
    points = None if task.of_classes else points_of(task, data.outputs, best)
    error = np.abs(best.oof["e_form_pred"] - best.oof["e_form"]).to_numpy()
    rows = pd.Index(data.train.ids).get_indexer(best.oof["id"])  # of the table
    some = chosen_crystals(error)
    described = describe(data.train, rows[some])
    weights, blend = blend_section(singles, task.metric, task.unit)
    scored = score_rows(experiments, labels, points, task.metric)
    if points is None:
        shown, calibration = class_section(few[0], task), reliability_section(blend, singles)
    else:
        shown = truth_section(described, few, some, error, task.unit)
        calibration = calibration_section(blend, singles, list(data.test.ids), points, task.unit)
    return [
        summary_section(data, experiments, scored),
        leaderboard_section(experiments, scored, partial, task),
        cost_section(scored, task),
        shown,
        worst_section(described, few, some, error, task.unit),
        element_section(data.train.crystals.element_counts[rows], error, best.name, task.unit),
        kind_section(described, error[some], best.name, task.unit),
        weights,
        calibration,
        *curves_sections(experiments),
        data_section(data),
    ]


def _scored(one: Predictions, metric: MetricName) -> tuple[Values, Values]:
    """Return the truth of an experiment's rows and the out-of-fold values that the metric scores."""
    target, pred, fold = oof_arrays(one.oof)
    return target, decided(metric, target, pred, fold)


def _alike(experiments: list[Predictions]) -> list[Predictions]:
    """Return the few best experiments with the same rows and folds as the first: those that can be blended."""
    fold = experiments[0].oof.set_index("id")["fold"]
    same = (one for one in experiments if fold.equals(one.oof.set_index("id")["fold"].reindex(fold.index)))
    return list(islice((one for one in same if len(one.oof) == len(fold)), N_FEW))


def chosen_crystals(error: Values) -> NDArray[np.int64]:
    """Return the crystals to show: all or, if there are many, the worst and a random choice. error: (n_crystals,), absolute."""
    rank = np.random.default_rng(0).permutation(len(error))
    rank[np.argsort(-error)[:N_WORST]] = -1
    return np.sort(np.argsort(rank, kind="stable")[:N_POINTS])


def summary_section(data: TaskData, experiments: list[Predictions], scored: list[dict]) -> Section:
    """Return the key figures."""
    best, task = experiments[0], data.task
    metric = METRICS[task.metric]
    truth, pred = best.oof[["e_form", "e_form_pred"]].to_numpy().T
    score, low, high = score_interval(task.metric, *_scored(best, task.metric))
    facts = {
        f"OOF {metric.label(task.unit)} of {best.name}, the best": brief(score),
        "its 95% interval over crystals": f"{brief(low)} – {brief(high)}",
    }
    if task.of_classes:
        facts |= {f"its {METRICS[name].text}": brief(scored[0][f"oof_{name}"]) for name in figures_of(task.metric)[1:]}
    else:
        facts[f"its median absolute error ({task.unit})"] = brief(float(np.median(np.abs(pred - truth))))
    if "test_mae" in scored[0]:
        facts[f"{metric.text} of {best.name} on the test set"] = brief(scored[0][f"test_{task.metric}"])
    facts |= {
        "experiments": f"{len(experiments)}",
        f"training crystals, {len(data.test.ids):,} test crystals": f"{len(data.train.ids):,}",
    }
    return "In short", tiles(facts)


def brief(value: float) -> str:
    """Return a number with three significant digits, or with all digits before the point if there are more."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def leaderboard_section(experiments: list[Predictions], scored: list[dict], partial: Sequence[Partial], task: Task) -> Section:
    """Return the scores of all experiments, one line each, with their difference from the best; then partial runs."""
    tracks = {row["experiment"]: track_of(row["experiment"]) for row in scored}
    best, several = experiments[0].name, len(set(tracks.values())) > 1
    difference = f"Δ{METRICS[task.metric].text}"
    cells: list[dict[str, Cell]] = []
    for row in scored:
        name = row["experiment"]
        whole, (gain, *rest) = row["difference"], gain_cells(row, best, task.metric).items()
        more = "\n".join(f"{column}: {text}" for column, text in (gain, *rest) if text)
        mark = " *" * gain[1].endswith("*")
        short = f"{whole.value:+.4f}{mark}" if whole else ""
        track = {"track": tracks[name]} if several else {}
        score, *others = score_cells(row, task.metric).items()
        about = {"what it is": recipe_of(name) or question_and_parent(name)[0], **track}
        cells.append(dict([("experiment", name), score, (difference, (short, more)), *about.items(), *others]))
    text = (
        f"Errors in {task.unit}; ± sd over folds; {difference} to {best}, {STAR}. Click a column to sort by it; hover over a "
        "cell, or tap it, for the whole text and the intervals."
    )
    ranks = note(leaderboard(scored, task.metric)) if "test_mae" in scored[0] and len(scored) > 2 else ""
    if partial:
        ranks += note(f"Partial runs: {METRICS[task.metric].text} on the rows of the folds that are finished.")
        ranks += html_table(partial_rows(partial, experiments[0], task.metric))
    return "Leaderboard", note(text) + html_table(cells, searchable=True) + ranks


def cost_section(scored: list[dict], task: Task) -> Section:
    """Return the picture of error against cost; a line joins the experiments that no other beats at their cost."""
    metric = METRICS[task.metric]
    score = np.array([row[f"oof_{task.metric}"] for row in scored])
    seconds = np.array([max(row["cpu_seconds"], 0.1) for row in scored])
    front: list[int] = []
    for i in np.lexsort((-score if metric.larger_is_better else score, seconds)):
        if not front or (score[i] > score[front[-1]] if metric.larger_is_better else score[i] < score[front[-1]]):
            front.append(int(i))
    names = [
        f"{row['experiment']}: {recipe_of(row['experiment']) or question_and_parent(row['experiment'])[0]}" for row in scored
    ]
    kinds = ["blend" if is_ensemble(row["experiment"]) else "single experiment" for row in scored]
    labels = ("CPU seconds of all folds", f"OOF {metric.label(task.unit)}")
    log = (True, bool((score > 0).all()) and not metric.larger_is_better)
    text = "Each point is an experiment: hover over it or tap it. The line joins those that nothing cheaper beats."
    if any(row["seconds_text"].startswith("≥") for row in scored):
        text += " Seconds of resumed runs and of GPUs are lower bounds."
    return "Error against cost", note(text) + scatter(seconds, {"": score}, names, labels, kinds, log, front=front)


def truth_section(described: pd.DataFrame, few: list[Predictions], some: NDArray[np.int64], error: Values, unit: str) -> Section:
    """Return the predictions of the best experiments against the truth. error: (n_crystals,), absolute, of the best one."""
    target, oof = stack_oof(few)
    worst = set(np.argsort(-error)[:N_WORST])
    kinds = [f"the {len(worst)} worst of {few[0].name}" if i in worst else "crystals" for i in some]
    names = (described["id"] + "\n" + described["formula"]).tolist()
    pred = {one.name: oof[some, k] for k, one in enumerate(few)}
    labels = (f"truth ({unit})", f"out-of-fold prediction ({unit})")
    text = "Out of fold. Hover over a point, or tap it, for the crystal and its error."
    if len(some) < len(error):
        text += f" Of {len(error):,} crystals the {N_WORST} worst and a random choice are shown, {len(some):,} in all."
    return "Predictions against truth", note(text) + scatter(target[some], pred, names, labels, kinds, square=True)


def class_section(best: Predictions, task: Task) -> Section:
    """Return the probabilities of the best experiment by class."""
    drawn = {"probabilities by class": figures.by_class(best.oof["e_form"], best.oof["e_form_pred"], task)}
    return "Probabilities by class", note(f"{best.name}, out of fold.") + pictures(drawn)


def reliability_section(blend: Blend, singles: list[Predictions]) -> Section:
    """Return how reliable the probabilities of the blend are, raw and calibrated."""
    target, _, fold = oof_arrays(singles[0].oof)
    pred = blend.nested_pred
    curves = {"as predicted": pred, "calibrated on the other folds": calibrated_oof(target, pred, fold)}
    text = (
        f"The blend, {calibration_text(target, pred, fold)}. The calibration error is the mean difference between probability "
        "and share of the second class; the bars are standard errors."
    )
    return "Calibration of the probabilities", note(text) + pictures({"reliability": figures.reliability_curves(target, curves)})


def worst_section(described: pd.DataFrame, few: list[Predictions], some: NDArray[np.int64], error: Values, unit: str) -> Section:
    """Return the crystals with the largest errors of the best experiment. error: (n_crystals,), absolute."""
    target, oof = stack_oof(few)
    rows = []
    for i in np.argsort(-error)[:N_WORST]:
        crystal = described.iloc[int(np.searchsorted(some, i))]
        row = {"id": crystal["id"], "formula": crystal["formula"]}
        if "crystal_system" in described:
            row["system (space group)"] = f"{crystal['crystal_system']} ({crystal['space_group']})"
        row |= {"atoms": str(crystal["n_atoms"]), "truth": f"{target[i]:.2f}"}
        rows.append(row | {one.name: f"{value:.2f}" for one, value in zip(few, oof[i], strict=True)})
    text = f"Largest out-of-fold errors of {few[0].name}: truth, and predictions of the best experiments, in {unit}."
    return f"The {len(rows)} worst crystals", note(text) + html_table(rows, searchable=True)


def element_section(element_counts: NDArray[Any], error: Values, name: str, unit: str) -> Section:
    """Return the MAE over the crystals with each element. element_counts: (n_crystals, N_ELEMENTS). error: absolute."""
    present = element_counts > 0
    counts = present.sum(axis=0)
    by_element = np.full(N_ELEMENTS, np.nan)
    by_element[counts > 0] = (present * error[:, None]).sum(axis=0)[counts > 0] / counts[counts > 0]
    low, high = np.nanmin(by_element), np.nanmax(by_element)
    text = (
        f"OOF MAE of {name} over the crystals with an element, {low:.3g} (light) to {high:.3g} {unit} (dark), and their number."
    )
    return "Error by element", note(text) + periodic_table(by_element, counts, unit)


def kind_section(described: pd.DataFrame, error: Values, name: str, unit: str) -> Section:
    """Return the MAE by number of elements, crystal system and size of the cell. error: (n_described,), absolute."""
    groups = {"elements": described["n_elements"].astype("category")}
    if "crystal_system" in described:  # formulas have neither
        groups["crystal system"] = pd.Series(pd.Categorical(described["crystal_system"], SYSTEMS))
        groups["atoms in the cell"] = pd.cut(described["n_atoms"], [0, *SIZES.values()], labels=list(SIZES))
    bars = {title: figures.error_by_group(error, group, title, unit) for title, group in groups.items()}
    return "Error by kind of crystal", note(f"{name}; line: standard error; in brackets: number of crystals.") + pictures(bars)


def blend_section(singles: list[Predictions], metric: MetricName, unit: str) -> tuple[Section, Blend]:
    """Return the weights and error correlations of the best experiments that are not ensembles, and their blend."""
    target, oof = stack_oof(singles)
    if len(singles) == 1:
        return ("Blend", note("One experiment: nothing to blend.")), fixed_blend(np.ones(1), oof)
    fold = shared_folds(singles)
    blend = fit_blend("weights", target, oof, fold, metric)
    nested, naive = (oof_score(metric, target, pred, fold) for pred in (blend.nested_pred, blend.naive_pred))
    title = f"OOF {METRICS[metric].label(unit)}"
    of_logits = " of their logits" * blend.on_logits
    text = (
        f"The {len(singles)} best that are no ensembles, with non-negative weights{of_logits} fitted out of fold: nested {title} "
        f"{nested:.4f}, naive {naive:.4f}. A blend gains most from good experiments whose errors correlate little:"
    )
    correlation = error_correlation(singles)
    rows = [
        {"experiment": name, "weight": f"{weight:.2f}"}
        | {other: f"{value:.2f}" for other, value in correlation.loc[name].items()}
        for name, weight in zip(correlation, blend.weights, strict=True)
    ]
    return ("Blend", note(text) + html_table(rows)), blend


def calibration_section(blend: Blend, singles: list[Predictions], ids: list[str], points: Points, unit: str) -> Section:
    """Return how often the intervals of the blend contain the truth, by level and by fold."""
    heading = "Calibration of the uncertainty"
    try:
        found = [calibrate(singles, blend, ids, points, level) for level in CONFIDENCE_LEVELS]
    except ValueError as error:  # too few rows
        return heading, note(f"No intervals: {error}.")
    text = "Intervals of the blend, each fold calibrated on the others."
    if ids:
        width = 2 * found[-1].half_width
        text += (
            f" On the test set the 90% intervals are {width.mean():.3f} {unit} wide on average, median {np.median(width):.3f}."
        )
    return heading, note(text) + pictures(figures.calibration(CONFIDENCE_LEVELS, found, unit))


def curves_sections(experiments: list[Predictions]) -> list[Section]:
    """Return the learning curves of the best few runs with histories of equal length in all folds, if there are any."""
    histories: dict[str, list[pd.DataFrame]] = {}
    for one in experiments:
        tables = [pd.read_csv(path) for path in sorted(one.source.glob(f"fold_*/{HISTORY}"))]
        if len({len(table) for table in tables}) == 1:
            histories[one.name] = tables
        if len(histories) == N_FEW:
            break
    if not histories:
        return []
    text = "Mean over folds and their range; one is the mean at the end. The best runs in outputs/: published ones have none."
    return [("Learning curves", note(text) + pictures({"learning curves": figures.learning_curves(histories)}))]


def data_section(data: TaskData) -> Section:
    """Return the size of the data set, its target and its elements."""
    element_counts = data.train.crystals.element_counts
    counts, n_atoms = (element_counts > 0).sum(axis=0), element_counts.sum(axis=1)
    frequency = np.where(counts > 0, counts, np.nan).astype(float)
    what = "cell" if data.train.crystals.has_structure else "formula"
    text = (
        f"{len(data.train.ids):,} training and {len(data.test.ids):,} test crystals, {np.isfinite(frequency).sum()} elements, "
        f"{n_atoms.min():.6g} to {n_atoms.max():.6g} atoms per {what}. "
    )
    left = ", and what remains of it after the linear regression on atom counts" * (not data.task.of_classes)
    text += f"The target as in the table{left}; then the training crystals with each element:"
    target = pictures({"target": figures.target(data, figures.ON_PAGE)})
    return "Data set", note(text) + target + periodic_table(frequency, counts, "training crystals")
