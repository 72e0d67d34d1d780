"""The dictionary itself: every library's and paper's loss, with where, in which version and when it was read.

Rows whose name starts with ``trl:`` are held against TRL's executed code by ``gpo conventions --check``; the others
were read in stored copies of their sources, named by commit, and where there is a release of them in that release
again, with the day on which its files were packed. Dates that neither tells are not known.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import sympy

from gpo_analysis.analysis.conventions import BetaConvention
from gpo_analysis.convention_names import OF_OTHERS
from gpo_analysis.losses import CHOSEN, REJECTED, Loss, TwoRatioLoss, get_loss, list_losses, two_ratio_losses
from gpo_analysis.losses.exo import EXO_EPSILON

_TRL = "huggingface/trl, trl/trainer/dpo_trainer.py, loss_type"
_OPENRLHF = "OpenRLHF/OpenRLHF, openrlhf/models/loss.py (DPOLoss) and openrlhf/trainer/dpo_trainer.py (sums)"
_TORCHTUNE = "pytorch/torchtune, torchtune/rlhf/loss/dpo.py"
_FACTORY = "hiyouga/LLaMA-Factory, src/llamafactory/train/dpo/trainer.py (TRL's losses under its own forward pass)"
_AXOLOTL = "axolotl-ai-cloud/axolotl, src/axolotl/core/trainers/dpo (hands its β to TRL)"
_UNSLOTH = "unslothai/unsloth, unsloth/models/dpo.py (PatchDPOTrainer changes how progress is shown; the loss is TRL's)"
_VERL = "volcengine/verl, recipe/spin/core_algos.py (compute_online_dpo_loss; its main trainers have no DPO)"
_NEMO = "NVIDIA-NeMo/RL, nemo_rl/algorithms/loss/loss_functions.py (DPOLossFn; its reference_policy_kl_penalty)"
_HALOS = "ContextualAI/HALOs, train/trainers.py"
_DPO = "eric-mitchell/direct-preference-optimization, trainers.py"

_READ = "read 2026-11-26"
_TRL_VERSION = f"1.16.0, {_READ} and executed by gpo conventions --check"
_OPENRLHF_VERSION = f"0.11.2 of 2026-09-14, also commit f5b3f08a, {_READ}"
_TORCHTUNE_VERSION = f"0.6.1 of 2025-04-07, also commit 0140dc51, {_READ}"
_FACTORY_VERSION = f"0.9.5, which asks for trl up to 0.24.0 (date not known), also commit 00052690, {_READ}"
_AXOLOTL_VERSION = f"0.19.0 of 2026-09-10, which asks for trl 1.9.0, also commits 0fad92a3 and 102eb334, {_READ}"
_UNSLOTH_VERSION = f"2026.10.9 of 2026-10-26, which asks for trl 0.18.2 to 1.15.0, also commit 09c49422, {_READ}"
_VERL_VERSION = f"commit 34e56e18 (date not known), {_READ}; release 0.9.1 of 2026-09-20 has no recipes and no DPO"
_NEMO_VERSION = f"commits 3520fc0a and b816b57b, version 0.5.0 (date not known), {_READ}"
_HALOS_VERSION = f"commit 0398310b (it has no versions; date not known), {_READ}"
_EARLIER = "read before 2026-11-26; version not noted"

_IPO_SQUARE = "(ρ − 1/(2β))² = (2βρ − 1)²/(4β²)"
_MEANS = "ρ is a difference of token means, not of sums: the regularization is per token"
_BY_TRL = "label smoothing is handed to the TRL it runs on, which ignores it for this loss from its version 1 on"


def _sigmoid(name: str, source: str, version: str, **more: Any) -> BetaConvention:
    more = {"smoothing": "smoothed", **more}
    return BetaConvention(name, "−log σ(βρ)", "logistic", source, version=version, **more)


def _hinge(name: str, source: str, version: str, symbol: str = "β", **more: Any) -> BetaConvention:
    return BetaConvention(name, f"max(0, 1 − {symbol}ρ)", "hinge", source, version=version, **more)


def _ipo(name: str, source: str, version: str, symbol: str = "β", **more: Any) -> BetaConvention:
    if more.get("ratio") == "means":
        more = {"note": _MEANS, **more}
    return BetaConvention(
        name, _IPO_SQUARE.replace("β", symbol), "squared", source, factor=2.0, scale=0.25, scale_power=-2,
        version=version, **more,
    )  # fmt: skip


_PAIR = {CHOSEN: sympy.Symbol("βh_w"), REJECTED: sympy.Symbol("βh_l")}
_SORTED = "a statistic of the batch: which pairs meet depends on all of it; for large batches the quantile coupling"


def _two_ratios(name: str, objective: str, **more: Any) -> BetaConvention:
    """A loss of two log-ratios of TRL, h = log π/πref, which ignores label smoothing."""
    source = f'{_TRL} "{name}" ({get_loss(name).reference})'
    return BetaConvention(f"trl:{name}", objective, name, source, smoothing="ignored", version=_TRL_VERSION, **more)


@lru_cache(maxsize=1)
def _of_trl() -> tuple[BetaConvention, ...]:
    """TRL's, made when they are asked for: a program that analyses one loss does without."""
    return (
        _sigmoid("trl:sigmoid", f'{_TRL} "sigmoid"', _TRL_VERSION, smoothing="ignored"),
        _hinge("trl:hinge", f'{_TRL} "hinge"', _TRL_VERSION, smoothing="ignored"),
        _ipo(
            "trl:ipo", f'{_TRL} "ipo" (token means since trl pull request 1265; trl issue 1677)', _TRL_VERSION,
            ratio="means", smoothing="ignored",
        ),
        _sigmoid("trl:robust", f'{_TRL} "robust" (arXiv 2403.00409)', _TRL_VERSION, smoothing="robust"),
        BetaConvention(
            "trl:exo_pair",
            "KL(Bernoulli σ(βρ) ‖ Bernoulli(1−ε))",
            "exo",
            f'{_TRL} "exo_pair" (arXiv 2402.00856, eq. 16)',
            smoothing="exo",
            needs_smoothing=True,
            note=f"label_smoothing 0, the default, is refused there; the paper recommends {EXO_EPSILON:g}",
            version=_TRL_VERSION,
        ),
        BetaConvention(
            "trl:discopop",
            "(1−σ(βρ/τ)) log(1+e^−βρ) + σ(βρ/τ) e^−βρ, τ = 0.05",
            "lrml",
            f'{_TRL} "discopop" (arXiv 2406.08414), at the default discopop_tau = 0.05',
            smoothing="ignored",
            version=_TRL_VERSION,
        ),
        _sigmoid(
            "trl:sigmoid_norm", f'{_TRL} "sigmoid_norm" (arXiv 2411.15124, eq. 6; trl pull request 5406)', _TRL_VERSION,
            ratio="means", smoothing="ignored", note=_MEANS,
        ),
        _two_ratios("nca_pair", "−log σ(βh_w) − ½ log σ(−βh_w) − ½ log σ(−βh_l)"),
        _two_ratios("bco_pair", "−log σ(βh_w) − log σ(−βh_l)"),
        _two_ratios(
            "sppo_hard", "(h_w − 1/(2β))² + (h_l + 1/(2β))² = [(βh_w − ½)² + (βh_l + ½)²]/β²", scale_power=-2,
        ),
        _two_ratios("apo_zero", "1 − σ(βh_w) + σ(βh_l)"),
        _two_ratios("apo_down", "σ(βh_w) + 1 − σ(βh_w − βh_l)"),
        _two_ratios(
            "sft", "−log π(y_w) over tokens = −h_w − log πref(y_w) over tokens", power=0, ratio="means",
            note="the mean is over all chosen tokens of the batch, so that long responses count more; β takes no part",
        ),
        BetaConvention(
            "trl:aot", "−log σ(β [A₍ₖ₎ − B₍ₖ₎]), A and B sorted: log π and log πref of y_w less those of y_l", "aot",
            f'{_TRL} "aot" (arXiv 2406.05882)', smoothing="smoothed", note=_SORTED, version=_TRL_VERSION,
        ),
        BetaConvention(
            "trl:aot_unpaired", "−log σ(β [A₍ₖ₎ − B₍ₖ₎]), A and B sorted: h of y_w and h of y_l", "aot_unpaired",
            f'{_TRL} "aot_unpaired" (arXiv 2406.05882)', smoothing="smoothed", note=_SORTED, version=_TRL_VERSION,
        ),
    )  # fmt: skip


_OTHERS: tuple[BetaConvention, ...] = (
    _sigmoid("openrlhf:dpo", _OPENRLHF, _OPENRLHF_VERSION),
    _ipo("openrlhf:ipo", _OPENRLHF, _OPENRLHF_VERSION),
    _sigmoid("torchtune:dpo", f"{_TORCHTUNE} (DPOLoss)", _TORCHTUNE_VERSION),
    _hinge(
        "torchtune:rso", f"{_TORCHTUNE} (RSOLoss; its γ)", _TORCHTUNE_VERSION, "γ",
    ),
    _ipo(
        "torchtune:ipo", f"{_TORCHTUNE} (IPOLoss; its τ), removed by torchtune pull request 1615", _EARLIER, "τ",
        note="its recipe passed sums, where token means were meant (torchtune issue 1291)", read=False,
    ),
    _sigmoid(
        "llama-factory:sigmoid", f"{_FACTORY}; pref_beta, pref_loss: sigmoid", _FACTORY_VERSION,
        note="cDPO's smoothing is that of TRL before its version 1, on which it runs",
    ),
    _hinge(
        "llama-factory:hinge", f"{_FACTORY}; pref_beta, pref_loss: hinge", _FACTORY_VERSION,
    ),
    _ipo("llama-factory:ipo", f"{_FACTORY}; pref_beta, pref_loss: ipo", _FACTORY_VERSION, ratio="means"),
    _sigmoid(
        "axolotl:dpo", f"{_AXOLOTL}; rl: dpo", _AXOLOTL_VERSION, smoothing="ignored", note=_BY_TRL,
    ),
    _ipo("axolotl:ipo", f"{_AXOLOTL}; rl: ipo", _AXOLOTL_VERSION, ratio="means"),
    _sigmoid(
        "unsloth:dpo", f"{_UNSLOTH}; loss_type sigmoid", _UNSLOTH_VERSION, smoothing="ignored",
        note=f"{_BY_TRL}; on an older TRL, which it allows too, it is cDPO's",
    ),
    _ipo("unsloth:ipo", f"{_UNSLOTH}; loss_type ipo", _UNSLOTH_VERSION, ratio="means"),
    _sigmoid("verl:dpo", _VERL, _VERL_VERSION),
    _ipo("verl:ipo", _VERL, _VERL_VERSION),
    _sigmoid("nemo-rl:dpo", _NEMO, _NEMO_VERSION, smoothing=None),
    _sigmoid(
        "nemo-rl:dpo-average", f"{_NEMO}, preference_average_log_probs: true", _NEMO_VERSION, smoothing=None,
        ratio="means", note=_MEANS,
    ),
    _sigmoid(
        "halos:dpo", f"{_HALOS} (DPOTrainer)", _HALOS_VERSION, smoothing=None,
        note="HALOs adds the losses of a batch up, where others average them: its learning rate counts the batch size",
    ),
    _sigmoid(
        "halos:cdpo", f"{_HALOS} (CDPOTrainer; its ε is loss.epsilon)", _HALOS_VERSION,
        note="HALOs adds the losses of a batch up, where others average them: its learning rate counts the batch size",
    ),
    _sigmoid("dpo-reference:dpo", _DPO, _EARLIER, smoothing=None),
    _ipo("dpo-reference:ipo", f"{_DPO}, its ipo option (issue 64 of that repository)", _EARLIER),
    _ipo(
        "ipo-paper:tau", "Azar et al. 2023, arXiv 2310.12036, eq. 17", _EARLIER, "τ",
    ),
    BetaConvention(
        "arxiv:2405.08448",
        "(βρ − ½)² = (2βρ − 1)²/4",
        "squared",
        "Tang et al. 2024, Understanding the performance gap between online and offline alignment, arXiv 2405.08448",
        factor=2.0,
        scale=0.25,
        version=_EARLIER,
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
        version=_EARLIER,
    ),
)  # fmt: skip


@lru_cache(maxsize=1)
def all_conventions() -> tuple[BetaConvention, ...]:
    """GPO's own f(βρ) for every loss of the catalogue, then the other libraries and papers."""
    own = [own_convention(get_loss(name)) for name in (*list_losses(), *two_ratio_losses())]
    return (*own, *(replace(row, aliases=OF_OTHERS[row.name]) for row in (*_of_trl(), *_OTHERS)))


@lru_cache(maxsize=1)
def _by_name() -> dict[str, BetaConvention]:
    return {row.name: row for row in all_conventions()}


def convention_named(name: str) -> BetaConvention:
    """The convention of a name proper."""
    return _by_name()[name]


def own_convention(loss: Loss) -> BetaConvention:
    """GPO's own f(βρ) or F(βh_w, βh_l), of a loss of the catalogue or any other."""
    known = loss.name in (*list_losses(), *two_ratio_losses()) and get_loss(loss.name) == loss
    if isinstance(loss, TwoRatioLoss):
        text = str(loss.expression.xreplace(_PAIR)).replace("**", "^")
    else:
        text = str(loss.expression).replace("**", "^").replace("z", "βρ") if loss.name != "lrml" else "LRML at z = βρ"
    return BetaConvention(
        f"gpo:{loss.name}" if known else loss.name,
        text,
        loss.name if known else loss,
        loss.reference or ("arXiv 2402.05749" if known else "typed"),
        smoothing="smoothed",
        aliases=tuple(f"gpo:{alias}" for alias in loss.aliases),
    )
