"""Pictures of a task's crystals: the target and the periodic table."""

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.colors import LogNorm
from numpy.typing import NDArray
from pymatgen.core import Element

from src.config import TargetConfig
from src.data.crystal import N_ELEMENTS
from src.data.load import TaskData
from src.data.target import TargetNormalizer
from src.report.figures import DARK, LIGHT, SIZE, Values


def target(data: TaskData) -> plt.Figure:
    """Draw the distribution of the target and of its residual after the regression on atom counts."""
    e_form, counts = data.train.targets, data.train.crystals.element_counts
    normalizer = TargetNormalizer.fit(counts, e_form, TargetConfig("residual"))
    residual = e_form - normalizer.baseline(counts)
    bins = np.linspace(min(e_form.min(), residual.min()), max(e_form.max(), residual.max()), 80).tolist()
    figure, axis = plt.subplots(figsize=SIZE, layout="constrained")
    for values, color, label in ((e_form, LIGHT, "as in the table"), (residual, DARK, "residual of regression on atom counts")):
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
