"""Writes one HTML page about the finished experiments: it needs no network and no file beside itself.

python exp/report.py                 # all of the closed track that are finished -> outputs/flla/report.html
python exp/report.py --track open
python exp/report.py 001 010 012

Test scores stand in the leaderboard only with --score. Learning curves are of runs in outputs/: published results have none.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from exp.compare import chosen, leaderboard, read_labels
from src.command import one_message
from src.data.crystal import N_ELEMENTS
from src.data.describe import SYSTEMS, describe
from src.data.load import TaskData, load_task_data
from src.data.task import read_task
from src.paths import DEFAULT_TASK, OUTPUTS, shown
from src.report import figures
from src.report.page import html_table, note, page, picture, structure_svg
from src.results.blend import Blend, fit_blend, fixed_blend, shared_folds, stack_oof
from src.results.comparison import error_correlation, score_rows
from src.results.intervals import calibrate
from src.results.predictions import Predictions
from src.storage.files import write_atomic

N_PARITY, N_WORST = 3, 30
LEVELS = np.array([0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95])
Section = tuple[str, str]


def leaderboard_section(members: list[Predictions], labels: pd.Series | None) -> Section:
    rows = score_rows(members, labels)
    columns = {"oof_mae": "OOF MAE", "fold_mae_sd": "sd over folds", "oof_rmse": "OOF RMSE"}
    if labels is not None:
        columns |= {"test_mae": "test MAE", "test_rmse": "test RMSE"}
    columns |= {"cpu_seconds": "CPU s", "n_parameters": "parameters"}
    cells = []
    for row in rows:
        difference = row["difference"]
        numbers = [(f"{row[key]:.4f}" if key.endswith(("mae", "rmse", "sd")) else f"{row[key]:.0f}", row[key]) for key in columns]
        gain = (str(difference), difference.mae) if difference else ("", float("nan"))
        cells.append([row["experiment"], *numbers, gain])
    table = html_table(["experiment", *columns.values(), f"ΔMAE to {members[0].name} (95%)"], cells, sortable=True)
    text = "Errors in eV/atom; * the paired bootstrap interval over crystals excludes zero. Click a column to sort."
    ranks = note(leaderboard(rows)) if labels is not None and len(rows) > 2 else ""
    return "Leaderboard", note(text) + table + ranks


def data_section(data: TaskData, crystals: pd.DataFrame) -> Section:
    counts = (data.train.crystals.element_counts > 0).sum(axis=0)
    frequency = np.where(counts > 0, counts, np.nan).astype(float)
    text = (
        f"{len(data.train.ids)} training and {len(data.test.ids)} test crystals, {np.isfinite(frequency).sum()} elements, "
        f"{crystals['n_atoms'].min()} to {crystals['n_atoms'].max()} atoms a cell. The target as in the table, and what is left "
        "of it behind the linear regression on atom counts:"
    )
    target = picture(figures.target(data), "target before and after normalisation")
    elements = picture(figures.periodic_table(frequency, counts, "training crystals with the element"), "element counts")
    return "Data set", note(text) + target + elements


def error_sections(data: TaskData, crystals: pd.DataFrame, best: Predictions) -> list[Section]:
    unit = data.task.unit
    error = np.abs(best.oof["e_form_pred"] - best.oof["e_form"]).to_numpy()
    present = data.train.crystals.element_counts > 0
    counts = present.sum(axis=0)
    by_element = np.full(N_ELEMENTS, np.nan)
    by_element[counts > 0] = (present * error[:, None]).sum(axis=0)[counts > 0] / counts[counts > 0]
    sizes = pd.cut(
        crystals["n_atoms"], [0, 2, 4, 8, 12, 16, 20, np.inf], labels=["≤2", "3-4", "5-8", "9-12", "13-16", "17-20", ">20"]
    )
    groups = {
        "elements": crystals["n_elements"].astype("category"),
        "crystal system": pd.Categorical(crystals["crystal_system"], SYSTEMS),
        "atoms in the cell": sizes,
    }
    table = figures.periodic_table(by_element, counts, f"{best.name}: OOF MAE of crystals with the element ({unit})")
    bars = figures.error_by_group(error, {name: pd.Series(group) for name, group in groups.items()}, unit)
    return [
        ("Error by element", note("The small number is of training crystals.") + picture(table, "error by element")),
        (
            "Error by kind of crystal",
            note(f"{best.name}; line: standard error; in brackets: crystals.") + picture(bars, "error by kind of crystal"),
        ),
    ]


def worst_section(data: TaskData, crystals: pd.DataFrame, members: list[Predictions], best: Predictions) -> Section:
    e_form, oof = stack_oof(members)
    error = np.abs(best.oof["e_form_pred"] - best.oof["e_form"]).to_numpy()
    rows = []
    for i in np.argsort(-error)[:N_WORST]:
        crystal = crystals.iloc[i]
        about = f"{crystal['crystal_system']} ({crystal['space_group']})"
        models = [(f"{value:.2f}", float(value)) for value in oof[i]]
        size, truth = (str(crystal["n_atoms"]), float(crystal["n_atoms"])), (f"{e_form[i]:.2f}", float(e_form[i]))
        drawing = structure_svg(data.train.crystals[int(i)])
        rows.append([drawing, crystal["id"], crystal["formula"], about, size, truth, *models])
    header = ["structure", "id", "formula", "system (space group)", "atoms", "truth", *(member.name for member in members)]
    text = (
        f"Largest out-of-fold errors of {best.name}; truth and predictions in {data.task.unit}. "
        "Lighter atoms are more electronegative."
    )
    return f"The {len(rows)} worst crystals", note(text) + html_table(header, rows, sortable=True)


def blend_section(members: list[Predictions], metric: str) -> tuple[Section, Blend, list[Predictions]]:
    """Weights of all experiments that are not ensembles themselves, and how the blend is calibrated."""
    singles = [member for member in members if "spread" not in member.oof]
    e_form, oof = stack_oof(singles)
    if len(singles) == 1:
        blend = fixed_blend(np.ones(1), oof)
        return ("Blend", note("One experiment: nothing to blend.")), blend, singles
    blend = fit_blend("weights", e_form, oof, shared_folds(singles), metric)
    nested, naive = (np.abs(pred - e_form).mean() for pred in (blend.nested_pred, blend.naive_pred))
    text = f"Non-negative weights fitted out of fold: nested OOF MAE {nested:.4f}, naive {naive:.4f} eV/atom."
    weights = picture(figures.blend_weights([member.name for member in singles], blend.fold_weights), "blend weights")
    matrix = picture(figures.correlation_matrix(error_correlation(members)), "correlation of errors")
    return ("Blend", note(text) + weights + matrix), blend, singles


def calibration_section(blend: Blend, singles: list[Predictions], ids: list[str], unit: str) -> Section:
    error = np.abs(stack_oof(singles)[0] - blend.nested_pred)
    found = {level: calibrate(singles, blend, ids, level) for level in LEVELS}
    covered = np.array([(error <= found[level].oof_half_width).mean() for level in LEVELS])
    at_90 = found[0.9]
    text = (
        f"Intervals of the blend, each fold calibrated on the others. On the test set the 90% intervals are "
        f"{2 * at_90.half_width.mean():.3f} {unit} wide on average, {at_90.shrinkage:.2f} of what a fold model needs."
    )
    figure = figures.calibration(LEVELS, covered, at_90.coverage, at_90.oof_half_width, error, unit)
    return "Calibration of the uncertainty", note(text) + picture(figure, "calibration")


def curves_section(members: list[Predictions]) -> Section:
    histories = {member.name: tables for member in members if (tables := figures.read_histories(member.source))}
    if not histories:
        return "Learning curves", note("No run in outputs/ has a history; published results have none.")
    text = "Mean over folds and their range, in units of the scale that the target is divided by; of runs in outputs/ only."
    return "Learning curves", note(text) + picture(figures.learning_curves(histories), "learning curves")


def build(data: TaskData, members: list[Predictions], labels: pd.Series | None) -> str:
    """The page's HTML."""
    members = sorted(members, key=lambda member: member.metrics["oof_mae"])
    crystals = describe(data.train)
    unit, best = data.task.unit, members[0]
    weights, blend, singles = blend_section(members, data.task.metric)
    top = members[:N_PARITY]
    scatter = picture(figures.parity(top, unit), "parity") + picture(figures.error_distribution(members, unit), "errors")
    sections = [
        leaderboard_section(members, labels),
        ("Predictions against truth", note("Out of fold; the best experiments.") + scatter),
        *error_sections(data, crystals, best),
        worst_section(data, crystals, members, best),
        weights,
        calibration_section(blend, singles, list(data.test.ids), unit),
        curves_section(members),
        data_section(data, crystals),
    ]
    return page(f"Formation energies: {data.task.name}", sections)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("numbers", nargs="*", help="experiments (default: all that are finished)")
    parser.add_argument("--track", choices=("closed", "open"), default="closed", help="where no experiments are named")
    parser.add_argument("--score", action="store_true", help="add the test scores, from the task's test labels")
    parser.add_argument("--data", type=Path, default=DEFAULT_TASK, help="folder of the task (default: input/flla)")
    parser.add_argument("--outputs", type=Path, default=OUTPUTS, help="where runs are (default: outputs/)")
    parser.add_argument("--out", type=Path, help="file to write (default: outputs/<task>/report.html)")
    args = parser.parse_args(argv)
    with one_message("report"):
        task = read_task(args.data)
        members = chosen(args, task.name)
        data = load_task_data(args.data, args.outputs, skip_bad_rows=False, n_jobs=1)
        html = build(data, members, read_labels(task) if args.score else None)
        out = args.out or args.outputs / task.name / "report.html"
        write_atomic(out, html.encode())
    print(f"{shown(out)}: {len(html.encode()) / 1e6:.1f} MB, {len(members)} experiments")


if __name__ == "__main__":
    main()
