"""A loss by what a person writes for it: a name of the catalogue or an expression in z.

The one way from a text to a loss: the command line, the language models and `GPOTrainer` use it.
"""

from __future__ import annotations

import re
from functools import lru_cache

from gpo_analysis.losses.lookup import get_loss, get_margin_loss
from gpo_analysis.losses.margin_loss import MarginLoss
from gpo_analysis.losses.parse import parse_loss
from gpo_analysis.losses.two_ratio import Loss


@lru_cache(maxsize=256)
def find_any_loss(text: str) -> Loss:
    """Return the loss of a name or of an expression, in z or in a and b.

    Parameters
    ----------
    text : str
        Such as ``"savage"``, ``"bco_pair"``, ``"log(1+exp(-z))"`` or ``"log(1+exp(-a)) + b**2"``.

    Raises
    ------
    ValueError
        Where it is neither, saying why.

    Examples
    --------
    >>> find_any_loss("bco").name, find_any_loss("(1-a)**2 + b**2").name
    ('bco_pair', '(1-a)**2 + b**2')
    """
    found: Loss
    try:
        found = get_loss(text)
    except ValueError as unknown:
        if re.fullmatch(r"[A-Za-z][\w -]*", text) and not re.search(r"(?<![A-Za-z_])[abz](?![A-Za-z_])", text):
            raise ValueError(f"{unknown}; or an expression in z, or in a and b") from None
        try:
            found = parse_loss(text)
        except ValueError as error:
            raise ValueError(f"loss {text!r} is neither a name ({unknown}) nor an expression ({error})") from None
    return found


def find_loss(text: str) -> MarginLoss:
    """Return the margin loss of a name or of an expression in z.

    Parameters
    ----------
    text : str
        Such as ``"savage"`` or ``"log(1+exp(-z))"``.

    Raises
    ------
    ValueError
        Where it is neither, or a loss of two log-ratios, saying why.

    Examples
    --------
    >>> find_loss("ipo").name, find_loss("(1-z)**2").name
    ('squared', '(1-z)**2')
    """
    return get_margin_loss(find_any_loss(text))
