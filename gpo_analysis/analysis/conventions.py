"""What β means in other libraries and papers: one record each, with where it was read.

Every objective here is scale · f(β_GPO ρ) with β_GPO = factor · βᵖ and scale = c · β^q. ρ is a difference of log-ratios
summed over tokens ("sums") or averaged over them ("means"): with responses of one length T the second is the first
divided by T, otherwise the two are different objectives.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any

import sympy

from gpo_analysis.losses import MarginLoss, get_loss, list_losses
from gpo_analysis.losses.margin_loss import MARGIN

_TRL = "huggingface/trl, trl/trainer/dpo_trainer.py, loss_type"
_OPENRLHF = "OpenRLHF/OpenRLHF, openrlhf/models/loss.py (DPOLoss) and openrlhf/trainer/dpo_trainer.py (sums)"
_TORCHTUNE = "pytorch/torchtune, torchtune/rlhf/loss/dpo.py"
_FACTORY = "hiyouga/LLaMA-Factory, src/llamafactory/train/dpo/trainer.py (TRL's losses under its own forward pass)"
_AXOLOTL = "axolotl-ai-cloud/axolotl, src/axolotl/core/trainers/dpo (hands its β to TRL)"
_DPO = "eric-mitchell/direct-preference-optimization, trainers.py"
_IPO_SQUARE = "(ρ − 1/(2β))² = (2βρ − 1)²/(4β²)"
_MEANS = "ρ is a difference of token means, not of sums: the regularization is per token"


@dataclass(frozen=True)
class BetaConvention:
    """How one library or paper writes its β.

    Attributes
    ----------
    name : str
        "library:loss", such as "trl:ipo".
    objective : str
        Its loss of one pair, in its own β and ρ.
    loss : str
        The f, as a name of the catalogue; "exo" for EXO's, which stands in no catalogue.
    factor, power : float
        β_GPO = factor · βᵖ.
    scale, scale_power : float
        Its loss is scale · β^q · f(β_GPO ρ).
    ratio : str
        "sums" or "means" over tokens.
    smoothing : str or None
        What its label smoothing ε makes of f: "smoothed" (1−ε) f(z) + ε f(−z), "robust" [(1−ε) f(z) − ε f(−z)]/(1−2ε),
        "exo" the ε of EXO, or None where it has none.
    source : str
        Where this was read.
    note : str
        What to beware of.
    aliases : tuple of str
        Other names.
    """

    name: str
    objective: str
    loss: str
    source: str
    factor: float = 1.0
    power: int = 1
    scale: float = 1.0
    scale_power: int = 0
    ratio: str = "sums"
    smoothing: str | None = None
    note: str = ""
    aliases: tuple[str, ...] = field(default=())

    def to_gpo(self, value: float) -> float:
        """β in GPO's terms."""
        return float(self.exact_to_gpo(value))

    def from_gpo(self, beta: float) -> float:
        """This convention's β."""
        return float(self.exact_from_gpo(beta))

    def loss_scale(self, value: float) -> float:
        """This convention's loss over f(β_GPO ρ)."""
        return float(self.exact_loss_scale(value))

    def exact_to_gpo(self, value: float | sympy.Expr) -> sympy.Expr:
        """β in GPO's terms, in thirty digits and of any size."""
        return self.factor * _digits(value) ** self.power

    def exact_from_gpo(self, beta: float | sympy.Expr) -> sympy.Expr:
        """This convention's β, in thirty digits and of any size."""
        return (_digits(beta) / sympy.Float(self.factor, 30)) ** sympy.Rational(1, self.power)

    def exact_loss_scale(self, value: float | sympy.Expr) -> sympy.Expr:
        """This convention's loss over f(β_GPO ρ), in thirty digits and of any size."""
        return sympy.Float(self.scale, 30) * _digits(value) ** self.scale_power

    def margin_loss(self, label_smoothing: float = 0.0) -> MarginLoss:
        """The f, with its label smoothing."""
        if self.smoothing == "exo":
            return exo_loss(label_smoothing or 1e-3)
        loss = get_loss(self.loss)
        if label_smoothing == 0:
            return loss
        if self.smoothing is None:
            raise ValueError(f"{self.name} has no label smoothing, got label_smoothing = {label_smoothing!r}")
        return loss.smoothed(label_smoothing) if self.smoothing == "smoothed" else loss.robust(label_smoothing)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return {**asdict(self), "aliases": list(self.aliases)}


def _digits(value: float | sympy.Expr) -> sympy.Float:
    """Thirty digits of any size: what a float holds, or an expression's value."""
    return sympy.Float(value, 30) if isinstance(value, float | int) else sympy.N(value, 30)


def exo_loss(label_smoothing: float = 1e-3) -> MarginLoss:
    """EXO's pairwise loss, KL(Bernoulli σ(z) ‖ Bernoulli(1−ε)) (Ji et al. 2024, arXiv 2402.00856, eq. 16).

    f′(0) = −¼ logit(1−ε) and f″(0) = ¼, so that κ = 1/logit(1−ε): 0.145 at TRL's default ε = 1e-3.

    Raises
    ------
    ValueError
        If ε is not in (0, ½).
    """
    if not 0 < label_smoothing < 0.5:
        raise ValueError(f"label_smoothing of EXO must be in (0, 1/2), got {label_smoothing!r}")
    z, e = MARGIN, sympy.Rational(repr(float(label_smoothing)))
    chosen, rejected = 1 / (1 + sympy.exp(-z)), 1 / (1 + sympy.exp(z))
    expression = chosen * (-sympy.log(1 + sympy.exp(-z)) - sympy.log(1 - e)) + rejected * (
        -sympy.log(1 + sympy.exp(z)) - sympy.log(e)
    )
    return MarginLoss(f"exo({label_smoothing:g})", expression, reference="Ji et al. 2024, arXiv 2402.00856, eq. 16")


def _sigmoid(
    name: str, source: str, aliases: tuple[str, ...] = (), smoothing: str | None = "smoothed"
) -> BetaConvention:
    return BetaConvention(name, "−log σ(βρ)", "logistic", source, smoothing=smoothing, aliases=aliases)


def _hinge(name: str, source: str, aliases: tuple[str, ...] = (), symbol: str = "β") -> BetaConvention:
    return BetaConvention(name, f"max(0, 1 − {symbol}ρ)", "hinge", source, aliases=aliases)


def _ipo(
    name: str, source: str, ratio: str = "sums", note: str = "", aliases: tuple[str, ...] = (), symbol: str = "β"
) -> BetaConvention:
    return BetaConvention(
        name=name,
        objective=_IPO_SQUARE.replace("β", symbol),
        loss="squared",
        source=source,
        factor=2.0,
        scale=0.25,
        scale_power=-2,
        ratio=ratio,
        note=note or (_MEANS if ratio == "means" else ""),
        aliases=aliases,
    )


_OTHERS: tuple[BetaConvention, ...] = (
    _sigmoid("trl:sigmoid", f'{_TRL} "sigmoid"', ("trl:dpo",)),
    _hinge("trl:hinge", f'{_TRL} "hinge"', ("trl:slic",)),
    _ipo("trl:ipo", f'{_TRL} "ipo" (token means since trl pull request 1265; trl issue 1677)', "means"),
    _sigmoid("trl:robust", f'{_TRL} "robust" (arXiv 2403.00409)', smoothing="robust"),
    BetaConvention(
        "trl:exo_pair",
        "KL(Bernoulli σ(βρ) ‖ Bernoulli(1−ε))",
        "exo",
        f'{_TRL} "exo_pair" (arXiv 2402.00856, eq. 16)',
        smoothing="exo",
        note="label_smoothing 0 stands for ε = 1e-3 there",
        aliases=("trl:exo",),
    ),
    BetaConvention(
        "trl:discopop",
        "(1−σ(βρ/τ)) log(1+e^−βρ) + σ(βρ/τ) e^−βρ, τ = 0.05",
        "lrml",
        f'{_TRL} "discopop" (arXiv 2406.08414), at the default discopop_tau = 0.05',
    ),
    _sigmoid("openrlhf:dpo", _OPENRLHF, ("openrlhf:sigmoid",)),
    _ipo("openrlhf:ipo", _OPENRLHF),
    _sigmoid("torchtune:dpo", f"{_TORCHTUNE} (DPOLoss)", ("torchtune:sigmoid",)),
    _hinge("torchtune:rso", f"{_TORCHTUNE} (RSOLoss; its γ)", ("torchtune:hinge", "torchtune:slic"), symbol="γ"),
    _ipo(
        "torchtune:ipo",
        f"{_TORCHTUNE} (IPOLoss; its τ), removed by torchtune pull request 1615",
        note="its recipe passed sums, where token means were meant (torchtune issue 1291)",
        symbol="τ",
    ),
    _sigmoid("llama-factory:sigmoid", f"{_FACTORY}; pref_beta, pref_loss: sigmoid", ("llama-factory:dpo",)),
    _hinge("llama-factory:hinge", f"{_FACTORY}; pref_beta, pref_loss: hinge", ("llama-factory:slic",)),
    _ipo("llama-factory:ipo", f"{_FACTORY}; pref_beta, pref_loss: ipo", "means"),
    _sigmoid("axolotl:dpo", f"{_AXOLOTL}; rl: dpo", ("axolotl:sigmoid",)),
    _ipo("axolotl:ipo", f"{_AXOLOTL}; rl: ipo", "means"),
    _sigmoid("dpo-reference:dpo", _DPO, ("dpo-paper:beta", "arxiv:2305.18290"), None),
    _ipo("dpo-reference:ipo", f"{_DPO}, its ipo option (issue 64 of that repository)"),
    _ipo(
        "ipo-paper:tau",
        "Azar et al. 2023, arXiv 2310.12036, eq. 17",
        aliases=("ipo:tau", "arxiv:2310.12036"),
        symbol="τ",
    ),
    BetaConvention(
        "arxiv:2405.08448",
        "(βρ − ½)² = (2βρ − 1)²/4",
        "squared",
        "Tang et al. 2024, Understanding the performance gap between online and offline alignment, arXiv 2405.08448",
        factor=2.0,
        scale=0.25,
        aliases=("online-offline:ipo",),
    ),
    BetaConvention(
        "bandit:ipo",
        "(ρ − β)² = β² (ρ/β − 1)²",
        "squared",
        "a public bandit study of IPO in which β is the target margin itself",
        factor=1.0,
        power=-1,
        scale_power=2,
        note="a larger β regularizes less there",
    ),
)


@lru_cache(maxsize=1)
def all_conventions() -> tuple[BetaConvention, ...]:
    """GPO's own f(βρ) for every loss of the catalogue, then the other libraries and papers."""
    own = []
    for name in list_losses():
        loss = get_loss(name)
        text = str(loss.expression).replace("**", "^").replace("z", "βρ") if name != "lrml" else "LRML at z = βρ"
        own.append(
            BetaConvention(
                f"gpo:{name}",
                text,
                name,
                loss.reference or "arXiv 2402.05749",
                smoothing="smoothed",
                aliases=tuple(f"gpo:{alias}" for alias in loss.aliases),
            )
        )
    return (*own, *_OTHERS)
