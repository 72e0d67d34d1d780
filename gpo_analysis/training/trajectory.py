"""What a training run leaves behind: its records, why it ended, and all it needs to go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gpo_analysis.arrays import FloatArray
from gpo_analysis.showing import Shown
from gpo_analysis.showing.charts import Panel, lines

if TYPE_CHECKING:
    import pandas as pd

_DRAWN = {"kl": "KL(π‖πref)", "mu_squared_loss": "½E[ρ²]"}


class TrainStatus(StrEnum):
    """How a training run ended."""

    FINISHED = "finished"
    RISING = "rising"
    DIVERGED = "diverged"
    FAILED = "failed"

    @property
    def stopped_early(self) -> bool:
        """Whether steps were left that could not be taken."""
        return self in (TrainStatus.DIVERGED, TrainStatus.FAILED)


@dataclass(frozen=True, eq=False)
class TrainState:
    """Where a run stands: with the settings it continues to the bit.

    Random draws need no state of their own: those of step k are numbers of the seed's stream at a place that k gives.

    Attributes
    ----------
    step : int
        Steps taken.
    parameters : array, shape (p,)
        Flat logits (p = m·n), or feature weights (p = d).
    moments : tuple of two arrays, shape (p,) each
        Adam's first and second moment; zeros for other optimisers.
    behavior_logits : array, shape (m·n,), or None
        Logits of the policy that pairs were last drawn from, where μ is refreshed.
    start_loss : float
        The loss at step 0.
    """

    step: int
    parameters: FloatArray
    moments: tuple[FloatArray, FloatArray]
    behavior_logits: FloatArray | None
    start_loss: float


@dataclass(frozen=True, eq=False)
class Trajectory(Shown):
    """A training run, record by record.

    Attributes
    ----------
    columns : dict of array, shape (t,) each
        ``step``, ``time`` (step × learning rate), ``loss`` (the whole objective, mini-batches or not), ``kl``
        (KL(π‖πref), nats), ``mu_squared_loss`` (½E[ρ²] over the pairs trained on), ``chosen_logp`` and
        ``rejected_logp`` (mean log π of winners and losers, nats), ``entropy`` (nats), ``max_margin`` (largest |βρ| of
        a pair with weight), ``gradient_norm`` (of the whole objective in the parameters). With contexts, means over
        them.
    status : TrainStatus
        "finished", "rising" (all steps taken, but the loss ended above its start), "diverged" (a gradient or parameter
        stopped being finite; the records end before) or "failed" (the flow's integrator gave up).
    reason : str
        What is to be said of it: after how many steps, from which loss to which.
    policies, logits, gradients : array, shape (t, n) or (t, m, n), or None
        At the recorded steps, where asked for by ``keep``. Gradients are of the whole objective in the logits.
    final_logits : array, shape (n,) or (m, n)
        At the last finite step.
    state : TrainState
        For ``train(..., resume=trajectory)``.
    settings : dict
        The settings of the run that a continuation must share.

    Examples
    --------
    >>> import gpo_analysis as gpo
    >>> problem = gpo.PreferenceProblem([[0.5, 0.8], [0.2, 0.5]])
    >>> run = gpo.train(problem, "dpo", 1.0, steps=200, learning_rate=1.0)
    >>> float(run.table["max_margin"].iloc[-1].round(4))  # logit 0.8
    1.3863
    """

    columns: dict[str, NDArray[Any]]
    status: TrainStatus
    reason: str
    policies: FloatArray | None
    logits: FloatArray | None
    gradients: FloatArray | None
    final_logits: FloatArray
    state: TrainState
    settings: dict[str, Any]

    @property
    def table(self) -> pd.DataFrame:
        """The records as a DataFrame, a row a recorded step."""
        import pandas as pd

        return pd.DataFrame(self.columns)

    @property
    def final_policy(self) -> FloatArray:
        """Policy at the last finite step, shape (n,) or (m, n)."""
        shifted = np.exp(self.final_logits - self.final_logits.max(axis=-1, keepdims=True))
        return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))

    @property
    def finished(self) -> bool:
        """Whether all steps were taken and the loss did not end above its start."""
        return self.status is TrainStatus.FINISHED

    def __len__(self) -> int:
        return len(self.columns["step"])

    def __repr__(self) -> str:
        return f"Trajectory({len(self)} records to step {self.state.step}, {self.status}: {self.reason})"

    def _facts(self) -> list[tuple[str, Any]]:
        return [("records", len(self)), ("steps", self.state.step), ("status", self.status), ("reason", self.reason)]

    def _columns(self) -> Mapping[str, Any]:
        return self.columns

    def _panel(self) -> Panel:
        parts = {label: self.columns[name] for name, label in _DRAWN.items() if name in self.columns}
        title = f"{self.settings['loss'].name} at β = {float(self.settings['beta']):.3g}: {self.status}"
        return lines(title, "step", "nats, nats²", self.columns["step"], parts)
