"""The losses by name: the six of the paper first, then their neighbours, each with its source."""

from __future__ import annotations

from functools import lru_cache

import sympy

from gpo_analysis.loss_names import EXO, OF_MARGINS, WRITTEN, Written, proper_names
from gpo_analysis.losses.build import Part, formula
from gpo_analysis.losses.exo import exo_loss
from gpo_analysis.losses.margin_loss import MARGIN, Claims, MarginLoss
from gpo_analysis.losses.spelling import respelled

_GPO = "Tang et al. 2024, Generalized Preference Optimization, arXiv 2402.05749, Table 1"
_DPO = f"{_GPO}; Rafailov et al. 2023 (DPO), arXiv 2305.18290"
_SLIC = f"{_GPO}; Zhao et al. 2023 (SLiC), arXiv 2305.10425"
_IPO = f"{_GPO}; Azar et al. 2023 (IPO), arXiv 2310.12036"
_BPO = "Kim et al. 2025, Preference Optimization by Estimating the Ratio of the Data Distribution, arXiv 2505.19601"


def _bregman(h: sympy.Expr, ratio: sympy.Symbol) -> sympy.Expr:
    """h′(R)R − h(R) − h′(1/R) with R = e^−z: the margin loss of a convex h (arXiv 2505.19601), up to a constant."""
    slope = h.diff(ratio)
    loss = slope * ratio - h - slope.subs(ratio, 1 / ratio)
    expanded = sympy.powsimp(sympy.expand(sympy.expand_log(loss.subs(ratio, sympy.exp(-MARGIN)), force=True)))
    return expanded.as_independent(MARGIN, as_Add=True)[1]


def _written(name: str, loss: Written) -> MarginLoss:
    expression = formula(respelled(loss.formula), {MARGIN.name: Part(MARGIN, 1)})[0].expression
    claims = Claims(loss.convex, loss.kinks, loss.bounded_below)
    return MarginLoss(name, expression, loss.aliases, loss.source, claims)


@lru_cache(maxsize=1)
def _catalogue() -> dict[str, MarginLoss]:
    z, exp, log = MARGIN, sympy.exp, sympy.log
    ratio = sympy.Symbol("R", positive=True)
    zero = sympy.S.Zero
    logistic = log(1 + exp(-z))
    tau = sympy.Rational(1, 20)
    weight = 1 / (1 + exp(-z / tau))
    basu, scale = sympy.Rational(1, 2), 4
    bpo_convex_h = {
        "kliep": ratio * log(ratio) - ratio,
        "lsif": (ratio - 1) ** 2,
        "sba": (ratio ** (1 + basu) - (1 + basu) * ratio + basu) / (scale * basu * (1 + basu)),
    }
    members = (
        MarginLoss("logistic", logistic, OF_MARGINS["logistic"], _DPO, Claims(True)),
        MarginLoss(
            "hinge",
            sympy.Max(zero, 1 - z),
            OF_MARGINS["hinge"],
            _SLIC,
            Claims(True, ("1",)),
        ),
        MarginLoss("squared", (z - 1) ** 2, OF_MARGINS["squared"], _IPO, Claims(True)),
        MarginLoss("exponential", exp(-z), OF_MARGINS["exponential"], _GPO, Claims(True)),
        MarginLoss(
            "truncated_quadratic",
            sympy.Max(zero, 1 - z) ** 2,
            OF_MARGINS["truncated_quadratic"],
            _GPO,
            Claims(True, ("1",)),
        ),
        MarginLoss(
            "savage",
            1 / (1 + exp(z)) ** 2,
            OF_MARGINS["savage"],
            f"{_GPO}; Masnadi-Shirazi & Vasconcelos 2008",
            Claims(False),
        ),
        *(_written(name, loss) for name, loss in WRITTEN.items()),
        MarginLoss(
            "lrml",
            (1 - weight) * logistic + weight * exp(-z),
            OF_MARGINS["lrml"],
            "log-ratio modulated loss with τ = 0.05, Lu et al. 2024 (DiscoPOP), arXiv 2406.08414",
            Claims(False),
        ),
        MarginLoss(
            "smoothed_logistic",
            sympy.Rational(9, 10) * logistic + sympy.Rational(1, 10) * log(1 + exp(z)),
            OF_MARGINS["smoothed_logistic"],
            "E. Mitchell 2023, A note on DPO with noisy preferences & relationship to IPO; here with ε = 0.1",
            Claims(True),
        ),
        MarginLoss(
            "robust_logistic",
            (sympy.Rational(9, 10) * logistic - sympy.Rational(1, 10) * log(1 + exp(z))) / sympy.Rational(8, 10),
            OF_MARGINS["robust_logistic"],
            "Chowdhury et al. 2024, Provably Robust DPO, arXiv 2403.00409; here with ε = 0.1",
            Claims(True, bounded_below=False),
        ),
        MarginLoss(
            "sba",
            _bregman(bpo_convex_h["sba"], ratio),
            OF_MARGINS["sba"],
            f"scaled Basu's power divergence, {_BPO}; here with λ = 1/2, s = 4 (the slope of logistic at 0)",
            Claims(False, bounded_below=False),
        ),
        MarginLoss(
            "lsif",
            _bregman(bpo_convex_h["lsif"], ratio),
            OF_MARGINS["lsif"],
            f"h = (R−1)², {_BPO}",
            Claims(False, bounded_below=False),
        ),
        MarginLoss(
            "kliep",
            _bregman(bpo_convex_h["kliep"], ratio),
            OF_MARGINS["kliep"],
            f"h = R log R − R, {_BPO}",
            Claims(True, bounded_below=False),
        ),
    )
    return {loss.name: loss for loss in members}


def list_losses() -> list[str]:
    """The names of the catalogue: the six of the paper in its order, then the others.

    Examples
    --------
    >>> from gpo_analysis.losses import list_losses
    >>> list_losses()[:6]
    ['logistic', 'hinge', 'squared', 'exponential', 'truncated_quadratic', 'savage']
    """
    return list(OF_MARGINS)


PAPER_LOSSES = ("logistic", "hinge", "squared", "exponential", "truncated_quadratic", "savage")
"""The six losses of the paper's Table 1, in its order."""


def margin_loss_named(key: str) -> MarginLoss | None:
    """The margin loss of a name or alias in lower case with underscores, EXO's at its ε; None for other names."""
    if key in EXO:
        return exo_loss()
    name = proper_names(OF_MARGINS).get(key)
    return None if name is None else _catalogue()[name]
