"""The explorer: change f, β, μ, πref and the preferences, and see what follows; in a browser, a notebook, or as tables.

``gpo explore`` serves it on this machine; :class:`Explorer` shows itself in a notebook. Both need the extra
``explore``. A :class:`State` is what stands in the fields: :func:`table` has its numbers, :func:`figure` the picture,
:func:`script` the Python that makes them; these three need no extra.
"""

from gpo_analysis.explore.drawing import figure
from gpo_analysis.explore.explorer import Explorer
from gpo_analysis.explore.fields import FieldError, faults
from gpo_analysis.explore.script import script
from gpo_analysis.explore.state import State
from gpo_analysis.explore.tables import notes, table

__all__ = ["Explorer", "FieldError", "State", "faults", "figure", "notes", "script", "table"]
