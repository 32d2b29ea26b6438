"""Pictures of a task and of its runs."""

from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd

from src.config import TargetConfig
from src.data.target import TargetNormalizer
from src.files import write_atomic
from src.runs.artifacts import Predictions
from src.runs.task_data import TaskData

matplotlib.use("Agg")
from matplotlib import pyplot as plt

DARK, LIGHT = "#1f4e79", "#e08214"  # apart in grey print too
SIZE = (8.0, 3.4)  # inches; 150 dots each


def draw_target(data: TaskData) -> plt.Figure:
    """Distribution of the target as in the table, and of what is left when the atom counts are accounted for."""
    e_form, counts = data.train.targets, data.train.crystals.element_counts
    normalizer = TargetNormalizer.fit(counts, e_form, TargetConfig("residual"))
    residual = e_form - normalizer.baseline(counts)
    bins = np.linspace(min(e_form.min(), residual.min()), max(e_form.max(), residual.max()), 80).tolist()
    figure, axis = plt.subplots(figsize=SIZE, layout="constrained")
    for values, color, label in (
        (e_form, LIGHT, "as in the table"),
        (residual, DARK, "residual of regression on atom counts"),
    ):
        axis.hist(values, bins, color=color, alpha=0.75, label=f"{label}: mean {values.mean():.2f}, sd {values.std():.2f}")
    axis.set_xlabel(f"formation energy ({data.task.unit})")
    axis.set_ylabel("training crystals")
    figure.legend(frameon=False, loc="outside upper left")
    return figure


def plot_target(data: TaskData, path: Path) -> None:
    """Writes the picture of `draw_target`."""
    _save(draw_target(data), path)


def plot_oof(members: list[Predictions], unit: str, path: Path) -> None:
    """Out-of-fold prediction against truth of each member."""
    figure, axes = plt.subplots(
        1, len(members), figsize=(3.4 * len(members), 4.2), layout="constrained", sharey=True, squeeze=False
    )
    for axis, member in zip(axes[0], members, strict=True):
        oof = member.oof
        limits = [oof["e_form"].min() - 0.2, oof["e_form"].max() + 0.2]
        axis.plot(limits, limits, color="0.6", linewidth=1, zorder=0)
        axis.scatter(oof["e_form"], oof["e_form_pred"], s=3, color=DARK, alpha=0.5, linewidths=0)
        mae = (oof["e_form"] - oof["e_form_pred"]).abs().mean()
        axis.set(title=f"{member.name}: OOF MAE {mae:.4f}", xlabel=f"truth ({unit})", aspect="equal")
    axes[0][0].set_ylabel(f"out-of-fold prediction ({unit})")
    _save(figure, path)


def plot_history(run: Path, path: Path) -> None:
    """Learning curves of the folds of a network: training loss and error of the fold, in units of the target's scale."""
    figure, axis = plt.subplots(figsize=SIZE, layout="constrained")
    for k, history in enumerate(sorted(run.glob("fold_*/history.csv"))):
        table = pd.read_csv(history)
        for column, color, label in (
            ("train_loss", LIGHT, "training loss"),
            ("valid_mae", DARK, "MAE of the fold, averaged"),
        ):
            axis.plot(table["epoch"], table[column], color=color, alpha=0.6, linewidth=1, label=label if k == 0 else None)
    axis.set(xlabel="epoch", ylabel="error (unitless residual)", yscale="log")
    axis.legend(frameon=False)
    _save(figure, path)


def plot_study(table: pd.DataFrame, unit: str, path: Path) -> None:
    """Error of each variant, best at the top, and its difference to the first with the 95% interval."""
    rows = table.sort_values("mae", ascending=False)
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(SIZE[0], 1.2 + 0.35 * len(rows)), layout="constrained", sharey=True, width_ratios=(1, 1)
    )
    left.barh(rows["variant"], rows["mae"], color=DARK, height=0.6)
    for i, mae in enumerate(rows["mae"]):
        left.text(mae, i, f" {mae:.4f}", va="center", fontsize=8)
    left.set(xlabel=f"MAE ({unit})", xlim=(0, rows["mae"].max() * 1.25))
    right.axvline(0, color="0.6", linewidth=1)
    reach = np.abs(rows[["low", "high"]].to_numpy().T - rows["delta"].to_numpy())
    right.errorbar(rows["delta"], np.arange(len(rows)), xerr=reach, fmt="o", color=DARK, ecolor=LIGHT, capsize=3)
    right.set_xlabel(f"difference to {table['variant'][0]} ({unit}), 95%")
    _save(figure, path)


def _save(figure: plt.Figure, path: Path) -> None:
    write_atomic(path, lambda temporary: figure.savefig(temporary, dpi=150))
    plt.close(figure)
