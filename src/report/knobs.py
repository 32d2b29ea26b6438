"""The picture of what mattered in a search."""

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt

from src.report.figures import DARK, SIZE


def importance(table: pd.DataFrame) -> plt.Figure:
    """Draw the importance of each knob. table: knob, importance."""
    figure, axis = plt.subplots(figsize=(SIZE[0], 0.22 * len(table) + 0.8), layout="constrained")
    rows = np.arange(len(table))[::-1]  # the first at the top
    axis.barh(rows, table["importance"], color=DARK)
    axis.set(xlabel="importance: how far the best finished trials differ from all (PED-ANOVA)", xlim=(0, None))
    axis.set_yticks(rows, table["knob"].str.removeprefix("learner."), fontsize=8)
    return figure
