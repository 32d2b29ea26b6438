"""Pictures of a task and of results. Every colour scale is monotone in lightness, so that it works in greyscale."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from src.config import TargetConfig
from src.data.load import TaskData
from src.data.target import TargetNormalizer
from src.data.task import Task
from src.paths import EXPERIMENTS
from src.report.page import png_of
from src.results import marked
from src.results.intervals import Intervals
from src.results.predictions import Predictions, find_predictions, is_default
from src.results.probabilities import reliability
from src.storage.files import write_atomic

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.colors import LogNorm
from matplotlib.ticker import FixedLocator, LogLocator

DARK, LIGHT = "#1f4e79", "#e08214"  # distinct in grey print too
SIZE, ON_PAGE = (8.0, 3.4), (5.4, 3.4)  # inches, at 150 dots per inch
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
        found = [find_predictions(number, data.task, data.outputs) for number in numbers]
        of_classes, oof = data.task.of_classes, found[0].oof
        drawn["oof"] = by_class(oof["e_form"], oof["e_form_pred"], data.task) if of_classes else parity(found, data.task.unit)
    for name, figure in drawn.items():
        write_atomic(folder / f"{name}.png", png_of(figure))
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


def _panel(size: tuple[float, float] = (3.5, 3.0)) -> tuple[plt.Figure, plt.Axes]:
    """Return an empty figure of the page."""
    figure, axis = plt.subplots(figsize=size, layout="constrained")
    axis.spines[["top", "right"]].set_visible(False)
    return figure, axis


def error_by_group(error: Values, group: pd.Series, title: str, unit: str) -> plt.Figure:
    """Draw the MAE and its standard error for each value of a grouping. group: categories of the crystals."""
    figure, axis = _panel()
    found = pd.Series(error).groupby(group.to_numpy(), observed=True).agg(["mean", "sem", "size"])
    found = found.reindex([value for value in group.cat.categories if value in found.index])
    error_bars = {"xerr": found["sem"].fillna(0), "ecolor": LIGHT, "error_kw": {"linewidth": 2}}
    axis.barh(range(len(found)), found["mean"], color=DARK, **error_bars)
    axis.set_yticks(range(len(found)), [f"{value} ({size})" for value, size in zip(found.index, found["size"], strict=True)])
    axis.invert_yaxis()
    axis.locator_params(axis="x", nbins=4)
    axis.set(title=title, xlabel=f"OOF MAE ({unit})")
    return figure


def calibration(levels: Values, found: Sequence[Intervals], unit: str) -> dict[str, plt.Figure]:
    """Draw the share of OOF rows inside intervals by level and by fold at the last one, and error by width. found: by level."""
    last, level = found[-1], f"{levels[-1]:.0%}"
    figures, axes = zip(*(_panel() for _ in range(3)), strict=True)
    axes[0].plot([0, 100], [0, 100], color="0.6", linewidth=1)
    axes[0].plot(100 * levels, [100 * one.oof_covered.mean() for one in found], "o-", color=DARK, markersize=4)
    axes[0].set(xlabel="level of the interval (%)", ylabel="OOF crystals inside (%)")
    n_folds = len(last.coverage)
    axes[1].bar(range(n_folds), 100 * last.coverage, color=DARK)
    axes[1].axhline(100 * levels[-1], color=LIGHT, linewidth=2)
    axes[1].set(xlabel="fold", ylabel=f"inside their {level} interval (%)", ylim=(50, 100), xticks=range(n_folds))
    if np.ptp(last.oof_half_width) > 0:
        bins = pd.qcut(last.oof_half_width, 8, duplicates="drop")
        means = pd.DataFrame({"width": last.oof_half_width, "error": last.oof_error}).groupby(bins, observed=True).mean()
        axes[2].plot(means["width"], means["error"], "o-", color=DARK, markersize=4)
    axes[2].set(xlabel=f"half width of the {level} interval ({unit})", ylabel=f"OOF MAE ({unit})", ylim=(0, None))
    return dict(zip(("inside by level", "inside by fold", "error by width"), figures, strict=True))


def by_class(target: ArrayLike, pred: ArrayLike, task: Task) -> plt.Figure:
    """Draw the distribution of out-of-fold probabilities, of each class by itself."""
    target, pred = np.asarray(target), np.asarray(pred)
    figure, axis = _panel(ON_PAGE)
    for value, color in ((0, LIGHT), (1, DARK)):
        own = pred[target == value]
        axis.hist(
            own, np.linspace(0, 1, 41).tolist(), color=color, alpha=0.75, label=f"{task.texts[value]}: {len(own):,} crystals"
        )
    axis.set(xlabel=f"out-of-fold probability of {task.texts[1]}", ylabel="training crystals")
    figure.legend(frameon=False, loc="outside upper left", ncols=2)
    return figure


def reliability_curves(target: Values, pred: Mapping[str, Values]) -> plt.Figure:
    """Draw the share of the second class against its mean probability, by bins of equally many rows. pred: by label."""
    figure, axis = _panel(ON_PAGE)
    axis.plot([0, 1], [0, 1], color="0.6", linewidth=1)
    for (label, values), color, line in zip(pred.items(), (LIGHT, DARK), LINES[:2], strict=True):
        mean, share, n = reliability(target, values).T
        error = np.sqrt(share * (1 - share) / n)
        axis.errorbar(mean, share, error, fmt=f"o{line}", color=color, markersize=4, linewidth=1.5, label=label)
    axis.set(xlabel="mean probability in a bin", ylabel="share of the second class", xlim=(0, 1), ylim=(0, 1))
    axis.legend(frameon=False, fontsize=8)
    return figure


def target(data: TaskData, size: tuple[float, float] = SIZE) -> plt.Figure:
    """Draw the distribution of the target and of its residual after the regression on atom counts; of classes, their rows."""
    target, counts = data.train.targets, data.train.crystals.element_counts
    if data.task.of_classes:
        figure, axis = _panel(size)
        axis.barh(data.task.texts, [(target == value).sum() for value in (0, 1)], color=DARK)
        axis.set(xlabel="training crystals", ylabel=data.task.target_column)
        return figure
    normalizer = TargetNormalizer.fit(counts, target, TargetConfig("residual"))
    residual = target - normalizer.baseline(counts)
    bins = np.linspace(min(target.min(), residual.min()), max(target.max(), residual.max()), 80).tolist()
    figure, axis = _panel(size)
    for values, color, label in ((target, LIGHT, "as in the table"), (residual, DARK, "residual of regression on atom counts")):
        axis.hist(values, bins, color=color, alpha=0.75, label=f"{label}: mean {values.mean():.2f}, sd {values.std():.2f}")
    axis.set_xlabel(f"{data.task.target_column} ({data.task.unit})")
    axis.set_ylabel("training crystals")
    figure.legend(frameon=False, loc="outside upper left")
    return figure


def learning_curves(histories: dict[str, list[pd.DataFrame]]) -> plt.Figure:
    """Draw the mean and range over folds of the scored fold's error, by its mean at the end, by the share of training done."""
    figure, axis = _panel(ON_PAGE)
    shades = plt.get_cmap(COLORS)(np.linspace(0, 0.85, len(histories)))
    for i, (name, tables) in enumerate(histories.items()):
        curves = np.stack([table["valid_mae"].to_numpy() for table in tables])
        curves /= curves[:, -1].mean()  # targets are scaled in different ways
        done = 100 * np.arange(1, curves.shape[1] + 1) / curves.shape[1]
        axis.fill_between(done, curves.min(axis=0), curves.max(axis=0), color=shades[i], alpha=0.15, linewidth=0)
        label = f"{name}, {tables[0].columns[0]}s to {tables[0].iloc[-1, 0]}"  # a number, or the name of a step
        axis.plot(done, curves.mean(axis=0), LINES[i % len(LINES)], color=shades[i], label=label)
    axis.set(yscale="log", xlabel="training done (%)", ylabel="error of the fold, by that at the end")
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_minor_formatter("")
    axis.legend(frameon=False, fontsize=8)
    return figure
