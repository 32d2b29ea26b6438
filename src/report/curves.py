"""Learning curves: of runs in outputs/ by the training done, and of studies by the number of training crystals."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from numpy.typing import NDArray

from src.report.figures import COLORS, DARK, LIGHT, LINES, SIZE
from src.storage.names import HISTORY

Values = NDArray[np.float64]


def read_histories(run: Path) -> list[pd.DataFrame]:
    """Read the history of every fold of a run; empty if there are none or their lengths differ."""
    tables = [pd.read_csv(path) for path in sorted(run.glob(f"fold_*/{HISTORY}"))]
    return tables if len({len(table) for table in tables}) == 1 else []


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


def training_curves(histories: list[pd.DataFrame]) -> plt.Figure:
    """Draw a network's training loss and error of the scored fold for each fold, in units of the target's scale."""
    figure, axis = plt.subplots(figsize=SIZE, layout="constrained")
    for k, table in enumerate(histories):
        for column, color, label in (("train_loss", LIGHT, "training loss"), ("valid_mae", DARK, "MAE of the fold, averaged")):
            axis.plot(table["epoch"], table[column], color=color, alpha=0.6, linewidth=1, label=label if k == 0 else None)
    axis.set(xlabel="epoch", ylabel="error (unitless residual)", yscale="log")
    axis.legend(frameon=False)
    return figure
