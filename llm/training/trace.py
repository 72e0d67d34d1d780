"""What training leaves: the trace of every step and cell, and how each cell ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from gpo_analysis.arrays import FloatArray
from llm.training.cells import SweepCell
from llm.training.stacked import Stack

if TYPE_CHECKING:
    import pandas as pd

#: What is kept of every step and cell, each a mean over the batch but for the norm of the gradient before clipping:
#: the loss, ρ, ½ρ², the share of pairs with |z| > 1, log π/πref of chosen and rejected.
TRACE = (
    "loss_value",
    "mean_rho",
    "mu_squared_loss",
    "beyond_one",
    "chosen_log_ratio",
    "rejected_log_ratio",
    "gradient_norm",
)

#: Status of a cell that was stopped, before the number of the step that would have been next.
NAN = "nan at step "


@dataclass(frozen=True, eq=False)
class StackResult:
    """A trained stack.

    Attributes
    ----------
    cells : tuple of SweepCell
        R cells.
    statuses : tuple of str
        For each "finished", or "nan at step k": stopped before step k, in which the loss, the gradient or the update
        was not finite; its parameters are those after step k − 1.
    trace : array, shape (steps, R, len(TRACE))
        NaN from where a cell was stopped on, but for the loss that stopped it.
    stack : Stack
        The parameters; ``stack.cell(i)`` is a cell's model.
    """

    cells: tuple[SweepCell, ...]
    statuses: tuple[str, ...]
    trace: FloatArray
    stack: Stack

    def table(self) -> pd.DataFrame:
        """Return the trace as a table with a row a step and cell."""
        return trace_table(self.cells, self.statuses, self.trace)


def trace_table(cells: Sequence[SweepCell], statuses: Sequence[str], trace: FloatArray) -> pd.DataFrame:
    """Return a trace (steps, R, len(TRACE)) as a table with a row a step and cell."""
    import pandas as pd

    named = [
        {**asdict(cell), "strength": cell.strength, "name": cell.name, "cell": cell.key, "status": status}
        for cell, status in zip(cells, statuses, strict=True)
    ]
    head = pd.DataFrame([{"step": step + 1, **row} for step in range(len(trace)) for row in named])
    return pd.concat([head, pd.DataFrame(trace.reshape(-1, len(TRACE)), columns=list(TRACE))], axis=1)


def stopped_before(status: str, step: int) -> bool:
    """Whether a cell of that status was stopped before ``step`` steps were done.

    Examples
    --------
    >>> stopped_before("nan at step 4", 4), stopped_before("nan at step 4", 3), stopped_before("finished", 9)
    (True, False, False)
    """
    return status.startswith(NAN) and int(status.removeprefix(NAN)) <= step
