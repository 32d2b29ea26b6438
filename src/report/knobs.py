"""The picture of what mattered in a search."""

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt

from src.report.figures import DARK, LIGHT, SIZE

PANELS = {
    "fanova": ("spread of all finished trials (fANOVA)", DARK),
    "ped_anova": ("what sets the best apart (PED-ANOVA)", LIGHT),
}


def importance(table: pd.DataFrame) -> plt.Figure:
    """Draw the importance of each knob by both measures. table: knob, fanova, ped_anova."""
    figure, axes = plt.subplots(1, 2, figsize=(SIZE[0], 0.22 * len(table) + 1.0), layout="constrained", sharey=True)
    rows = np.arange(len(table))[::-1]  # the first at the top
    for axis, (column, (title, color)) in zip(axes, PANELS.items(), strict=True):
        axis.barh(rows, table[column], color=color)
        axis.set(title=title, xlabel="share", xlim=(0, None))
        axis.title.set_fontsize(9)
    axes[0].set_yticks(rows, table["knob"].str.removeprefix("learner."), fontsize=8)
    return figure
