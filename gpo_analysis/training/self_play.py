r"""Methods made for preferences without a total order, iterated with exact expectations: Nash-MD and IPO-MD.

Both aim at the equilibrium of the game regularized by τ KL(·‖πref) (:func:`gpo_analysis.tabular.nash_policy`), the
fixed point of ``h = Pπ/τ + c``, ``h = log π/πref``. With the geometric mixture ``π^λ ∝ π^{1−λ} πref^λ``:

- Nash-MD (Munos et al., arXiv 2312.00886): ``π ← π^{ητ} exp(η P π^{ητ})/Z``;
- IPO-MD (Calandriello et al., arXiv 2403.08635): gradient steps on the IPO loss of pairs drawn from π^λ, sampling not
  differentiated: ``θ_k ← θ_k − 4η m_k [h_k − E_m h − ((P m)_k − ½)/τ]``, ``m = π^λ``; at λ = 0 this is online IPO.

What stands still satisfies ``h = P π^λ/τ + c`` (λ = ητ for Nash-MD): the equilibrium at λ = 0, and next to it by O(λ).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import log_softmax

from gpo_analysis.arrays import FloatArray
from gpo_analysis.preferences.labels import common_items
from gpo_analysis.preferences.validation import check_distribution, check_positive, check_preference, check_probability
from gpo_analysis.showing import Shown
from gpo_analysis.showing.charts import MOST_CURVES, Panel, lines


@dataclass(frozen=True, eq=False)
class SelfPlay(Shown):
    """Iterates of a method of self-play.

    Attributes
    ----------
    policies : array, shape (steps + 1, n)
        From πref on.
    residual : float
        ``max_k |h_k − (P π^λ)_k/τ|`` at the end, both centred by the mixture π^λ: 0 at the method's fixed point.
    """

    policies: FloatArray
    residual: float

    def _facts(self) -> list[tuple[str, Any]]:
        return [("steps", len(self.policies) - 1), ("distance from the fixed point", self.residual)]

    def _columns(self) -> Mapping[str, Any]:
        return {"step": np.arange(len(self.policies)), **{f"policy_{k + 1}": p for k, p in enumerate(self.policies.T)}}

    def _panel(self) -> Panel:
        parts = {f"y{k + 1}": p for k, p in enumerate(self.policies.T[:MOST_CURVES])}
        drawn = lines("self-play from πref on", "step", "probability", np.arange(len(self.policies)), parts)
        return replace(drawn, ylim=(-0.03, 1.03))


def self_play(
    preference: ArrayLike,
    reference: ArrayLike,
    tau: float,
    *,
    method: Literal["nash_md", "ipo_md"] = "nash_md",
    rate: float,
    steps: int,
    mixing: float = 0.0,
) -> SelfPlay:
    """Iterate Nash-MD or IPO-MD from πref.

    Parameters
    ----------
    preference : array, shape (n, n)
    reference : array, shape (n,)
        Above 0.
    tau : float
        Strength of the penalty, as in :func:`gpo_analysis.tabular.nash_policy`; squared's β is 2τ.
    method : {"nash_md", "ipo_md"}
    rate : float
        η; for Nash-MD at most 1/τ.
    steps : int
    mixing : float
        λ of IPO-MD, in [0, 1]; Nash-MD's is ητ.

    Raises
    ------
    ValueError
        For an unknown method, a rate beyond 1/τ, a mixing given to Nash-MD, no steps, bad distributions.

    Examples
    --------
    >>> run = self_play([[0.5, 1.0], [0.0, 0.5]], [0.5, 0.5], 0.5, method="ipo_md", rate=0.2, steps=200)
    >>> bool(np.isclose(run.policies[-1, 0], 1 / (1 + np.exp(-1.0))))
    True
    """
    items = common_items(None, preference, reference)
    matrix = check_preference(preference, items=items)
    ref = check_distribution(reference, "reference", matrix.shape[-1:], positive=True, items=items)
    strength, eta = check_positive(tau, "tau"), check_positive(rate, "rate")
    if method not in ("nash_md", "ipo_md"):
        raise ValueError(f"method must be nash_md or ipo_md, got {method!r}")
    if int(steps) != steps or steps < 1:
        raise ValueError(f"steps must be a whole number of at least 1, got {steps!r}")
    if method == "nash_md" and (mixing or eta * strength > 1):
        raise ValueError(f"nash_md takes no mixing and a rate of at most 1/tau, got {mixing!r} and {rate!r}")
    share = eta * strength if method == "nash_md" else check_probability(mixing, "mixing")
    log_ref = np.log(ref)
    theta, kept = log_ref.copy(), [ref]
    for _ in range(int(steps)):
        log_mixture = log_softmax((1 - share) * theta + share * log_ref)
        mixture = np.exp(log_mixture)
        if method == "nash_md":
            theta = log_softmax(log_mixture + eta * (matrix @ mixture))
        else:
            h, gain = theta - log_ref, (matrix @ mixture - 0.5) / strength
            theta = log_softmax(theta - 4 * eta * mixture * (h - mixture @ h - gain))
        kept.append(np.exp(theta))
    mixture = np.exp(log_softmax((1 - share) * theta + share * log_ref))
    gap = theta - log_ref - matrix @ mixture / strength
    return SelfPlay(np.stack(kept), float(np.abs(gap - mixture @ gap).max()))
