"""A loss by what a person writes for it: a name of the catalogue or an expression in z.

The one way from a text to a loss: the command line, the language models and `GPOTrainer` use it.
"""

from __future__ import annotations

import re
from functools import lru_cache

from gpo_analysis.losses.catalogue import get_loss
from gpo_analysis.losses.margin_loss import MarginLoss
from gpo_analysis.losses.parse import parse_loss


@lru_cache(maxsize=256)
def find_loss(text: str) -> MarginLoss:
    """Return the loss of a name or of an expression in z.

    Parameters
    ----------
    text : str
        Such as ``"savage"`` or ``"log(1+exp(-z))"``.

    Raises
    ------
    ValueError
        Where it is neither, saying why.

    Examples
    --------
    >>> find_loss("ipo").name, find_loss("(1-z)**2").name
    ('squared', '(1-z)**2')
    """
    try:
        return get_loss(text)
    except ValueError as unknown:
        if re.fullmatch(r"[A-Za-z][\w -]*", text) and not re.search(r"(?<![A-Za-z])z(?![A-Za-z])", text):
            raise ValueError(f"{unknown}; or an expression in z") from None
        try:
            return parse_loss(text)
        except ValueError as error:
            raise ValueError(f"loss {text!r} is neither a name ({unknown}) nor an expression ({error})") from None
