"""What a loss really fits: the implicit reward ``g = β log π/πref``, whatever β; policies are read off it.

``E f(βρ)`` depends on β and π only through g, and a tabular policy can give g any value up to a constant. So the
minimisation knows neither β nor the link: it is done once, and each β has ``π ∝ πref e^{g/β}`` (Rafailov et al. 2023,
arXiv 2305.18290, where g is the implicit reward of DPO).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from gpo_analysis.arrays import FloatArray
from gpo_analysis.divergences import GeneratorDerivative, get_link
from gpo_analysis.losses.margin_loss import MarginLoss
from gpo_analysis.preferences.validation import check_positive
from gpo_analysis.relative_entropy import kl_from_log_ratio
from gpo_analysis.showing import Shown
from gpo_analysis.showing.charts import Panel, intervals
from gpo_analysis.solvers.minimum import Minimum, Status, described, nowhere
from gpo_analysis.solvers.optimum import optimise
from gpo_analysis.tabular.setting import Setting, weighted_pairs
from gpo_analysis.tabular.solution import Solution


@dataclass(frozen=True, eq=False)
class Fit(Shown):
    """The implicit reward that a loss fits to a problem.

    Attributes
    ----------
    problem : PreferenceProblem
    loss : str
        Its name.
    minima : tuple of Minimum, length m
        Of each context; one where the problem has none.

    Examples
    --------
    >>> import gpo_analysis as gpo
    >>> fit = gpo.PreferenceProblem([[0.5, 0.8], [0.2, 0.5]]).fit("squared")
    >>> fit.reward, str(fit.status), fit.policy(beta=1.0).round(4)
    (array([ 0.3, -0.3]), 'optimum', array([0.6457, 0.3543]))
    """

    problem: Setting
    loss: str
    minima: tuple[Minimum, ...]

    @cached_property
    def reward(self) -> FloatArray:
        """``g = βh``, centred, shape (n,) or (m, n); NaN where there is no finite or no unique optimum."""
        rows = [one.reward if one.converged else nowhere(self.problem.n) for one in self.minima]
        return np.stack(rows).reshape(self.problem.shape)

    @cached_property
    def minimiser(self) -> FloatArray | None:
        """`reward`, or where the minimum is attained by many the g of least norm; None where no context has either."""
        rows = [one.minimiser for one in self.minima]
        if all(row is None for row in rows):
            return None
        return np.stack([nowhere(self.problem.n) if row is None else row for row in rows]).reshape(self.problem.shape)

    @property
    def converged(self) -> bool:
        """Whether `reward` is the answer in every context."""
        return all(one.converged for one in self.minima)

    @property
    def status(self) -> Status:
        """The status, with contexts the worst of theirs."""
        if len(self.minima) == 1:
            return self.minima[0].status
        order = list(Status)
        return min((one.status for one in self.minima), key=order.index)

    @property
    def reason(self) -> str:
        """What is to be said of this problem beside the status; with contexts of the first that has it."""
        if len(self.minima) == 1 or self.status is Status.OPTIMUM:
            return self.minima[0].reason if len(self.minima) == 1 else ""
        worst = [c for c, one in enumerate(self.minima) if one.status is self.status]
        others = f" (and {len(worst) - 1} more contexts)" if len(worst) > 1 else ""
        return f"context {worst[0]}{others}: {self.minima[worst[0]].reason}"

    @property
    def value(self) -> float:
        """``E f`` at the minimum, averaged over contexts; the infimum where it is not attained."""
        if len(self.minima) == 1:
            return self.minima[0].value
        return average(self.problem.shares(), np.array([one.value for one in self.minima]))

    @property
    def error(self) -> float:
        """Estimated largest error of `reward`, the largest of any context."""
        return max(one.error for one in self.minima)

    @property
    def iterations(self) -> int:
        """Newton steps, the most of any context."""
        return max(one.iterations for one in self.minima)

    @property
    def margins(self) -> FloatArray:
        """``βρ``, the argument of f, of each pair of ``problem.directed_pairs()``, shape (k,)."""
        return self.problem.directed_pairs().margins(np.atleast_2d(self.reward))

    def log_ratio(self, beta: float, link: str | GeneratorDerivative = "reverse_kl") -> FloatArray:
        """``log π/πref`` at one β, shape (n,) or (m, n); NaN where there is no answer."""
        return self._log_ratio(self.reward, check_positive(beta, "beta"), get_link(link))

    def _log_ratio(self, reward: FloatArray, beta: float, link: GeneratorDerivative) -> FloatArray:
        rows = zip(np.atleast_2d(over(reward, beta)), np.atleast_2d(self.problem.reference), strict=True)
        return np.stack([_log_ratio(u, reference, link) for u, reference in rows]).reshape(self.problem.shape)

    def policy(self, beta: float, link: str | GeneratorDerivative = "reverse_kl") -> FloatArray:
        """The policy at one β, ``πref e^{g/β}/Z`` for the log link, shape (n,) or (m, n); NaN without an answer.

        Examples
        --------
        >>> import gpo_analysis as gpo
        >>> fit = gpo.PreferenceProblem([[0.5, 0.8], [0.2, 0.5]]).fit("logistic")
        >>> fit.policy(1.0), fit.policy(0.5).round(4)
        (array([0.8, 0.2]), array([0.9412, 0.0588]))
        """
        return np.asarray(np.exp(np.log(self.problem.reference) + self.log_ratio(beta, link)))

    def kl(self, beta: ArrayLike) -> FloatArray:
        """``KL(π‖πref) = Σ π h`` in nats at each β for the log link, averaged over contexts; the shape of `beta`."""
        betas = np.asarray(beta, dtype=np.float64)
        total = np.zeros(betas.shape)
        rows = zip(self.problem.shares(), self.minima, np.atleast_2d(self.problem.reference), strict=True)
        for share, found, reference in rows:
            if share == 0:
                continue
            if not found.converged:
                return np.full(betas.shape, np.nan)
            total = total + share * tilted_kl(over(found.reward, betas[..., None]), reference)
        return np.asarray(total)

    def half_square(self, beta: float) -> float:
        """½E[ρ²] at one β for the log link, averaged over contexts; NaN where a context has no answer."""
        h = np.atleast_2d(over(self.reward, beta))  # the constant that normalises π cancels in ρ
        return average(self.problem.shares(), half_square(self.problem, h))

    def solution(self, beta: float, link: str | GeneratorDerivative = "reverse_kl") -> Solution:
        """The policy at one β with its numbers.

        Parameters
        ----------
        beta : float
            Finite and above 0.
        link : str or GeneratorDerivative
            See :mod:`gpo_analysis.divergences`.
        """
        scale, chosen, problem = check_positive(beta, "beta"), get_link(link), self.problem
        h = np.atleast_2d(self._log_ratio(self.reward, scale, chosen))
        policy = np.exp(np.log(np.atleast_2d(problem.reference)) + h)
        kl, squared = kl_from_log_ratio(policy, h, np.atleast_2d(problem.reference)), half_square(problem, h)
        many = any(one.status is Status.NOT_UNIQUE for one in self.minima)
        representative = self.minimiser if many else None
        shares = problem.shares()
        return Solution(
            loss=self.loss,
            beta=scale,
            link=chosen.name,
            policy=policy.reshape(problem.shape),
            log_ratio=h.reshape(problem.shape),
            population_loss=self.value,
            kl=average(shares, kl),
            mu_squared_loss=average(shares, squared),
            converged=self.converged,
            status=self.status,
            reason=self.reason,
            representative=None if representative is None else self._log_ratio(representative, scale, chosen),
            margins=self.margins,
            iterations=self.iterations,
            error=self.error,
            kl_per_context=kl,
            mu_squared_loss_per_context=squared,
            loss_per_context=np.array([one.value for one in self.minima]),
            status_per_context=tuple(one.status for one in self.minima),
            reason_per_context=tuple(one.reason for one in self.minima),
            items=problem.items,
            reference=problem.reference,
        )

    def _facts(self) -> list[tuple[str, Any]]:
        return [
            ("loss", self.loss), ("status", described(self.status, self.reason)), ("E f", self.value),
            ("Newton steps", self.iterations), ("estimated error", self.error),
        ]  # fmt: skip

    def _columns(self) -> Mapping[str, Any]:
        """A row a response (and context): item, reference, reward."""
        contexts = len(np.atleast_2d(self.reward))
        rows: dict[str, Any] = {"item": np.tile(np.array(self.problem.items, dtype=object), contexts)}
        if contexts > 1:
            rows = {"context": np.repeat(np.arange(contexts), self.problem.n), **rows}
        return rows | {"reference": np.ravel(self.problem.reference), "reward": np.ravel(self.reward)}

    def _panel(self) -> Panel:
        reward, contexts = np.atleast_2d(self.reward)[0], len(self.minima)
        title = f"what {self.loss} fits" + (f", in the first of {contexts} contexts" if contexts > 1 else "")
        return intervals(title, "implicit reward g = β log π/πref  [nats]", self.problem.items, reward)


def fitted(problems: Sequence[Setting], losses: Sequence[MarginLoss]) -> list[Fit]:
    """Fit each loss to each problem, all problems in one vectorised iteration; in the order problem, loss."""
    groups = weighted_pairs(problems)
    flat = [pairs for group in groups for pairs in group]
    columns = [(loss.name, iter(optimise(flat, loss))) for loss in losses]
    return [
        Fit(problem, name, tuple(next(minima) for _ in group))
        for problem, group in zip(problems, groups, strict=True)
        for name, minima in columns
    ]


def tilted_kl(u: FloatArray, reference: FloatArray, largest: FloatArray | None = None) -> FloatArray:
    """KL(π‖πref) of ``π ∝ πref e^u`` along the last axis, whose largest u may be given; u is overwritten."""
    u -= u.max(axis=-1, keepdims=True) if largest is None else largest
    mass = np.exp(u)
    mass *= reference
    total = mass.sum(axis=-1, keepdims=True)
    mass /= total
    u -= np.log(total)
    return kl_from_log_ratio(mass, u, reference)


def over(reward: FloatArray, beta: float | FloatArray) -> FloatArray:
    """``g/β``; a ValueError where β is so small that a float cannot hold it."""
    with np.errstate(over="ignore"):
        ratio = np.asarray(reward / beta)
        largest = np.fmax.reduce(np.abs(reward), axis=None)
        too_far = np.isinf(2.0 * largest / np.min(beta))  # differences too must be held
    if too_far and not np.isinf(reward).any():
        least = 2.0 * float(largest) / np.finfo(np.float64).max
        raise ValueError(f"beta is {float(np.min(beta)):g}; log-ratios g/β need one above {least:.3g} to fit a float")
    return ratio


def _tilted(u: FloatArray, reference: FloatArray) -> FloatArray:
    """``u − log Σ πref e^u`` over the last axis; the largest u goes first, or beyond 1e16 it would swallow log πref."""
    below = u - u.max(axis=-1, keepdims=True)
    return np.asarray(below - logsumexp(below, b=reference, axis=-1, keepdims=True))


def _log_ratio(u: FloatArray, reference: FloatArray, link: GeneratorDerivative) -> FloatArray:
    """``log π/πref`` of the policy with ``g(π/πref) = u`` up to a constant; for g = log, ``u − log Σ πref e^u``."""
    if not np.isfinite(u).all():
        return nowhere(len(u))
    if link.name == "reverse_kl":
        return _tilted(u, reference)
    return link.log_ratio(u, reference)


def half_square(problem: Setting, h: FloatArray) -> FloatArray:
    """½ E[ρ²] of each context, shape (m,): Var_μ(h), or over the observed pairs."""
    if problem.is_sparse:
        pairs = problem.directed_pairs()
        return np.asarray(0.5 * (pairs.margins(h) ** 2 @ pairs.weight))[None]
    return spread(np.atleast_2d(problem.behavior), h)


def spread(mu: FloatArray, h: FloatArray) -> FloatArray:
    """Var_μ(h) along the last axis."""
    mean = np.sum(mu * h, axis=-1, keepdims=True)
    with np.errstate(over="ignore"):  # beyond what a float holds it is inf
        return np.asarray(np.sum(mu * (h - mean) ** 2, axis=-1))


def average(shares: FloatArray, values: FloatArray) -> float:
    """Mean over contexts; a context that never occurs does not count, whatever its value."""
    return float(np.sum(shares[shares > 0] * values[shares > 0]))
