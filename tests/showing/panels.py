"""A chart on axes of its own."""

from __future__ import annotations

import matplotlib.pyplot as plt

from gpo_analysis.showing.charts import Panel
from gpo_analysis.showing.draw import draw


def drawn(panel: Panel) -> plt.Axes:
    return draw(panel, plt.subplots()[1])
