"""The losses of two log-ratios by name, each with its source and its parameters; and those that are not held here.

a = βh_w and b = βh_l, h = log π/πref. Where a library scales a loss, or has a β of its own in it, the caution says how.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache

import sympy

from gpo_analysis.loss_names import OF_TWO_RATIOS, normal_name, proper_names
from gpo_analysis.losses.margin_loss import Claims, exact_number, shown_number
from gpo_analysis.losses.two_ratio import CHOSEN, REJECTED, TwoRatioLoss

_REALS = sympy.Interval(-sympy.oo, sympy.oo)
_NOT_NEGATIVE = sympy.Interval(0, sympy.oo)
_POSITIVE = sympy.Interval.Lopen(0, sympy.oo)
_HALF = sympy.Rational(1, 2)


def _softplus(u: sympy.Expr) -> sympy.Expr:
    return sympy.log(1 + sympy.exp(u))


def _sigmoid(u: sympy.Expr) -> sympy.Expr:
    return 1 / (1 + sympy.exp(-u))


def nca_pair() -> TwoRatioLoss:
    """−log σ(a) − ½ log σ(−a) − ½ log σ(−b): noise contrastive alignment of a pair."""
    a, b = CHOSEN, REJECTED
    return TwoRatioLoss(
        "nca_pair",
        _softplus(-a) + _HALF * _softplus(a) + _HALF * _softplus(b),
        OF_TWO_RATIOS["nca_pair"],
        "Chen et al. 2024 (NCA), arXiv 2402.05369",
        Claims(True),
    )


def bco_pair(shift: float = 0.0) -> TwoRatioLoss:
    """−log σ(a − δ) − log σ(−(b − δ)): binary classifier optimization; TRL 1.16 has δ = 0.

    Parameters
    ----------
    shift : float
        δ, the reward shift, in units of a. BCO sets it to a running mean of the rewards a and b.
    """
    a, b, delta = CHOSEN, REJECTED, exact_number(shift, "shift", _REALS)
    return TwoRatioLoss(
        "bco_pair" if delta == 0 else f"bco_pair(shift={shown_number(delta)})",
        _softplus(-a + delta) + _softplus(b - delta),
        OF_TWO_RATIOS["bco_pair"] if delta == 0 else (),
        "Jung et al. 2024 (BCO), arXiv 2404.04656",
        Claims(True),
    )


def sppo_hard() -> TwoRatioLoss:
    """(a − ½)² + (b + ½)²: self-play preference optimization with labels taken as certain."""
    a, b = CHOSEN, REJECTED
    return TwoRatioLoss(
        "sppo_hard",
        (a - _HALF) ** 2 + (b + _HALF) ** 2,
        OF_TWO_RATIOS["sppo_hard"],
        "Wu et al. 2024 (SPPO), arXiv 2405.00675, eq. 4.7 with P = 1",
        Claims(True),
        "TRL's is this divided by β²: (h_w − 1/(2β))² + (h_l + 1/(2β))²",
    )


def apo_zero() -> TwoRatioLoss:
    """1 − σ(a) + σ(b): anchored preference optimization, the chosen pulled up and the rejected down."""
    a, b = CHOSEN, REJECTED
    return TwoRatioLoss(
        "apo_zero",
        _sigmoid(-a) + _sigmoid(b),
        (),
        "D'Oosterlinck et al. 2024 (APO), arXiv 2408.06266, eq. 7",
        Claims(False),
    )


def apo_down() -> TwoRatioLoss:
    """σ(a) + 1 − σ(a − b): anchored preference optimization, both pulled down and the rejected more."""
    a, b = CHOSEN, REJECTED
    return TwoRatioLoss(
        "apo_down",
        _sigmoid(a) + _sigmoid(b - a),
        (),
        "D'Oosterlinck et al. 2024 (APO), arXiv 2408.06266, eq. 8",
        Claims(False),
    )


def sft() -> TwoRatioLoss:
    """−a: the likelihood of the chosen, up to β and the constant −log πref."""
    return TwoRatioLoss(
        "sft",
        -CHOSEN,
        OF_TWO_RATIOS["sft"],
        "maximum likelihood of the chosen responses",
        Claims(True, bounded_below=False),
        "TRL's is the mean of −log π over all chosen tokens of a batch: −h_w − log πref, over the tokens, without β",
    )


def kto(reference_point: float = 0.0, desirable: float = 1.0, undesirable: float = 1.0) -> TwoRatioLoss:
    """λ_D σ(r − a) + λ_U σ(b − r): Kahneman–Tversky optimization of a chosen and a rejected response.

    Parameters
    ----------
    reference_point : float
        r = βz₀, z₀ an estimate of KL(π‖πref) that is held fixed while the loss is descended, so at least 0;
        ``tabular.self_consistent_kto`` finds the r that is β KL(π‖πref) of its own optimum.
    desirable, undesirable : float
        λ_D and λ_U, above 0.
    """
    a, b = CHOSEN, REJECTED
    r = exact_number(reference_point, "reference_point", _NOT_NEGATIVE)
    up = exact_number(desirable, "desirable", _POSITIVE)
    down = exact_number(undesirable, "undesirable", _POSITIVE)
    plain = r == 0 and up == 1 and down == 1
    return TwoRatioLoss(
        "kto" if plain else f"kto({shown_number(r)}, {shown_number(up)}, {shown_number(down)})",
        up * _sigmoid(r - a) + down * _sigmoid(b - r),
        (),
        "Ethayarajh et al. 2024 (KTO), arXiv 2402.01306; TRL 1.16, KTOTrainer",
        Claims(False),
        "unpaired: only how often a response is chosen or rejected counts; TRL's mean over examples is half of this. "
        "With r = 0 it is apo_zero",
    )


def cal_dpo(tau: float = 0.1, weight: float = 0.5) -> TwoRatioLoss:
    """−log σ(a − b) + w [(a − 1/(2τ))² + (b + 1/(2τ))²]: DPO with calibrated log-ratios; used at β = 1.

    Parameters
    ----------
    tau : float
        τ, the β of its paper, above 0: it sets the targets ±1/(2τ) of the log-ratios and stands nowhere else.
    weight : float
        w, at least 0; ½ in the authors' code, 1 in the paper's formula.
    """
    a, b = CHOSEN, REJECTED
    target = 1 / (2 * exact_number(tau, "tau", _POSITIVE))
    w = exact_number(weight, "weight", _NOT_NEGATIVE)
    plain = target == 5 and w == _HALF
    return TwoRatioLoss(
        "cal_dpo" if plain else f"cal_dpo(tau={shown_number(1 / (2 * target))}, weight={shown_number(w)})",
        _softplus(b - a) + w * ((a - target) ** 2 + (b + target) ** 2),
        (),
        "Xiao et al. 2024 (Cal-DPO), arXiv 2412.14516; tengxiao1/Cal-DPO, scripts/dpo_trainer.py, commit 646a7545",
        Claims(True),
        "its β is τ; use it at β = 1, a and b the log-ratios themselves",
    )


def dpop(penalty: float = 50.0) -> TwoRatioLoss:
    """−log σ(a − b − λ max(0, −a)): DPO-Positive (Smaug), which charges a chosen response that falls below πref.

    Parameters
    ----------
    penalty : float
        λ, at least 0; 50 in the paper.
    """
    a, b, weight = CHOSEN, REJECTED, exact_number(penalty, "penalty", _NOT_NEGATIVE)
    return TwoRatioLoss(
        "dpop" if weight == 50 else f"dpop(penalty={shown_number(weight)})",
        _softplus(b - a + weight * sympy.Max(0, -a)),
        OF_TWO_RATIOS["dpop"] if weight == 50 else (),
        "Pal et al. 2024 (DPO-Positive, Smaug), arXiv 2402.13228",
        Claims(True, ("a = 0",)),
    )


def rpo(weight: float = 1.0) -> TwoRatioLoss:
    """−log σ(a − b) − γ a: DPO with the likelihood of the chosen added (iterative RPO).

    Parameters
    ----------
    weight : float
        γ = α/β, at least 0, α the weight of −log π(y_w) beside −log σ(βρ).
    """
    a, b, gamma = CHOSEN, REJECTED, exact_number(weight, "weight", _NOT_NEGATIVE)
    return TwoRatioLoss(
        "rpo" if gamma == 1 else f"rpo(weight={shown_number(gamma)})",
        _softplus(b - a) - gamma * a,
        OF_TWO_RATIOS["rpo"] if gamma == 1 else (),
        "Pang et al. 2024 (iterative RPO), arXiv 2404.19733",
        Claims(True, bounded_below=False),
        "the paper divides the likelihood by the response's length: γ = α/(β |y_w|); TRL: loss_type sigmoid and sft",
    )


_FAMILIES: dict[str, Callable[..., TwoRatioLoss]] = {
    family.__name__: family
    for family in (nca_pair, bco_pair, sppo_hard, apo_zero, apo_down, sft, kto, cal_dpo, dpop, rpo)
}


def two_ratio_losses() -> list[str]:
    """The names of the losses of two log-ratios."""
    return list(OF_TWO_RATIOS)


@cache
def _default(name: str) -> TwoRatioLoss:
    return _FAMILIES[name]()


def two_ratio_parameters(name: str) -> list[str]:
    """The names of the parameters of a loss of two log-ratios.

    Examples
    --------
    >>> two_ratio_parameters("cal_dpo")
    ['tau', 'weight']
    """
    return list(inspect.signature(_FAMILIES[proper_names(OF_TWO_RATIOS)[name]]).parameters)


def get_two_ratio_loss(name: str, **parameters: float) -> TwoRatioLoss:
    """The loss of two log-ratios of that name, with its parameters.

    Parameters
    ----------
    name : str
        Of :func:`two_ratio_losses`, or an alias.
    **parameters : float
        Those of the loss: ``shift`` of bco_pair; ``reference_point``, ``desirable``, ``undesirable`` of kto; ``tau``,
        ``weight`` of cal_dpo; ``penalty`` of dpop; ``weight`` of rpo.

    Raises
    ------
    ValueError
        For an unknown name, a parameter that the loss does not have, or one out of range.

    Examples
    --------
    >>> get_two_ratio_loss("bco_pair", shift=0.5).name
    'bco_pair(shift=0.5)'
    >>> get_two_ratio_loss("nca_pair", shift=0.5)
    Traceback (most recent call last):
    ...
    ValueError: nca_pair has no parameter shift; it has none
    """
    names = proper_names(OF_TWO_RATIOS)
    key = normal_name(name)
    if key not in names:
        raise ValueError(f"unknown loss of two log-ratios {name!r} (known: {', '.join(names)})")
    family, accepted = _FAMILIES[names[key]], two_ratio_parameters(key)
    for parameter in parameters:
        if parameter not in accepted:
            has = ", ".join(accepted) or "none"
            raise ValueError(f"{names[key]} has no parameter {parameter}; it has {has}")
    return family(**parameters) if parameters else _default(names[key])
