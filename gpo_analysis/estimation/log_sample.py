"""Of a log of very many losses so many as an audit needs: rounding, not their number, limits what they tell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gpo_analysis.arrays import FloatArray, IntArray
from gpo_analysis.estimation.identify import Pairs
from gpo_analysis.estimation.loss_log import Apart, LossLog

MOST = 4000
"""Losses that are fitted."""
MOST_ROWS = 16_000
"""Pairs behind them, where a loss is the mean of a step's."""
_LEAST = 200
_SEED = 0


def sample_of(log: LossLog, most: int = MOST) -> LossLog:
    """The log, or a part of it: half of it from the ends of margins and log-ratios, which tell most, half drawn.

    What is chosen by margins alone leaves what each loss is at its margin as it was. The same log gives the same part.

    Parameters
    ----------
    log : LossLog
    most : int
        Losses that are kept at most.

    Examples
    --------
    >>> from gpo_analysis.estimation.loss_log import loss_log
    >>> rho = np.linspace(-3.0, 3.0, 1000)
    >>> few = sample_of(loss_log({"margin": rho, "loss": np.exp(-rho)}), most=100)
    >>> len(few.loss), float(few.pairs.chosen.min()), float(few.pairs.chosen.max())
    (100, -3.0, 3.0)
    """
    count = len(log.loss)
    rows_each = len(log.group) / count
    kept = min(most, max(_LEAST, int(MOST_ROWS / rows_each)))
    if log.means or count <= kept:
        return log
    along = [log.pairs.rho(reduction) for reduction in log.pairs.reductions]
    along += [] if log.apart is None else [log.apart.chosen, log.apart.rejected]
    counts = np.bincount(log.group)
    end = max(1, kept // (4 * len(along)))
    chosen = np.zeros(count, dtype=bool)
    for values in along:
        order = np.argsort(np.bincount(log.group, values) / counts, kind="stable")
        chosen[order[:end]] = chosen[order[-end:]] = True
    rest = np.flatnonzero(~chosen)
    drawn = np.random.default_rng(_SEED).choice(rest, size=kept - int(chosen.sum()), replace=False)
    chosen[drawn] = True
    return _part(log, np.flatnonzero(chosen))


def _part(log: LossLog, groups: IntArray) -> LossLog:
    number = np.full(len(log.loss), -1)
    number[groups] = np.arange(len(groups))
    rows = np.flatnonzero(number[log.group] >= 0)

    def of(values: FloatArray | None) -> FloatArray | None:
        return None if values is None else values[rows]

    pairs, apart = log.pairs, log.apart
    return replace(
        log,
        pairs=Pairs(pairs.chosen[rows], pairs.rejected[rows], of(pairs.chosen_length), of(pairs.rejected_length)),
        noise=log.noise[rows],
        group=number[log.group[rows]],
        loss=log.loss[groups],
        loss_noise=log.loss_noise[groups],
        accuracy=of(log.accuracy),
        apart=None
        if apart is None
        else Apart(
            apart.chosen[rows], apart.rejected[rows], apart.chosen_noise[rows], apart.rejected_noise[rows],
            of(apart.policy), of(apart.policy_noise),
        ),
        label=of(log.label),
    )  # fmt: skip
