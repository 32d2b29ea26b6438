"""Pictures of a task and of results. Every colour scale is monotone in lightness, so that it survives grey print."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pymatgen.core import Element

from src.config import TargetConfig
from src.data.crystal import N_ELEMENTS
from src.data.load import TaskData
from src.data.target import TargetNormalizer
from src.paths import EXPERIMENTS
from src.results import marked
from src.results.predictions import Predictions, find_predictions, is_default
from src.storage.files import to_bytes, write_atomic

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.colors import LogNorm
from matplotlib.ticker import FixedLocator

DARK, LIGHT = "#1f4e79", "#e08214"  # distinct in grey print too
SIZE = (8.0, 3.4)  # inches, at 150 dots per inch in a file
COLORS = "cividis"
LINES = ("-", "--", ":", "-.")
Values = NDArray[np.float64]


def draw(data: TaskData, numbers: Sequence[str]) -> list[Path]:
    """Draw the target, errors against costs and the predictions of finished experiments; return the files."""
    folder = (EXPERIMENTS if is_default(data.task) else data.folder) / "pictures"
    drawn = {"target": target(data)}
    if is_default(data.task):
        drawn["costs"] = costs(marked.costs())
    if numbers:
        drawn["oof"] = parity([find_predictions(number, data.task, data.outputs) for number in numbers], data.task.unit)
    for name, figure in drawn.items():
        save(figure, folder / f"{name}.png")
    return [folder / f"{name}.png" for name in drawn]


def parity(experiments: Sequence[Predictions], unit: str) -> plt.Figure:
    """Draw out-of-fold predictions against the truth, counting crystals in hexagons."""
    figure, axes = plt.subplots(
        1, len(experiments), figsize=(3.1 * len(experiments) + 0.6, 3.5), layout="constrained", squeeze=False
    )
    bins = None
    for axis, experiment in zip(axes[0], experiments, strict=True):
        oof = experiment.oof
        limits = (oof["e_form"].min() - 0.2, oof["e_form"].max() + 0.2)
        extent = (*limits, *limits)
        bins = axis.hexbin(
            oof["e_form"], oof["e_form_pred"], gridsize=45, extent=extent, mincnt=1, cmap="cividis_r", norm=LogNorm(1, 100)
        )
        axis.plot(limits, limits, color="0.5", linewidth=0.8, zorder=0)
        mae = (oof["e_form"] - oof["e_form_pred"]).abs().mean()
        axis.set(title=f"{experiment.name}: MAE {mae:.4f}", xlabel=f"truth ({unit})", xlim=limits, ylim=limits, aspect="equal")
    axes[0][0].set_ylabel(f"out-of-fold prediction ({unit})")
    if bins is not None:
        figure.colorbar(bins, ax=axes[0][-1], label="crystals", shrink=0.8)
    return figure


def costs(groups: Mapping[str, Mapping[str, tuple[float, float]]]) -> plt.Figure:
    """Draw out-of-fold errors against CPU seconds, on logarithmic axes. groups: group -> label -> seconds, eV/atom."""
    figure, axis = plt.subplots(figsize=(8.0, 4.8), layout="constrained")
    shades = plt.get_cmap(COLORS)(np.linspace(0, 0.85, len(groups)))
    for shade, marker, (group, points) in zip(shades, "os^D", groups.items(), strict=True):
        axis.plot(*zip(*points.values(), strict=True), marker, color=shade, markersize=7, label=group)
        for label, place in points.items():
            where = {"xytext": (0, -13), "ha": "center"} if marker == "s" else {"xytext": (3, 5)}  # two groups are close together
            axis.annotate(label, place, textcoords="offset points", fontsize=8, **where)
    axis.set(xscale="log", yscale="log", xlabel="CPU seconds of ten folds", ylabel="out-of-fold MAE (eV/atom)", xlim=(120, 3e4))
    axis.yaxis.set_major_locator(FixedLocator([0.06, 0.08, 0.10, 0.12, 0.14]))
    axis.yaxis.set_major_formatter("{x:.2f}")
    axis.yaxis.set_minor_formatter("")
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, fontsize=8)
    return figure


def error_by_group(error: Values, groups: dict[str, pd.Series], unit: str) -> plt.Figure:
    """Draw the MAE and its standard error for each value of each grouping. groups: title -> categories of the crystals."""
    widths = [max(4, group.nunique()) for group in groups.values()]
    figure, ((*axes,),) = plt.subplots(
        1, len(groups), figsize=(10.0, 3.4), layout="constrained", sharey=True, squeeze=False, width_ratios=widths
    )
    for axis, (title, group) in zip(axes, groups.items(), strict=True):
        found = pd.Series(error).groupby(group.to_numpy(), observed=True).agg(["mean", "sem", "size"])
        found = found.reindex([value for value in group.cat.categories if value in found.index])
        error_bars = {"yerr": found["sem"].fillna(0), "ecolor": LIGHT, "error_kw": {"linewidth": 2}}
        axis.bar(range(len(found)), found["mean"], color=DARK, **error_bars)
        labels = [f"{value}\n({size})" for value, size in zip(found.index, found["size"], strict=True)]
        axis.set_xticks(range(len(found)), labels, fontsize=7, rotation=45 if title == "crystal system" else 0)
        axis.set_title(title, fontsize=10)
    axes[0].set_ylabel(f"OOF MAE ({unit})")
    return figure


def correlation_matrix(correlation: pd.DataFrame) -> plt.Figure:
    """Draw the correlation of out-of-fold errors."""
    matrix, n = correlation.to_numpy(dtype=np.float64), len(correlation)
    figure, axis = plt.subplots(figsize=(0.62 * n + 2.2, 0.5 * n + 1.4), layout="constrained")
    lowest = min(0.5, float(matrix.min()))
    middle = (1 + lowest) / 2
    image = axis.imshow(matrix, cmap="cividis_r", vmin=lowest, vmax=1, aspect="auto")
    for i in range(n):
        for j in range(n):
            value = float(matrix[i, j])
            axis.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=8, color="white" if value > middle else "black")
    axis.set_xticks(range(n), correlation.columns, rotation=45, ha="right")
    axis.set_yticks(range(n), correlation.index)
    figure.colorbar(image, ax=axis, label="correlation of OOF errors")
    return figure


def calibration(levels: Values, covered: Values, by_fold: Values, half_width: Values, error: Values, unit: str) -> plt.Figure:
    """Draw the share of OOF rows inside intervals by level (left) and by fold at 90% (middle), and error by width (right)."""
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(10.0, 3.3), layout="constrained")
    left.plot([0, 100], [0, 100], color="0.6", linewidth=1)
    left.plot(100 * levels, 100 * covered, "o-", color=DARK, markersize=4)
    left.set(xlabel="level of the interval (%)", ylabel="OOF crystals inside (%)", aspect="equal")
    middle.bar(range(len(by_fold)), 100 * by_fold, color=DARK)
    middle.axhline(90, color=LIGHT, linewidth=2)
    middle.set(xlabel="fold", ylabel="inside their 90% interval (%)", ylim=(70, 100), xticks=range(len(by_fold)))
    if np.ptp(half_width) > 0:
        bins = pd.qcut(half_width, 8, duplicates="drop")
        means = pd.DataFrame({"width": half_width, "error": error}).groupby(bins, observed=True).mean()
        right.plot(means["width"], means["error"], "o-", color=DARK, markersize=4)
    right.set(xlabel=f"half width of the 90% interval ({unit})", ylabel=f"OOF MAE ({unit})", ylim=(0, None))
    return figure


def target(data: TaskData) -> plt.Figure:
    """Draw the distribution of the target and of its residual after the regression on atom counts."""
    target, counts = data.train.targets, data.train.crystals.element_counts
    normalizer = TargetNormalizer.fit(counts, target, TargetConfig("residual"))
    residual = target - normalizer.baseline(counts)
    bins = np.linspace(min(target.min(), residual.min()), max(target.max(), residual.max()), 80).tolist()
    figure, axis = plt.subplots(figsize=SIZE, layout="constrained")
    for values, color, label in ((target, LIGHT, "as in the table"), (residual, DARK, "residual of regression on atom counts")):
        axis.hist(values, bins, color=color, alpha=0.75, label=f"{label}: mean {values.mean():.2f}, sd {values.std():.2f}")
    axis.set_xlabel(f"{data.task.target_column} ({data.task.unit})")
    axis.set_ylabel("training crystals")
    figure.legend(frameon=False, loc="outside upper left")
    return figure


def periodic_table(values: Values, counts: NDArray[np.int64], label: str) -> plt.Figure:
    """Draw a periodic table with a colour per element that has a value; the number below a symbol counts crystals.

    values, counts: (N_ELEMENTS,); NaN for no value.
    """
    figure, axis = plt.subplots(figsize=(10.0, 5.2), layout="constrained")
    finite = values[np.isfinite(values)]
    norm = LogNorm(finite.min(), finite.max())
    scale = plt.cm.ScalarMappable(norm, "cividis_r")
    for z in range(1, min(N_ELEMENTS, 104)):
        element = Element.from_Z(z)
        x, y = (
            (element.group, element.row)
            if not (element.is_lanthanoid or element.is_actinoid)
            else (z - (57 if z < 72 else 89) + 3, 8.4 + (z > 88))
        )
        color = scale.to_rgba(values[z]) if np.isfinite(values[z]) else (1, 1, 1, 1)
        ink = "black" if np.dot(color[:3], (0.299, 0.587, 0.114)) > 0.5 else "white"
        axis.add_patch(plt.Rectangle((x - 0.47, -y - 0.47), 0.94, 0.94, facecolor=color, edgecolor="0.6", linewidth=0.5))
        if np.isfinite(values[z]):
            axis.text(x, -y + 0.17, element.symbol, ha="center", va="center", fontsize=9, color=ink, weight="bold")
            axis.text(x, -y - 0.22, str(counts[z]), ha="center", va="center", fontsize=6.5, color=ink)
        else:
            axis.text(x, -y, element.symbol, ha="center", va="center", fontsize=8, color="0.6")
    axis.set(xlim=(0.4, 18.6), ylim=(-10.0, -0.4), aspect="equal")
    axis.axis("off")
    figure.colorbar(scale, ax=axis, orientation="horizontal", shrink=0.5, aspect=40, pad=0.01, label=label)
    return figure


def learning_curves(histories: dict[str, list[pd.DataFrame]]) -> plt.Figure:
    """Draw the mean and range over folds of the scored fold's error by the share of training done."""
    figure, axis = plt.subplots(figsize=SIZE, layout="constrained")
    shades = plt.get_cmap(COLORS)(np.linspace(0, 0.85, len(histories)))
    for i, (name, tables) in enumerate(histories.items()):
        curves = np.stack([table["valid_mae"].to_numpy() for table in tables])
        done = 100 * np.arange(1, curves.shape[1] + 1) / curves.shape[1]
        axis.fill_between(done, curves.min(axis=0), curves.max(axis=0), color=shades[i], alpha=0.15, linewidth=0)
        label = f"{name}, {tables[0].columns[0]}s to {tables[0].iloc[-1, 0]:.0f}"
        axis.plot(done, curves.mean(axis=0), LINES[i % len(LINES)], color=shades[i], label=label)
    axis.set(yscale="log", xlabel="training done (%)", ylabel="MAE of the fold (target scale)")
    axis.yaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_minor_formatter("{x:.1g}")
    axis.legend(frameon=False, fontsize=8)
    return figure


def save(figure: plt.Figure, path: Path) -> None:
    """Write a figure as an image file and close it."""
    write_atomic(path, to_bytes(lambda file: figure.savefig(file, dpi=150, format=path.suffix.removeprefix("."))))
    plt.close(figure)
