"""The optimum of a loss of two log-ratios on a preference problem, a policy at each β.

``E F(βh_w, βh_l)`` changes with a constant added to h = log π/πref, so that Σπ = 1 takes part and β does not factor
out: nothing like the implicit reward of a margin loss serves every β. Two equal draws give ``F(βh_i, βh_i)``, which
pulls h_i to where F(s, s) is least; a margin loss has f(0) there.
"""

from __future__ import annotations

import numpy as np

from gpo_analysis.arrays import FloatArray
from gpo_analysis.divergences import GeneratorDerivative, get_link
from gpo_analysis.losses import Loss, TwoRatioLoss, get_margin_loss
from gpo_analysis.preferences.validation import check_positive
from gpo_analysis.relative_entropy import kl_from_log_ratio
from gpo_analysis.solvers.minimum import Status
from gpo_analysis.solvers.simplex import SimplexMinimum, minimise_on_simplex
from gpo_analysis.tabular.implicit_reward import average, fitted, half_square
from gpo_analysis.tabular.setting import Setting
from gpo_analysis.tabular.solution import Solution


def solved(problem: Setting, loss: Loss, beta: float, link: str | GeneratorDerivative = "reverse_kl") -> Solution:
    """:meth:`PreferenceProblem.solve` of a loss of which all has been said that is to be said."""
    if isinstance(loss, TwoRatioLoss) and loss.margin_loss is None:
        return solve_two_ratio(problem, loss, beta, link)
    return fitted([problem], [get_margin_loss(loss)])[0].solution(beta, link)


def solve_two_ratio(
    problem: Setting, loss: TwoRatioLoss, beta: float, link: str | GeneratorDerivative = "reverse_kl"
) -> Solution:
    """The policy of full support that minimises ``E F(βh_w, βh_l)``; see :meth:`PreferenceProblem.solve`.

    Parameters
    ----------
    problem : PreferenceProblem
    loss : TwoRatioLoss
    beta : float
    link : str or GeneratorDerivative
        "reverse_kl" alone.

    Raises
    ------
    ValueError
        For another link, or β that is not a finite number above 0.

    Examples
    --------
    Likelihood of the chosen alone: the policy is the share of the wins.

    >>> import gpo_analysis as gpo
    >>> games = gpo.Comparisons.from_pairs([("a", "b", 3), ("b", "a", 1)])
    >>> gpo.PreferenceProblem.from_comparisons(games).solve("sft", beta=1.0).policy.round(6)
    array([0.75, 0.25])
    """
    scale, chosen = check_positive(beta, "beta"), get_link(link)
    if chosen.name != "reverse_kl":
        raise ValueError(
            f"link is {chosen.name!r} with {loss.name}: the term β log Z of other divergences cancels in margins, "
            "so that a loss of two log-ratios takes 'reverse_kl'"
        )
    minima = _minima(problem, loss, scale)
    h = np.stack([one.log_policy for one in minima]) - np.log(np.atleast_2d(problem.reference))
    limit = np.exp(np.stack([one.log_policy for one in minima])).reshape(problem.shape)
    answered = np.array([one.status.is_answer for one in minima])
    shown = np.where(answered[:, None], h, np.nan)
    policy = np.exp(np.log(np.atleast_2d(problem.reference)) + shown)
    kl = kl_from_log_ratio(policy, shown, np.atleast_2d(problem.reference))
    squared = half_square(problem, shown)
    shares = problem.shares()
    values = np.array([one.value for one in minima])
    order = list(Status)
    status = min((one.status for one in minima), key=order.index)
    many = any(one.status is Status.NOT_UNIQUE for one in minima)
    return Solution(
        loss=loss.name,
        beta=scale,
        link=chosen.name,
        policy=policy.reshape(problem.shape),
        log_ratio=shown.reshape(problem.shape),
        population_loss=average(shares, values),
        kl=average(shares, kl),
        mu_squared_loss=average(shares, squared),
        converged=bool(answered.all()),
        status=status,
        reason=_reason(minima, status),
        representative=h.reshape(problem.shape) if many else None,
        margins=scale * problem.directed_pairs().margins(shown),
        iterations=max(one.iterations for one in minima),
        error=max(one.error for one in minima),
        kl_per_context=kl,
        mu_squared_loss_per_context=squared,
        loss_per_context=values,
        status_per_context=tuple(one.status for one in minima),
        reason_per_context=tuple(one.reason for one in minima),
        items=problem.items,
        reference=problem.reference,
        gap=max(one.gap for one in minima),
        pull=average(shares, np.array([one.pull for one in minima])),
        limit=limit,
    )


def _reason(minima: list[SimplexMinimum], status: Status) -> str:
    if len(minima) == 1:
        return minima[0].reason
    worst = [c for c, one in enumerate(minima) if one.status is status]
    reason = minima[worst[0]].reason
    if not reason:
        return ""
    others = f" (and {len(worst) - 1} more contexts)" if len(worst) > 1 else ""
    return f"context {worst[0]}{others}: {reason}"


def _minima(problem: Setting, loss: TwoRatioLoss, beta: float) -> list[SimplexMinimum]:
    pairs, own, shares = problem.directed_pairs(), problem.diagonal_weights(), problem.shares()
    found = []
    for context, reference in enumerate(np.atleast_2d(problem.reference)):
        here = pairs.context == context
        same = np.flatnonzero(own[context])
        first = np.concatenate([pairs.winner[here], same])
        second = np.concatenate([pairs.loser[here], same])
        weight: FloatArray = np.concatenate([pairs.weight[here], own[context][same]])
        if not len(weight):  # a context that never occurs
            weight, first, second = np.ones(1), np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64)
        share = float(shares[context]) if shares[context] > 0 else 1.0
        found.append(minimise_on_simplex(loss, beta, reference, first, second, weight / share, problem.items))
    return found
