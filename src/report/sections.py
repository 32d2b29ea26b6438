"""The report: one page on a task's data and its finished experiments, a function per section."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pymatgen.core import Element

from src.config.catalogue import is_ensemble, question_and_parent, track_of
from src.data.crystal import N_ELEMENTS
from src.data.load import TaskData
from src.data.task import MetricName
from src.features.geometry import SYSTEMS
from src.report import figures
from src.report.audit import describe
from src.report.page import Cell, Section, html_table, note, page, picture, structure_svg
from src.results.blend import Blend, fit_blend, fixed_blend, shared_folds, stack_oof, stack_test, stack_test_folds
from src.results.comparison import INTERVALS, STAR, error_correlation, leaderboard, score_rows
from src.results.difference import p_text
from src.results.intervals import calibrate
from src.results.metrics import METRICS, check_targets
from src.results.predictions import Predictions
from src.results.surroundings import Points, points_of
from src.storage.names import HISTORY

Values = NDArray[np.float64]
Present = NDArray[np.bool_]
Group = Callable[[Present, Values], Present]  # (n_crystals, N_ELEMENTS) and absolute errors (n_crystals,) -> the crystals in it
WORST = 0.05
N_HARDEST, RAREST = 5, 0.01  # elements to show, and the share of crystals that one must be in
N_PARITY, N_WORST, N_COLUMNS = 3, 30, 5
CONFIDENCE_LEVELS = np.array([0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95])


def report(data: TaskData, experiments: list[Predictions], labels: pd.Series | None) -> str:
    """Return the page's HTML; without test labels it has no test scores."""
    metric = METRICS[data.task.metric]
    check_targets(data.task.metric, data.task.path("train"), data.train.ids.tolist(), data.train.targets)
    experiments = sorted(experiments, key=lambda experiment: metric.loss(*experiment.oof[["e_form", "e_form_pred"]].to_numpy().T))
    described = describe(data.train)
    unit, best, points = data.task.unit, experiments[0], points_of(data.task, data.outputs, experiments[0])
    error = np.abs(best.oof["e_form_pred"] - best.oof["e_form"]).to_numpy()
    weights, blend, singles = blend_section(experiments, data.task.metric, unit)
    top = experiments[:N_PARITY]
    scatter = picture(figures.parity(top, unit), "parity") + picture(figures.error_distribution(experiments, unit), "errors")
    sections = [
        leaderboard_section(experiments, labels, points, unit, data.task.metric),
        ("Predictions against truth", note("Out of fold; the best experiments.") + scatter),
        element_section(data, error, best.name),
        kind_section(described, error, best.name, unit),
        errors_section(data, best, error, labels),
        worst_section(data, described, experiments, error),
        weights,
        calibration_section(blend, singles, list(data.test.ids), points, unit),
        curves_section(experiments),
        data_section(data, described),
    ]
    return page(f"Formation energies: {data.task.label}", sections)


def leaderboard_section(
    experiments: list[Predictions], labels: pd.Series | None, points: Points, unit: str, metric: MetricName
) -> Section:
    """Return the scores of all experiments, each with its question and track."""
    rows = score_rows(experiments, labels, points, metric)
    columns = {f"oof_{metric}": f"OOF {METRICS[metric].text}", f"fold_{metric}_sd": "sd over folds"}
    columns |= {"oof_mae": "OOF MAE", "oof_rmse": "OOF RMSE"}
    if labels is not None:
        columns |= {f"test_{metric}": f"test {METRICS[metric].text}", "test_mae": "test MAE", "test_rmse": "test RMSE"}
    cells = []
    for row in rows:
        difference, name = row["difference"], row["experiment"]
        numbers = [(f"{row[key]:.4f}", row[key]) for key in columns]
        numbers.append((row["seconds_text"], row["cpu_seconds"]))
        numbers.append((str(row["n_parameters"]), row["n_parameters"]))
        gain = (str(difference), difference.value) if difference else ("", float("nan"))
        holm = (p_text(row["p_holm"]), float("nan") if row["p_holm"] is None else row["p_holm"])
        cells.append([name, question_and_parent(name)[0], track_of(name), *numbers, gain, holm])
    delta = f"Δ{METRICS[metric].text} to {experiments[0].name} ({INTERVALS})"
    header = ["experiment", "question", "track", *columns.values(), "CPU s", "parameters", delta, f"Holm p of {len(rows) - 1}"]
    text = f"Errors in {unit}; {STAR}. Click a column to sort."
    ranks = note(leaderboard(rows, metric)) if labels is not None and len(rows) > 2 else ""
    return "Leaderboard", note(text) + html_table(header, cells, sortable=True) + ranks


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


def errors_section(data: TaskData, best: Predictions, error: Values, labels: pd.Series | None) -> Section:
    """Return the MAE of kinds of crystals and, with test labels, where the test error comes from.

    error: (n_crystals,), absolute, out of fold.
    """
    columns = [(data.train.crystals.element_counts > 0, error)]
    header = ["crystals", "number", "OOF MAE", "share of the error"]
    text = f"{best.name}, {data.task.unit}. Shown are the elements whose crystals add most to the mean error."
    if labels is not None:
        one, mean = errors_on_test(best, labels.reindex(data.test.ids))
        columns += [(data.test.crystals.element_counts > 0, own) for own in (one, mean)]
        header += ["test crystals", "MAE, one fold model", "share of the error", "MAE, mean of fold models", "share of the error"]
        text += (
            f" One fold model has an MAE of {one.mean():.4f} on the test set. Out-of-fold predictions are of one fold model too, "
            f"so {error.mean() - one.mean():+.4f} is due to which crystals are in the test set, and "
            f"{one.mean() - mean.mean():+.4f} to averaging the fold models."
        )
    rows = [error_row(name, group, columns) for name, group in groups(*columns[0]).items()]
    return "Where the error is", note(text) + html_table(header, rows)


def errors_on_test(experiment: Predictions, labels: pd.Series) -> tuple[Values, Values]:
    """Return the absolute test errors of a fold model, as their mean over folds, and of the mean of the fold models.

    labels: id -> target of the test rows. Both: (n_test,).
    """
    ids, truth = list(labels.index), labels.to_numpy()
    folds = stack_test_folds([experiment], ids, len(experiment.metrics["fold_maes"]))[:, :, 0]
    return np.abs(folds - truth[:, None]).mean(axis=1), np.abs(stack_test([experiment], ids)[:, 0] - truth)


def groups(present: Present, error: Values) -> dict[str, Group]:
    """Return the kinds of crystals to show; the elements among them are those that add most to this error."""
    added = np.where(present.mean(axis=0) >= RAREST, present.T @ (error - error.mean()), -np.inf)
    hardest = [int(z) for z in np.argsort(-added)[:N_HARDEST] if added[z] > 0]
    found: dict[str, Group] = {"all": _of_elements(0, present.shape[1])}
    found |= {f"the worst {WORST:.0%}": _worst, "all others": lambda present, error: ~_worst(present, error)}
    found |= {f"{n} element{'s' * (n > 1)}": _of_elements(n, n) for n in (1, 2, 3)}
    found["4 elements and more"] = _of_elements(4, present.shape[1])
    return found | {f"with {Element.from_Z(z).symbol}": _with_element(z) for z in hardest}


def _of_elements(low: int, high: int) -> Group:
    return lambda present, error: (present.sum(axis=1) >= low) & (present.sum(axis=1) <= high)


def _with_element(z: int) -> Group:
    return lambda present, error: present[:, z]


def _worst(present: Present, error: Values) -> Present:
    """Return which crystals have the largest errors, WORST of all."""
    rank = np.empty(len(error), dtype=np.int64)
    rank[np.argsort(-error, kind="stable")] = np.arange(len(error))
    return rank < round(WORST * len(error))


def error_row(name: str, group: Group, columns: list[tuple[Present, Values]]) -> list[Cell]:
    """Return the number, the MAE and the share of the error of one kind of crystals in each column.

    columns: elements present, (n_crystals, N_ELEMENTS), and absolute errors, (n_crystals,), out of fold, then on the test set.
    """
    cells: list[Cell] = [name]
    for i, (present, error) in enumerate(columns):
        own = group(present, error)
        mae, share = (float(error[own].mean()), float(error[own].sum() / error.sum())) if own.any() else (float("nan"), 0.0)
        number: list[Cell] = [(str(own.sum()), float(own.sum()))] if i < 2 else []
        cells += [*number, ("" if np.isnan(mae) else f"{mae:.4f}", mae), (f"{share:.1%}", share)]
    return cells


def worst_section(data: TaskData, described: pd.DataFrame, experiments: list[Predictions], error: Values) -> Section:
    """Return the crystals with the largest errors of the best experiment. error: (n_crystals,), absolute."""
    target, oof = stack_oof(experiments)
    rows, has_structure = [], "crystal_system" in described
    for i in np.argsort(-error)[:N_WORST]:
        crystal = described.iloc[i]
        about = [f"{crystal['crystal_system']} ({crystal['space_group']})"] if has_structure else []
        energies = [(f"{value:.2f}", float(value)) for value in (target[i], *oof[i, :N_COLUMNS])]
        span = (f"{oof[i].min():.2f} to {oof[i].max():.2f}", float(np.ptp(oof[i])))
        size = (str(crystal["n_atoms"]), float(crystal["n_atoms"]))
        drawing = [structure_svg(data.train.crystals[int(i)])] if has_structure else []
        rows.append([*drawing, crystal["id"], crystal["formula"], *about, size, *energies, span])
    header = [*(["structure"] if has_structure else []), "id", "formula"]
    header += [*(["system (space group)"] if has_structure else []), "atoms", "truth"]
    header += [*(experiment.name for experiment in experiments[:N_COLUMNS]), f"all {len(experiments)}"]
    text = (
        f"Largest out-of-fold errors of {experiments[0].name}: truth, predictions of the best experiments and the range of all "
        f"predictions in {data.task.unit}. Lighter atoms are more electronegative."
    )
    return f"The {len(rows)} worst crystals", note(text) + html_table(header, rows, sortable=True)


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
    text = f"Non-negative weights fitted out of fold: nested {title} {nested:.4f}, naive {naive:.4f}."
    weights = picture(figures.blend_weights([experiment.name for experiment in singles], blend.fold_weights), "blend weights")
    matrix = picture(figures.correlation_matrix(error_correlation(experiments)), "correlation of errors")
    return ("Blend", note(text) + weights + matrix), blend, singles


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
