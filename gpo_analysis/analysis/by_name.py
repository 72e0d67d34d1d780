"""Answers about one loss: asked of it or of its name, computed once a process."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TypeVar

from gpo_analysis.losses import Loss, MarginLoss, get_margin_loss

Answer = TypeVar("Answer")


def by_name(function: Callable[[MarginLoss], Answer]) -> Callable[[str | Loss], Answer]:
    """Let a function of a loss take a name or a typed loss too, and keep its answers.

    Parameters
    ----------
    function : callable
        Of a `MarginLoss`, whose answers do not change.

    Returns
    -------
    callable
        Raises the ValueError of `gpo_analysis.losses.get_margin_loss` for what is no loss.

    Examples
    --------
    >>> from gpo_analysis.analysis import taylor_radius
    >>> taylor_radius("dpo"), taylor_radius("exp(-z)")
    (pi, oo)
    """
    kept = lru_cache(maxsize=512)(function)

    @wraps(function)
    def answer(loss: str | Loss) -> Answer:
        return kept(get_margin_loss(loss))

    return answer
