"""How results show themselves: as text, as a table, in a notebook, as a chart; and how charts look.

Low in the order of imports, so that every result can inherit `Shown`; matplotlib and pandas are imported on use.
"""

from gpo_analysis.showing.charts import Cells, Curve, Panel
from gpo_analysis.showing.shown import Shown

__all__ = ["Cells", "Curve", "Panel", "Shown"]
