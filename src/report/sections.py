"""The report: one page on a task's data and its finished experiments, a function per section."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from src.config.catalogue import is_ensemble, question_and_parent, track_of
from src.data.crystal import N_ELEMENTS
from src.data.load import TaskData
from src.data.task import MetricName
from src.features.geometry import SYSTEMS
from src.paths import shown
from src.report import figures
from src.report.audit import describe
from src.report.page import Section, html_table, note, page, picture
from src.results.blend import Blend, fit_blend, fixed_blend, shared_folds, stack_oof
from src.results.comparison import STAR, error_correlation, gain_cells, leaderboard, score_cells, score_rows
from src.results.intervals import calibrate
from src.results.metrics import METRICS, check_targets
from src.results.predictions import Predictions
from src.results.surroundings import Points, points_of
from src.storage.files import write_atomic
from src.storage.names import HISTORY

Values = NDArray[np.float64]
N_PARITY, N_WORST, N_COLUMNS = 3, 30, 5
CONFIDENCE_LEVELS = np.array([0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95])


def write_report(data: TaskData, experiments: list[Predictions], labels: pd.Series | None, out: Path | None) -> str:
    """Write the page, by default to the outputs of the task, and return a summary; without test labels it has no test scores."""
    metric = METRICS[data.task.metric]
    check_targets(data.task.metric, data.task.path("train"), data.train.ids.tolist(), data.train.targets)
    experiments = sorted(experiments, key=lambda experiment: metric.loss(*experiment.oof[["e_form", "e_form_pred"]].to_numpy().T))
    described = describe(data.train)
    unit, best, points = data.task.unit, experiments[0], points_of(data.task, data.outputs, experiments[0])
    error = np.abs(best.oof["e_form_pred"] - best.oof["e_form"]).to_numpy()
    weights, blend, singles = blend_section(experiments, data.task.metric, unit)
    scatter = picture(figures.parity(experiments[:N_PARITY], unit), "parity")
    sections = [
        leaderboard_section(experiments, labels, points, unit, data.task.metric),
        ("Predictions against truth", note("Out of fold; the best experiments.") + scatter),
        element_section(data, error, best.name),
        kind_section(described, error, best.name, unit),
        worst_section(data, described, experiments, error),
        weights,
        calibration_section(blend, singles, list(data.test.ids), points, unit),
        curves_section(experiments),
        data_section(data, described),
    ]
    html, out = page(f"Formation energies: {data.task.label}", sections).encode(), out or data.folder / "report.html"
    write_atomic(out, html)
    return f"{shown(out)}: {len(html) / 1e6:.1f} MB, {len(experiments)} experiments"


def leaderboard_section(
    experiments: list[Predictions], labels: pd.Series | None, points: Points, unit: str, metric: MetricName
) -> Section:
    """Return the scores of all experiments, each with its question and track."""
    rows = score_rows(experiments, labels, points, metric)
    cells = []
    for row in rows:
        name = row["experiment"]
        about = {"experiment": name, "question": question_and_parent(name)[0], "track": track_of(name)}
        cells.append(about | score_cells(row, metric) | gain_cells(row, experiments[0].name, metric))
    text = f"Errors in {unit}; {STAR}. Click a column to sort."
    ranks = note(leaderboard(rows, metric)) if labels is not None and len(rows) > 2 else ""
    return "Leaderboard", note(text) + html_table(cells) + ranks


def data_section(data: TaskData, described: pd.DataFrame) -> Section:
    """Return the size of the data set, its target and its elements."""
    counts = (data.train.crystals.element_counts > 0).sum(axis=0)
    frequency = np.where(counts > 0, counts, np.nan).astype(float)
    what = "cell" if data.train.crystals.has_structure else "formula"
    text = (
        f"{len(data.train.ids)} training and {len(data.test.ids)} test crystals, {np.isfinite(frequency).sum()} elements, "
        f"{described['n_atoms'].min()} to {described['n_atoms'].max()} atoms per {what}. The target as in the table, and what "
        "remains of it after the linear regression on atom counts:"
    )
    target = picture(figures.target(data), "target before and after normalisation")
    elements = picture(figures.periodic_table(frequency, counts, "training crystals with the element"), "element counts")
    return "Data set", note(text) + target + elements


def element_section(data: TaskData, error: Values, name: str) -> Section:
    """Return the MAE over the crystals with each element. error: (n_crystals,), absolute."""
    present = data.train.crystals.element_counts > 0
    counts = present.sum(axis=0)
    by_element = np.full(N_ELEMENTS, np.nan)
    by_element[counts > 0] = (present * error[:, None]).sum(axis=0)[counts > 0] / counts[counts > 0]
    table = figures.periodic_table(by_element, counts, f"{name}: OOF MAE of crystals with the element ({data.task.unit})")
    return "Error by element", note("Small numbers count training crystals.") + picture(table, "error by element")


def kind_section(described: pd.DataFrame, error: Values, name: str, unit: str) -> Section:
    """Return the MAE by number of elements, crystal system and size of the cell. error: (n_crystals,), absolute."""
    sizes = ["≤2", "3-4", "5-8", "9-12", "13-16", "17-20", ">20"]
    groups = {"elements": described["n_elements"].astype("category")}
    if "crystal_system" in described:  # formulas have neither
        groups["crystal system"] = pd.Series(pd.Categorical(described["crystal_system"], SYSTEMS))
        groups["atoms in the cell"] = pd.cut(described["n_atoms"], [0, 2, 4, 8, 12, 16, 20, np.inf], labels=sizes)
    bars = picture(figures.error_by_group(error, groups, unit), "error by kind of crystal")
    return "Error by kind of crystal", note(f"{name}; line: standard error; in brackets: number of crystals.") + bars


def worst_section(data: TaskData, described: pd.DataFrame, experiments: list[Predictions], error: Values) -> Section:
    """Return the crystals with the largest errors of the best experiment. error: (n_crystals,), absolute."""
    target, oof = stack_oof(experiments)
    rows = []
    for i in np.argsort(-error)[:N_WORST]:
        crystal = described.iloc[i]
        row = {"id": crystal["id"], "formula": crystal["formula"]}
        if "crystal_system" in described:
            row["system (space group)"] = f"{crystal['crystal_system']} ({crystal['space_group']})"
        row |= {"atoms": str(crystal["n_atoms"]), "truth": f"{target[i]:.2f}"}
        row |= {one.name: f"{value:.2f}" for one, value in zip(experiments[:N_COLUMNS], oof[i], strict=False)}
        rows.append(row | {f"all {len(experiments)}": f"{oof[i].min():.2f} to {oof[i].max():.2f}"})
    text = (
        f"Largest out-of-fold errors of {experiments[0].name}: truth, predictions of the best experiments and the range of all "
        f"predictions in {data.task.unit}."
    )
    return f"The {len(rows)} worst crystals", note(text) + html_table(rows)


def blend_section(experiments: list[Predictions], metric: MetricName, unit: str) -> tuple[Section, Blend, list[Predictions]]:
    """Return weights and error correlations, the blend of all experiments that are not ensembles themselves, and these.

    If all are, the first stands for them.
    """
    singles = [experiment for experiment in experiments if not is_ensemble(experiment.name)] or experiments[:1]
    target, oof = stack_oof(singles)
    if len(singles) == 1:
        blend = fixed_blend(np.ones(1), oof)
        return ("Blend", note("One experiment: nothing to blend.")), blend, singles
    blend = fit_blend("weights", target, oof, shared_folds(singles), metric)
    nested, naive = (METRICS[metric](target, pred) for pred in (blend.nested_pred, blend.naive_pred))
    title = f"OOF {METRICS[metric].label(unit)}"
    shares = ", ".join(f"{one.name} {weight:.2f}" for one, weight in zip(singles, blend.weights, strict=True))
    text = f"Non-negative weights fitted out of fold ({shares}): nested {title} {nested:.4f}, naive {naive:.4f}."
    matrix = picture(figures.correlation_matrix(error_correlation(experiments)), "correlation of errors")
    return ("Blend", note(text) + matrix), blend, singles


def calibration_section(blend: Blend, singles: list[Predictions], ids: list[str], points: Points, unit: str) -> Section:
    """Return how often the intervals of the blend contain the truth, by level and by fold."""
    found = {level: calibrate(singles, blend, ids, points, level) for level in CONFIDENCE_LEVELS}
    covered = np.array([found[level].oof_covered.mean() for level in CONFIDENCE_LEVELS])
    at_90 = found[0.9]
    text = "Intervals of the blend, each fold calibrated on the others."
    if ids:
        text += (
            f" On the test set the 90% intervals are {2 * at_90.half_width.mean():.3f} {unit} wide on average, "
            f"{2 * np.median(at_90.half_width):.3f} in the median."
        )
    figure = figures.calibration(CONFIDENCE_LEVELS, covered, at_90.coverage, at_90.oof_half_width, at_90.oof_error, unit)
    return "Calibration of the uncertainty", note(text) + picture(figure, "calibration")


def curves_section(experiments: list[Predictions]) -> Section:
    """Return the learning curves of runs in outputs/."""
    histories = {experiment.name: tables for experiment in experiments if (tables := read_histories(experiment.source))}
    if not histories:
        return "Learning curves", note("No run in outputs/ has a history; published results have none.")
    text = "Mean over folds and their range, in units of the scale that the target is divided by; runs in outputs/ only."
    return "Learning curves", note(text) + picture(figures.learning_curves(histories), "learning curves")


def read_histories(run: Path) -> list[pd.DataFrame]:
    """Read the history of every fold of a run; empty if there are none or their lengths differ."""
    tables = [pd.read_csv(path) for path in sorted(run.glob(f"fold_*/{HISTORY}"))]
    return tables if len({len(table) for table in tables}) == 1 else []
