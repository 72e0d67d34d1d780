"""The β dictionary: a β of one library, in another library's terms.

Within one f the conversion is exact: both losses are multiples of the same f(β_GPO ρ). Between two f it is that of
equal strength to leading order, β_a κ_a = β_b κ_b (:mod:`gpo_analysis.analysis.equivalence`), and says so. What β alone
cannot convert (token means against sums, label smoothing, the scale of the loss) is told beside the number.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import sympy

from gpo_analysis.analysis.checks import positive
from gpo_analysis.analysis.convention_rows import all_conventions, convention_named, own_convention
from gpo_analysis.analysis.conventions import BetaConvention
from gpo_analysis.analysis.equivalence import equivalent_beta, strength
from gpo_analysis.analysis.taylor import derivative_at_zero
from gpo_analysis.calculus.arithmetic import number
from gpo_analysis.convention_names import find_convention
from gpo_analysis.losses import Loss, MarginLoss, TwoRatioLoss, parse_loss
from gpo_analysis.losses.exo import EXO_EPSILON
from gpo_analysis.showing import Shown


@dataclass(frozen=True)
class BetaConversion(Shown):
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
        Whether the responses' length T in tokens is part of the answer and was not given: the β is then
        ``value`` · T^``length_power``, and the factor of the losses ``loss_scale`` · T^``scale_length_power``.
    length_power, scale_length_power : int
        Those powers of T; 0 where ``needs_tokens`` is False.
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
    length_power: int = 0
    scale_length_power: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return {**asdict(self), "notes": list(self.notes)}

    def __float__(self) -> float:
        return self.value

    def summary(self) -> str:
        """As text."""
        how = "exactly" if self.exact else "not the same objective: see below"
        if self.needs_tokens:
            how = "for responses of T tokens; how the two differ: see below"
        value = f"{self.value:.6g}{_power_of_length(self.length_power)}"
        scale = f"{self.loss_scale:.6g}{_power_of_length(self.scale_length_power)}"
        lines = [
            f"{self.source} {self.source_value:g}  →  {self.target} {value}   ({how})",
            f"GPO's β = {self.gpo_beta:.6g}; the target's loss times {scale} has the source's gradient",
        ]
        return "\n".join([*lines, *(f"- {note}" for note in self.notes)])

    __str__ = summary

    _no_plot = "it is one number"


def _power_of_length(power: int) -> str:
    return {0: "", 1: " × T", -1: " / T"}.get(power, f" × T^{power}")


def list_conventions() -> tuple[BetaConvention, ...]:
    """Every convention that :func:`convert_beta` knows, GPO's own first.

    Examples
    --------
    >>> from gpo_analysis.analysis import list_conventions
    >>> [item.objective for item in list_conventions() if item.name == "trl:ipo"]
    ['(ρ − 1/(2β))² = (2βρ − 1)²/(4β²)']
    """
    return all_conventions()


def get_convention(name: str | Loss) -> BetaConvention:
    """The convention of that name or alias; GPO's own for a loss of the catalogue, its alias, or an expression in z.

    Parameters
    ----------
    name : str, MarginLoss or TwoRatioLoss
        Such as "trl:ipo", "ipo" (GPO's own f(βρ)) or "log(cosh(1-z))".

    Raises
    ------
    ValueError
        If there is none; the message has the nearest known name. For an expression, what is wrong with it.

    Examples
    --------
    >>> get_convention("dpo").name, get_convention("trl:dpo").name, get_convention("log(cosh(1-z))").objective
    ('gpo:logistic', 'trl:sigmoid', 'log(cosh(βρ - 1))')
    """
    if isinstance(name, MarginLoss | TwoRatioLoss):
        return own_convention(name)
    found = find_convention(name)
    return own_convention(parse_loss(name)) if found is None else convention_named(found)


def convert_beta(
    value: float,
    source: str | Loss = "trl:ipo",
    target: str | Loss = "gpo:ipo",
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
    source, target : str, MarginLoss or TwoRatioLoss
        Such as "trl:ipo", "openrlhf:dpo", "ipo-paper:tau", "gpo:squared"; :func:`list_conventions` has them all. A
        loss, its name or an expression in z stands for GPO's own f(βρ).
    label_smoothing : float, optional
        The ε that the source is run with (no effect where the library ignores it, which a note says); the target is
        taken without (EXO with the 1e-3 of its paper).
    tokens : float, optional
        Length of a response in tokens. Between a convention on token means and one on sums, β is divided (or
        multiplied) by it, which is exact only where all responses have that length. Without it the length T stays in
        the answer: β is ``value`` · T^``length_power``.
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
    f, g = _of_margin(first.pair_loss(label_smoothing)), _of_margin(second.pair_loss())
    same = f.expression == g.expression
    notes = [note for note in dict.fromkeys((first.note, second.note)) if note]
    notes += _smoothing_notes(first, second, label_smoothing)
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
        notes.append(
            f"{first.name} takes ρ over token {first.ratio}, {second.name} over token {second.ratio}: for responses "
            "that all have T tokens the one is T times the other; give tokens=T (gpo beta: --tokens T) for the number"
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
    exact = same and not unlike and not _unsaid(first, second, label_smoothing)
    power = (-1 if first.ratio == "means" else 1) if unlike and length is None else 0
    of_value, of_scale = _length_powers(second, power)
    if abs(scale - 1) > 1e-12 or of_scale:
        notes.append(
            f"the source's loss has {held[2]:.6g}{_power_of_length(of_scale)} times the target's gradient at π = πref: "
            "scale the learning rate"
        )
    return BetaConversion(
        held[0], first.name, second.name, value, held[1], exact, held[2], tuple(notes), power != 0,
        of_value, of_scale,
    )  # fmt: skip


def _length_powers(second: BetaConvention, power: int) -> tuple[int, int]:
    """The powers of the length in the target's value and in the factor of the losses; its β in GPO's terms has `power`.

    The factor is the source's gradient, whose ρ is T^power times the target's, over second.scale · v^q · |f′| · β.
    """
    of_value = power // (second.power or 1)
    return of_value, -second.scale_power * of_value


def _of_margin(loss: Loss) -> Loss:
    """The f of a loss of two log-ratios that is an f(a − b)."""
    return (loss.margin_loss or loss) if isinstance(loss, TwoRatioLoss) else loss


def _ratio(f: Loss, g: Loss, eta: float | None) -> sympy.Expr:
    """What β has to be multiplied by between two f."""
    return strength(f) / strength(g) if eta is None else sympy.Float(equivalent_beta(1.0, f, g, eta=eta), 30)


def _between(f: Loss, g: Loss, eta: float | None) -> str:
    if eta is not None:
        return (
            f"{f.name} and {g.name} are different losses: equal fitted log-ratios for pairs with η = {eta:g}, and for "
            "those alone"
        )
    said = (
        f"{f.name} and {g.name} are different losses: equal strength βκ to leading order in the margin, with "
        f"κ = {_short(strength(f))} and {_short(strength(g))}; they part where margins are large or labels few"
    )
    two = [loss.name for loss in (f, g) if isinstance(loss, TwoRatioLoss)]
    alone = f"; {' and '.join(two)} takes two log-ratios: κ is that of one pair, see gpo analyze" if two else ""
    return said + alone


_NAMED = ("robust", "exo")
"""The smoothings whose ε belongs to the objective: without its name two of them cannot be called the same."""


def _unsaid(first: BetaConvention, second: BetaConvention, label_smoothing: float | None) -> bool:
    """Whether an ε matters that nobody has named: that of robust DPO and of EXO, which have no use without one."""
    return (first.smoothing in _NAMED and label_smoothing is None) or (
        second.smoothing in _NAMED and second.name != first.name
    )


def _smoothing_notes(first: BetaConvention, second: BetaConvention, label_smoothing: float | None) -> list[str]:
    notes = []
    if first.smoothing == "ignored" and label_smoothing:
        notes.append(
            f"{first.name} accepts label_smoothing = {label_smoothing:g} and ignores it: what is trained is the loss "
            "without"
        )
    if first.smoothing in _NAMED and label_smoothing is None:
        taken = "0: with ε its β counts (1 − 2ε) times" if first.smoothing == "robust" else f"{EXO_EPSILON:g}"
        notes.append(
            f"the ε of {first.name} is left unsaid and taken as {taken}; give label_smoothing=ε (gpo beta: "
            "--label-smoothing ε)"
        )
    if second.smoothing == "robust":
        notes.append(f"{second.name} is taken at ε = 0: with ε its β has to be divided by 1 − 2ε")
    if second.smoothing == "exo":
        notes.append(f"{second.name} is taken at ε = {EXO_EPSILON:g}: its κ is 1/logit(1−ε)")
    return notes


def _gradient(convention: BetaConvention, value: sympy.Expr, f: Loss, beta: sympy.Expr) -> sympy.Expr:
    """|d loss/dρ| at ρ = 0."""
    slope = derivative_at_zero(f.along_margin if isinstance(f, TwoRatioLoss) else f, 1)
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
