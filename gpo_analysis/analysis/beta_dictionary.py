"""The β dictionary: a β of one library, in another library's terms.

Within one f the conversion is exact: both losses are multiples of the same f(β_GPO ρ). Between two f it is that of
equal strength to leading order, β_a κ_a = β_b κ_b (:mod:`gpo_analysis.analysis.equivalence`), and says so. What β alone
cannot convert (token means against sums, label smoothing, the scale of the loss) is told beside the number.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import asdict, dataclass
from typing import Any

import sympy

from gpo_analysis.analysis.checks import positive
from gpo_analysis.analysis.conventions import BetaConvention, all_conventions
from gpo_analysis.analysis.equivalence import equivalent_beta, strength
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
    needs_tokens : bool
        Whether ``value`` is off by a factor of the responses' length, which was not given.
    """

    value: float
    source: str
    target: str
    source_value: float
    gpo_beta: float
    exact: bool
    loss_scale: float
    notes: tuple[str, ...] = ()
    needs_tokens: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return {**asdict(self), "notes": list(self.notes)}

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        how = "exactly" if self.exact else "not the same objective: see below"
        if self.needs_tokens:
            how = "off by a factor of the responses' length in tokens: see below"
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
    label_smoothing: float | None = None,
    tokens: float | None = None,
    eta: float | None = None,
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
        converted as they stand, ρ differs, and β is off by that factor.
    eta : float, optional
        Between two f: match the fitted log-ratios of pairs of this preference probability, instead of the strength βκ
        to leading order (:func:`gpo_analysis.analysis.equivalent_beta`). The only way where κ is 0 (hinge).

    Returns
    -------
    BetaConversion

    Raises
    ------
    ValueError
        For an unknown name (with the nearest known one), a ``value`` or ``tokens`` that is not positive and finite, an
        ``eta`` not in (0, 1), label smoothing that the source does not have, where a result is beyond what a float
        holds, and, between two f without ``eta``, where κ is 0 or not defined (hinge, LRML).

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
    epsilon = 0.0 if label_smoothing is None else label_smoothing
    if isinstance(epsilon, bool) or not isinstance(epsilon, int | float) or not 0 <= epsilon < 0.5:
        raise ValueError(f"label_smoothing must be in [0, 1/2), got {label_smoothing!r}")
    length = None if tokens is None else positive(tokens, "tokens")
    f, g = first.margin_loss(epsilon), second.margin_loss()
    same = f.expression == g.expression
    notes = [note for note in dict.fromkeys((first.note, second.note)) if note]
    notes += _robust_notes(first, second, label_smoothing)
    beta = first.exact_to_gpo(value)
    matched = beta
    if not same:
        matched = beta * _ratio(f, g, eta)
        notes.append(_between(f, g, eta))
    by_length = sympy.Integer(1)
    unlike = first.ratio != second.ratio
    if unlike and length is not None:
        by_length = sympy.Float(length, 30) ** (-1 if first.ratio == "means" else 1)
        notes.append(f"sums taken as {length:g} times the means: exact only if every response has {length:g} tokens")
    elif unlike:
        way = "divided by" if first.ratio == "means" else "multiplied by"
        notes.append(
            f"{first.name} takes ρ over token {first.ratio}, {second.name} over token {second.ratio}: the formulas "
            f"agree, ρ does not, and β is off by a factor of the responses' length: for responses of T tokens it has "
            f"to be {way} T; give tokens=T (gpo beta: --tokens T)"
        )
    found = second.exact_from_gpo(matched * by_length)
    scale = _gradient(first, sympy.Float(value, 30), f, beta) * by_length
    scale /= _gradient(second, found, g, matched * by_length)
    numbers = {
        f"{second.name}'s β": found,
        "GPO's β": beta,
        "the factor between the losses": scale,
    }
    held = [_held(name, number, value, first) for name, number in numbers.items()]
    if abs(scale - 1) > 1e-12:
        notes.append(
            f"the source's loss has {held[2]:.6g} times the target's gradient at π = πref: scale the learning rate"
        )
    exact = same and not unlike and not _unsaid(first, second, label_smoothing)
    return BetaConversion(
        held[0], first.name, second.name, value, held[1], exact, held[2], tuple(notes), unlike and length is None
    )


def _ratio(f: MarginLoss, g: MarginLoss, eta: float | None) -> sympy.Expr:
    """What β has to be multiplied by between two f."""
    return strength(f) / strength(g) if eta is None else sympy.Float(equivalent_beta(1.0, f, g, eta=eta), 30)


def _between(f: MarginLoss, g: MarginLoss, eta: float | None) -> str:
    if eta is not None:
        return (
            f"{f.name} and {g.name} are different losses: equal fitted log-ratios for pairs with η = {eta:g}, and for "
            "those alone"
        )
    return (
        f"{f.name} and {g.name} are different losses: equal strength βκ to leading order in the margin, with "
        f"κ = {_short(strength(f))} and {_short(strength(g))}; they part where margins are large or labels few"
    )


def _unsaid(first: BetaConvention, second: BetaConvention, label_smoothing: float | None) -> bool:
    """Whether an ε matters that nobody has named: that of robust DPO, which has no use without one."""
    return (first.smoothing == "robust" and label_smoothing is None) or (
        second.smoothing == "robust" and second.name != first.name
    )


def _robust_notes(first: BetaConvention, second: BetaConvention, label_smoothing: float | None) -> list[str]:
    notes = []
    if first.smoothing == "robust" and label_smoothing is None:
        notes.append(
            f"the ε of {first.name} is left unsaid and taken as 0: with ε its β counts (1 − 2ε) times; give "
            "label_smoothing=ε (gpo beta: --label-smoothing ε)"
        )
    if second.smoothing == "robust":
        notes.append(f"{second.name} is taken at ε = 0: with ε its β has to be divided by 1 − 2ε")
    return notes


def _gradient(convention: BetaConvention, value: sympy.Expr, f: MarginLoss, beta: sympy.Expr) -> sympy.Expr:
    """|d loss/dρ| at ρ = 0."""
    slope = derivative_at_zero(f, 1)
    size = sympy.Integer(1) if slope is sympy.nan or slope == 0 else abs(sympy.Float(number(slope), 30))
    return convention.exact_loss_scale(value) * size * beta


def _held(name: str, exact: sympy.Expr, value: float, source: BetaConvention) -> float:
    """The number as a float; an error where no float holds it."""
    held = float(exact)
    if not 0 < held < math.inf:
        raise ValueError(
            f"{name} would be {sympy.Float(exact, 4)}, which no float holds (accepted are results from 2.2e-308 to "
            f"1.8e308); got {value:g} of {source.name}"
        )
    return held


def _short(kappa: sympy.Expr) -> str:
    return str(kappa) if kappa.is_Rational else f"{float(kappa):.4g}"
