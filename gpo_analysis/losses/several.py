"""What is said of losses before they are fitted or trained: that two of them are one, that one of them rises."""

from __future__ import annotations

import itertools
import os
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from gpo_analysis.losses.batch_losses import BatchLoss
from gpo_analysis.losses.lookup import get_loss, get_losses
from gpo_analysis.losses.margin_loss import MarginLoss
from gpo_analysis.losses.two_ratio import Loss, TwoRatioLoss

_LIBRARY = str(Path(__file__).parents[1]) + os.sep
_POINTS = np.concatenate([np.linspace(-12.0, 12.0, 97), [-300.1, -29.3, 29.3, 300.1]])


class RisingLossWarning(UserWarning):
    """A loss that is to be fitted or trained does not fall at 0."""


def same_function(first: Loss | str, second: Loss | str) -> bool:
    """Whether two losses are one function, however they are named or written.

    They are where their expressions are equal, or where their values are, to 1e-9 relative or 1e-12, at a hundred
    points from −300 to 300 (of two log-ratios, of as many pairs of them): ``-log(sigmoid(z))`` is logistic. A loss of
    two log-ratios that is an f(a − b) counts as its f. A multiple of a loss is another loss.

    Parameters
    ----------
    first, second : MarginLoss, TwoRatioLoss or str

    Examples
    --------
    >>> same_function("dpo", "-log(sigmoid(z))"), same_function("dpo", "2*log(1+exp(-z))")
    (True, False)
    >>> same_function("log(1+exp(b-a))", "logistic"), same_function("bco_pair", "logistic")
    (True, False)
    """
    f, g = (_as_margin(get_loss(loss)) for loss in (first, second))
    if f.expression == g.expression:
        return True
    with np.errstate(all="ignore"):
        if isinstance(f, MarginLoss) and isinstance(g, MarginLoss):
            one, other = np.asarray(f(_POINTS)), np.asarray(g(_POINTS))
        elif isinstance(f, TwoRatioLoss) and isinstance(g, TwoRatioLoss):
            rejected = _POINTS[::-1] / 3 + 0.7
            one, other = np.asarray(f(_POINTS, rejected)), np.asarray(g(_POINTS, rejected))
        else:
            return False
    return bool(np.allclose(one, other, rtol=1e-9, atol=1e-12, equal_nan=True))


def _as_margin(loss: Loss) -> Loss:
    return (loss.margin_loss or loss) if isinstance(loss, TwoRatioLoss) else loss


def repeated(losses: Iterable[Loss | str]) -> tuple[str, str] | None:
    """The first two of several losses that are one function, as they are given; None where all differ.

    Examples
    --------
    >>> repeated(["dpo", "squared", "log(1+exp(-z))"]), repeated(["dpo", "squared"])
    (('dpo', 'log(1+exp(-z))'), None)
    """
    for one, other in itertools.combinations(losses, 2):
        if same_function(one, other):
            return _word(one), _word(other)
    return None


def refuse_repeated(losses: Iterable[Loss | str], name: str = "losses") -> None:
    """Raise ValueError where two of several losses are one function: what is computed of both would be the same.

    Examples
    --------
    >>> refuse_repeated(["dpo", "logistic"])
    Traceback (most recent call last):
    ...
    ValueError: losses: dpo and logistic are one function, f(z) = log(1 + exp(-z)); accepted is each once
    """
    losses = list(losses)
    twice = repeated(losses)
    if twice is None:
        return
    if twice[0] == twice[1]:
        raise ValueError(f"{name}: {twice[0]} is there twice; accepted is each once")
    raise ValueError(f"{name}: {' and '.join(twice)} are one function, {_formula(twice[0])}; accepted is each once")


def distinct_losses(losses: str | Loss | Iterable[str | Loss]) -> list[Loss]:
    """`get_losses` of losses with different names, by which rows and entries are told apart.

    One function under two names is let through: that a loss of one's own is logistic is seen where both are computed.

    Parameters
    ----------
    losses : str, MarginLoss or TwoRatioLoss, or several

    Raises
    ------
    ValueError
        As :func:`get_losses`, and where two have one name.

    Examples
    --------
    >>> [loss.name for loss in distinct_losses(["ipo", "slic", "-log(sigmoid(z))"])]
    ['squared', 'hinge', '-log(sigmoid(z))']
    >>> distinct_losses(["dpo", "logistic"])
    Traceback (most recent call last):
    ...
    ValueError: losses: logistic is there twice; accepted is each name once
    """
    found = get_losses(losses)
    names = [loss.name for loss in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"losses: {twice} is there twice; accepted is each name once")
    return found


def warn_of_rising(losses: Iterable[Loss | BatchLoss]) -> None:
    """A `RisingLossWarning` of each loss that does not fall at 0, before it is fitted or trained, once.

    It has the words of `MarginLoss.why_not_falling` and the line outside of the library that asked, so that a loop over
    β or problems says it once.

    Parameters
    ----------
    losses : iterable of MarginLoss, TwoRatioLoss or BatchLoss
    """
    said = {(loss.loss if isinstance(loss, BatchLoss) else loss).why_not_falling(): None for loss in losses}
    for words in filter(None, said):
        warnings.warn(words, RisingLossWarning, stacklevel=2 + _inside())


def _inside() -> int:
    """How many of the callers of the function that calls this are of the library."""
    frame, count = sys._getframe(2), 0
    while frame is not None and frame.f_code.co_filename.startswith(_LIBRARY):
        frame, count = frame.f_back, count + 1  # type: ignore[assignment]
    return count


def _word(loss: Loss | str) -> str:
    return loss if isinstance(loss, str) else loss.name


def _formula(loss: Loss | str) -> str:
    f = _as_margin(get_loss(loss))
    return f"{'f(z)' if isinstance(f, MarginLoss) else 'F(a, b)'} = {f.expression}"
