"""The losses that an experiment compares: groups of the paper's, others that are typed, and claims about some of them.

A field ``losses`` of a configuration may hold any loss f(z). What an experiment says of the paper's losses is then said
of those of them that are there (`rows_of`), a claim that speaks of one that is not there is not run (`stated`), and a
loss that it cannot take is refused at once (`accepted`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable
from typing import Any

import pandas as pd

from experiments.framework import Check
from gpo_analysis.losses import PAPER_LOSSES, get_loss, list_losses, refuse_repeated
from gpo_analysis.losses.lookup import get_margin_loss
from gpo_analysis.losses.shape import convexity
from gpo_analysis.training.polygonal import has_jump

_STRAIGHT = "losses: {} has κ = 0; accepted are losses with κ > 0"
CURVED = tuple(name for name in PAPER_LOSSES if get_loss(name).curvature_ratio > 0)
"""Those with κ > 0, which a strength βκ puts on one scale: all but hinge."""


def accepted(
    losses: Iterable[str],
    *,
    slope: bool = True,
    strength: bool = False,
    flow: bool = False,
    known: bool = False,
    curvature: bool | Collection[str] = False,
) -> tuple[str, ...]:
    """The losses by their names of the catalogue where they have one, or why an experiment cannot take one of them.

    Parameters
    ----------
    losses : iterable of str
        Names or expressions in z.
    slope : bool
        Whether f′(0) < 0 is needed: margins that grow from πref on.
    strength : bool
        Whether κ ≥ 0 is needed: a β by the strength βκ (by β itself where κ = 0).
    flow : bool
        Whether f′ must not jump: a gradient flow; hinge, for which these experiments have a part or a stand-in of its
        own, is taken all the same.
    known : bool
        Whether a solver must be able to tell the global minimum: convex losses, and those of the paper.
    curvature : bool or collection of str
        Whether κ > 0 is needed, of hinge too; or of all but these losses.

    Raises
    ------
    ValueError
        For a loss that is named twice, or cannot be taken.

    Examples
    --------
    >>> accepted(["dpo", "log(cosh(1-z))"], strength=True)
    ('logistic', 'log(cosh(1-z))')
    >>> accepted(["z**2"])
    Traceback (most recent call last):
        ...
    ValueError: losses: z**2 has f′(0) = 0; accepted are losses with f′(0) < 0, whose margins grow
    """
    found: list[str] = []
    for text in losses:
        f = get_margin_loss(text)
        name = f.name if f.name in CATALOGUE else text
        found.append(name)
        exempt = () if isinstance(curvature, bool) else curvature
        if name in PAPER_LOSSES:
            if curvature and name not in exempt and name not in CURVED:
                raise ValueError(_STRAIGHT.format(text))
            continue
        if slope and not f.falls_at_zero:
            raise ValueError(
                f"losses: {text} has f′(0) = {float(f.derivative(0.0)):g}; accepted are losses with f′(0) < 0, whose "
                "margins grow"
            )
        if strength:
            try:
                f.beta_of(1.0)
            except ValueError as error:
                raise ValueError(f"losses: {error}; accepted are losses with κ ≥ 0, which are set by βκ") from None
        if curvature and float(f.derivative(0.0, 2)) == 0:
            raise ValueError(_STRAIGHT.format(text))
        if flow and has_jump(f):
            raise ValueError(f"losses: f′ of {text} jumps; accepted are losses that a flow can follow, and hinge")
        if known and not convexity(f).is_convex:
            raise ValueError(f"losses: {text} is not known to be convex; accepted are convex losses and savage")
    refuse_repeated(found)
    return tuple(found)


def accepted_beside(base: str, losses: Iterable[str], why: str, **needs: bool) -> tuple[str, ...]:
    """`accepted` losses among which there must be one that the others are set against.

    Examples
    --------
    >>> accepted_beside("logistic", ["exp(-z)"], "ranks are set against its ranks")
    Traceback (most recent call last):
        ...
    ValueError: losses: logistic is not among exp(-z); accepted are losses with it, as ranks are set against its ranks
    """
    found = accepted(losses, **needs)
    if base not in found:
        raise ValueError(f"losses: {base} is not among {', '.join(found)}; accepted are losses with it, as {why}")
    return found


def curved(losses: Iterable[str]) -> tuple[str, ...]:
    """Those with κ > 0.

    Examples
    --------
    >>> curved(["hinge", "squared", "exp(-z)"])
    ('squared', 'exp(-z)')
    """
    return tuple(name for name in losses if get_loss(name).curvature_ratio > 0)


def those(losses: Collection[str], named: Iterable[str]) -> tuple[str, ...]:
    """Of the named losses those that are there, in the order of ``named``."""
    return tuple(name for name in named if name in losses)


def rows_of(table: pd.DataFrame, named: Collection[str] = PAPER_LOSSES) -> pd.DataFrame:
    """The rows of the named losses, and those of no loss."""
    return table[table["loss"].isin(list(named)) | table["loss"].isna() | (table["loss"] == "")]


def stated(
    losses: Collection[str],
    claim: str,
    made: Callable[[str], Check] | None = None,
    *,
    of: Iterable[str] = (),
    some: Iterable[str] = (),
    least: int = 1,
) -> Check:
    """A claim about particular losses: computed where they are there, else not run, with the reason.

    Parameters
    ----------
    losses : collection of str
        Those of the configuration.
    claim : str
    made : callable or None
        The check of the claim; None where it is known that they are not there.
    of : iterable of str
        Losses of which all are needed.
    some : iterable of str
        Losses of which ``least`` are needed.

    Examples
    --------
    >>> check = stated(["logistic"], "κ", lambda claim: Check.equal(claim, 1.0, 1.0, 0.0), of=["squared"])
    >>> check.verdict, check.note
    ('not run', 'squared is not among the losses of this run')
    """
    some = tuple(some)
    if missing := [name for name in of if name not in losses]:
        verb = "is" if len(missing) == 1 else "are"
        return Check.not_run(claim, "as in the preset", f"{', '.join(missing)} {verb} not among the losses of this run")
    if some and len(those(losses, some)) < least:
        many = "fewer than two" if least == 2 else "none"
        return Check.not_run(claim, "as in the preset", f"{many} of {', '.join(some)} among the losses of this run")
    assert made is not None, claim
    return made(claim)


def only_those_of_the_paper(losses: Collection[str], claim: str) -> list[Check]:
    """Where none of the paper's losses is there, what an experiment claims as not run; else nothing."""
    if those(losses, PAPER_LOSSES):
        return []
    why = "its claims are about the paper's losses, of which this run has none"
    return [Check.not_run(claim, "as in the preset", why)]


def each_of(claim: str, parts: dict[str, Check], *, note: str = "") -> Check:
    """`Check.each`; not run where the run has none of the losses that the claim speaks of."""
    if not parts:
        return Check.not_run(claim, "as in the preset", "no loss that it speaks of is among the losses of this run")
    return Check.each(claim, parts, note=note)


def of_the_preset(summary: Callable[[Any, pd.DataFrame], str]) -> Callable[[Any, pd.DataFrame], str]:
    """A summary that speaks of the losses of the presets: of these alone, and only where all of them are there."""

    @functools.wraps(summary)
    def over(config: Any, table: pd.DataFrame) -> str:
        usual = type(config)().losses
        typed = [name for name in config.losses if name not in usual]
        if missing := [name for name in usual if name not in config.losses]:
            return (
                f"Losses of this run: {', '.join(config.losses)}. What is summed up of the losses of the preset is "
                f"left out, as {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not among them."
            )
        return summary(config, table if config.losses == usual else table[~table["loss"].isin(typed)])

    return over


def one_claim(checks: Iterable[Check], losses: Iterable[str] = ()) -> list[Check]:
    """The same checks, those of several losses as one claim with a table.

    Parameters
    ----------
    checks : iterable of Check
        What stands before the first colon and names a loss (``squared``, or ``squared, 100 pairs``) tells the parts of
        a claim apart.
    losses : iterable of str
        Those of the run, where it may have typed ones.

    Examples
    --------
    >>> found = one_claim([Check.equal(f"{name}: f(0)", 1.0, 1.0, 0.0) for name in ("squared", "hinge")])
    >>> [check.claim for check in found], [name for name, _ in found[0].parts]
    (['f(0)'], ['squared', 'hinge'])
    """
    claims: dict[str, dict[str, Check]] = {}
    typed = [name for name in losses if name not in NAMED]
    for check in checks:
        own = next((name for name in typed if check.claim.startswith((f"{name}: ", f"{name}, "))), "")
        part, _, rest = check.claim[len(own) :].partition(": ")
        part = own + part
        named = rest and (own or any(word in NAMED for word in part.split(", ")))
        claims.setdefault(rest if named else check.claim, {})[part if named else ""] = check
    return [
        next(iter(parts.values())) if len(parts) == 1 else Check.each(claim, parts) for claim, parts in claims.items()
    ]


NAMED = (*PAPER_LOSSES, "cell")
"""Losses by whose names parts of a claim are told apart, beside those of a run."""
CATALOGUE = frozenset(list_losses())
