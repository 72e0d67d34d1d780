r"""Training with the margin ``β [g(t_i) − g(t_j)]``, ``t = π/πref``, for any link g (arXiv 2309.16240, 2407.13399).

On μ's support the *optimum* is that of the logarithm in other coordinates: the fitted u, with ``β g(t_i) = u_i + c``,
does not depend on g (``problem.solve(loss, β, link=…)``). Off the support the loss says nothing of π, not even how
much mass is there: for every mass below one some c gives the same loss. So it is the optimiser that decides. With
``e_i = g′(t_i) t_i`` (1 for the logarithm), gradient flow on softmax logits is ::

    dθ_k/dt = −β Σ_ij w_ij f′(z_ij) [e_i (δ_ik − π_k) − e_j (δ_jk − π_k)],

and off the support, where only −π_k is left of the brackets,

    dθ_k/dt = β π_k Σ_ij w_ij f′(z_ij) (e_i − e_j).

It is 0 for the logarithm: logits off the support never move, and as the logits' sum is conserved, the mass there is
known in closed form (:func:`off_support_mass`). Where e grows with t (χPO: t + 1) winners have the larger e, f′ < 0,
and the logits off the support fall; where it shrinks (forward KL: 1/t; Jensen–Shannon: 1/(1 + t); α: t^−α) they rise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp
from scipy.special import log_softmax, logsumexp

from gpo_analysis.arrays import FloatArray
from gpo_analysis.divergences import GeneratorDerivative, get_link
from gpo_analysis.losses import MarginLoss, get_margin_loss
from gpo_analysis.losses.shape import shape_of
from gpo_analysis.preferences.validation import as_floats, check_positive
from gpo_analysis.showing import Shown
from gpo_analysis.showing.charts import MOST_CURVES, Panel, lines
from gpo_analysis.tabular.problem import PreferenceProblem


def link_gradient(
    logits: FloatArray,
    problem: PreferenceProblem,
    loss: MarginLoss | str,
    beta: float,
    link: str | GeneratorDerivative = "reverse_kl",
) -> FloatArray:
    """Gradient of ``E f(β [g(t_i) − g(t_j)])`` in the logits of a softmax policy.

    Parameters
    ----------
    logits : array, shape (n,)
    problem : PreferenceProblem
        Without contexts.
    loss, beta, link : as of :meth:`PreferenceProblem.solve`

    Returns
    -------
    array, shape (n,)
        It sums to zero.

    Raises
    ------
    ValueError
        For a problem with contexts, a bad β, an unknown loss or link.

    Examples
    --------
    >>> problem = PreferenceProblem([[0.5, 1.0], [0.0, 0.5]])
    >>> link_gradient(np.zeros(2), problem, "dpo", 1.0).round(4), link_gradient(np.zeros(2), problem, "dpo", 1.0, "chi")
    (array([-0.25,  0.25]), array([-0.5,  0.5]))
    """
    if problem.is_batch:
        raise ValueError("link_gradient needs a problem without contexts")
    scale, chosen = check_positive(beta, "beta"), get_link(link)
    f = get_margin_loss(loss)
    pairs = problem.directed_pairs()
    i, j, weight = pairs.winner, pairs.loser, pairs.weight
    log_pi = log_softmax(as_floats(logits, "logits"))
    s = log_pi - np.log(problem.reference)
    with np.errstate(over="ignore"):  # forward KL where a response has lost nearly all its mass: −1/t → −∞
        g, e = chosen.of_log(s), chosen.derivative(np.exp(s)) * np.exp(s)
    pull = weight * f.derivative(scale * (g[i] - g[j]))
    found = np.bincount(i, pull * e[i], minlength=problem.n) - np.bincount(j, pull * e[j], minlength=problem.n)
    return np.asarray(scale * (found - np.exp(log_pi) * float(pull @ (e[i] - e[j]))))


@dataclass(frozen=True, eq=False)
class LinkFlow(Shown):
    """A gradient flow on softmax logits, from πref on.

    Attributes
    ----------
    time : array, shape (k,)
    policies, logits : array, shape (k, n)
    gradient_norm : float
        At the end.
    status : str
        "finished" or "stopped"; `reason` has what the integrator said.
    reason : str
    """

    time: FloatArray
    policies: FloatArray
    logits: FloatArray
    gradient_norm: float
    status: str
    reason: str

    def _facts(self) -> list[tuple[str, Any]]:
        told = [("status", self.status), ("gradient norm at the end", self.gradient_norm)]
        return [*told, *([("reason", self.reason)] if self.reason else [])]

    def _columns(self) -> Mapping[str, Any]:
        return {"time": self.time, **{f"policy_{k + 1}": row for k, row in enumerate(self.policies.T)}}

    def _panel(self) -> Panel:
        after = self.time > 0
        parts = {f"y{k + 1}": row[after] for k, row in enumerate(self.policies.T[:MOST_CURVES])}
        drawn = lines(
            "gradient flow on the logits", "time of the flow", "probability", self.time[after], parts, log="x"
        )
        return replace(drawn, ylim=(-0.03, 1.03))


def link_flow(
    problem: PreferenceProblem,
    loss: MarginLoss | str,
    beta: float,
    link: str | GeneratorDerivative = "reverse_kl",
    *,
    duration: float,
    records: int = 50,
) -> LinkFlow:
    """``dθ/dt = −∇ E f(β [g(t_i) − g(t_j)])`` from ``θ = log πref``.

    By a method with step control that turns implicit where the flow is stiff.

    Parameters
    ----------
    problem, loss, beta, link : as of :func:`link_gradient`
    duration : float
        Above 0.
    records : int
        Times recorded, evenly spaced in log time after the start.

    Raises
    ------
    ValueError
        As :func:`link_gradient`, and for a loss with kinks (hinge): the flow slides along them, which no step control
        survives.

    Examples
    --------
    >>> problem = PreferenceProblem([[0.5, 0.8], [0.2, 0.5]])
    >>> run = link_flow(problem, "dpo", 1.0, "chi", duration=200.0)
    >>> bool(np.allclose(run.policies[-1], problem.solve("dpo", 1.0, link="chi").policy, atol=1e-6))
    True
    """
    end = check_positive(duration, "duration")
    f, chosen = get_margin_loss(loss), get_link(link)
    start = np.log(problem.reference)
    if shape_of(f).kinks:
        raise ValueError(f"{f.name} has kinks, on which its flow would slide; give a smooth neighbour of it")
    times = np.concatenate([[0.0], np.geomspace(1e-3 * end, end, max(int(records), 2) - 1)])
    found = solve_ivp(
        lambda _, theta: -link_gradient(theta, problem, f, beta, chosen), (0.0, end), start, method="LSODA",
        t_eval=times, rtol=1e-9, atol=1e-11,
    )  # fmt: skip
    logits = found.y.T
    status, reason = ("finished", "") if found.success else ("stopped", str(found.message))
    last = link_gradient(logits[-1], problem, f, beta, chosen)
    return LinkFlow(found.t, np.exp(log_softmax(logits, axis=1)), logits, float(np.linalg.norm(last)), status, reason)


def off_support_mass(u: FloatArray, reference: FloatArray, beta: float) -> float:
    """Mass that the logarithm's link leaves off μ's support after gradient flow on logits from πref.

    The logits' sum over the support is conserved and the others stand still, so that on the support
    ``θ_i = log πref_i + (u_i − ū)/β`` with ū the plain mean of u there.

    Parameters
    ----------
    u : array, shape (n,)
        Fitted ``β h`` on the support, up to a constant; NaN off it.
    reference : array, shape (n,)
    beta : float

    Examples
    --------
    >>> off_support_mass(np.array([1.0, 1.0, np.nan]), np.array([0.25, 0.25, 0.5]), 1.0)
    0.5
    """
    values, ref = as_floats(u, "u"), as_floats(reference, "reference")
    seen = np.isfinite(values)
    if values.shape != ref.shape or not seen.any():
        raise ValueError(f"u must have the reference's shape {ref.shape} and a finite entry, got {u!r:.80}")
    tilt = (values[seen] - values[seen].mean()) / check_positive(beta, "beta")
    inside, outside = logsumexp(tilt, b=ref[seen]), ref[~seen].sum()
    return float(outside / (outside + np.exp(inside)))
