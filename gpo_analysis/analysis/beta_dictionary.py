"""The β dictionary: a β of one library, in another library's terms.

Within one f the conversion is exact: both losses are multiples of the same f(β_GPO ρ). Between two f it is that of
equal strength to leading order, β_a κ_a = β_b κ_b (:mod:`gpo_analysis.analysis.equivalence`), and says so. What β alone
cannot convert (token means against sums, label smoothing, the scale of the loss) is told beside the number.
"""

from __future__ import annotations

import difflib
from dataclasses import asdict, dataclass
from typing import Any

import sympy

from gpo_analysis.analysis.checks import positive
from gpo_analysis.analysis.conventions import BetaConvention, all_conventions
from gpo_analysis.analysis.equivalence import strength
from gpo_analysis.analysis.taylor import derivative_at_zero
from gpo_analysis.calculus.arithmetic import number
from gpo_analysis.losses import MarginLoss


@dataclass(frozen=True)
class BetaConversion:
    """A β in another convention, and what it leaves out.

    Attributes
    ----------
    value : float
        The β (or τ, or γ) of the target convention.
    source, target : str
        Names of the two conventions.
    source_value : float
        The β that was converted.
    gpo_beta : float
        The β of GPO's f(βρ), with the source's own f.
    exact : bool
        Whether the two objectives are the same up to the factor ``loss_scale``. False between two f (then to leading
        order in the margin) and between token means and sums.
    loss_scale : float
        What the target's loss, or its learning rate, has to be multiplied by to have the source's gradient at π = πref
        (at every π where ``exact``). Adam hardly notices it; SGD and gradient clipping do.
    notes : tuple of str
        What to beware of, in words.
    """

    value: float
    source: str
    target: str
    source_value: float
    gpo_beta: float
    exact: bool
    loss_scale: float
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return {**asdict(self), "notes": list(self.notes)}

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        how = "exactly" if self.exact else "not the same objective: see below"
        lines = [
            f"{self.source} {self.source_value:g}  →  {self.target} {self.value:.6g}   ({how})",
            f"GPO's β = {self.gpo_beta:.6g}; the target's loss times {self.loss_scale:.6g} has the source's gradient",
        ]
        return "\n".join([*lines, *(f"- {note}" for note in self.notes)])


def list_conventions() -> tuple[BetaConvention, ...]:
    """Every convention that :func:`convert_beta` knows, GPO's own first.

    Examples
    --------
    >>> from gpo_analysis.analysis import list_conventions
    >>> [item.objective for item in list_conventions() if item.name == "trl:ipo"]
    ['(ρ − 1/(2β))² = (2βρ − 1)²/(4β²)']
    """
    return all_conventions()


def get_convention(name: str) -> BetaConvention:
    """The convention of that name or alias.

    Raises
    ------
    ValueError
        If there is none; the message has the nearest known name.
    """
    known = {alias: item for item in all_conventions() for alias in (item.name, *item.aliases)}
    key = name.strip().lower().replace(" ", "") if isinstance(name, str) else ""
    for candidate in (key, key.replace("_", "-"), key.replace("-", "_")):
        if candidate in known:
            return known[candidate]
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.4)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"unknown convention {name!r}{hint} (known: {', '.join(item.name for item in all_conventions())})")


def convert_beta(
    value: float,
    source: str = "trl:ipo",
    target: str = "gpo:ipo",
    *,
    label_smoothing: float = 0.0,
    tokens: float | None = None,
) -> BetaConversion:
    """Convert a regularization strength between the conventions of libraries and papers.

    Parameters
    ----------
    value : float
        Positive: the β (or τ, or γ) of ``source``.
    source, target : str
        Such as "trl:ipo", "openrlhf:dpo", "ipo-paper:tau", "gpo:squared"; :func:`list_conventions` has them all.
    label_smoothing : float, optional
        The ε that the source is run with; the target is taken without (EXO with its default).
    tokens : float, optional
        Length of a response in tokens. Between a convention on token means and one on sums, β is divided (or
        multiplied) by it, which is exact only where all responses have that length; without it the formulas are
        converted as they stand and ρ differs.

    Returns
    -------
    BetaConversion

    Raises
    ------
    ValueError
        For an unknown name (with the nearest known one), a ``value`` or ``tokens`` that is not positive and finite,
        label smoothing that the source does not have, and, between two f, where κ is 0 or not defined (hinge, LRML).

    Examples
    --------
    >>> import gpo_analysis as gpo
    >>> gpo.convert_beta(0.1, source="openrlhf:ipo", target="gpo:ipo").value
    0.2
    >>> found = gpo.convert_beta(0.1, source="gpo:dpo", target="gpo:ipo")
    >>> found.value, found.exact
    (0.05, False)
    """
    value = positive(value)
    first, second = get_convention(source), get_convention(target)
    if isinstance(label_smoothing, bool) or not 0 <= label_smoothing < 0.5:
        raise ValueError(f"label_smoothing must be in [0, 1/2), got {label_smoothing!r}")
    f, g = first.margin_loss(label_smoothing), second.margin_loss()
    beta = first.to_gpo(value)
    notes = [note for note in dict.fromkeys((first.note, second.note)) if note]
    same = f.expression == g.expression
    matched = beta
    if not same:
        ratio = strength(f) / strength(g)
        matched = float(sympy.Float(beta, 30) * ratio)
        notes.append(
            f"{f.name} and {g.name} are different losses: equal strength βκ to leading order in the margin, with "
            f"κ = {_short(strength(f))} and {_short(strength(g))}; they part where margins are large or labels few"
        )
    exact = same
    if first.ratio != second.ratio:
        exact = False
        if tokens is None:
            notes.append(
                f"{first.name} takes ρ over token {first.ratio}, {second.name} over token {second.ratio}: the formulas "
                "agree, ρ does not; for responses of T tokens give tokens=T"
            )
        else:
            length = positive(tokens, "tokens")
            matched = matched / length if first.ratio == "means" else matched * length
            notes.append(
                f"sums taken as {length:g} times the means: exact only if every response has {length:g} tokens"
            )
    elif tokens is not None:
        positive(tokens, "tokens")
    found = second.from_gpo(matched)
    scale = _gradient(first, value, f, beta) / _gradient(second, found, g, matched)
    if first.ratio != second.ratio and tokens is not None:
        scale *= float(tokens) ** (-1 if first.ratio == "means" else 1)
    if abs(scale - 1) > 1e-12:
        notes.append(
            f"the source's loss has {scale:.6g} times the target's gradient at π = πref: scale the learning rate"
        )
    return BetaConversion(found, first.name, second.name, value, beta, exact, scale, tuple(notes))


def _gradient(convention: BetaConvention, value: float, f: MarginLoss, beta: float) -> float:
    """|d loss/dρ| at ρ = 0."""
    slope = derivative_at_zero(f, 1)
    size = 1.0 if slope is sympy.nan or slope == 0 else abs(float(number(slope)))
    return convention.loss_scale(value) * size * beta


def _short(kappa: sympy.Expr) -> str:
    return str(kappa) if kappa.is_Rational else f"{float(kappa):.4g}"
