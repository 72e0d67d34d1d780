"""Groups of the paper's losses that several experiments compare."""

from __future__ import annotations

from collections.abc import Iterable

from experiments.framework import Check
from gpo_analysis.losses import PAPER_LOSSES, get_loss

CURVED = tuple(name for name in PAPER_LOSSES if get_loss(name).curvature_ratio > 0)
"""Those with κ > 0, which a strength βκ puts on one scale: all but hinge."""


def one_claim(checks: Iterable[Check]) -> list[Check]:
    """The same checks, those of several losses as one claim with a table.

    Parameters
    ----------
    checks : iterable of Check
        What stands before the first colon and names a loss (``squared``, or ``squared, 100 pairs``) tells the parts of
        a claim apart.

    Examples
    --------
    >>> found = one_claim([Check.equal(f"{name}: f(0)", 1.0, 1.0, 0.0) for name in ("squared", "hinge")])
    >>> [check.claim for check in found], [name for name, _ in found[0].parts]
    (['f(0)'], ['squared', 'hinge'])
    """
    claims: dict[str, dict[str, Check]] = {}
    for check in checks:
        part, _, rest = check.claim.partition(": ")
        named = rest and any(word in NAMED for word in part.split(", "))
        claims.setdefault(rest if named else check.claim, {})[part if named else ""] = check
    return [
        next(iter(parts.values())) if len(parts) == 1 else Check.each(claim, parts) for claim, parts in claims.items()
    ]


NAMED = (*PAPER_LOSSES, "cell")
"""Losses by whose names parts of a claim are told apart."""
