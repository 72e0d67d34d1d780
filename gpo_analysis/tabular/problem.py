"""A preference problem over a finite set of responses: who is preferred, who is sampled, what is the reference.

Array conventions of this package: n responses, m contexts (prompts). Preferences ``(n, n)`` or ``(m, n, n)``,
distributions over responses ``(n,)`` or ``(m, n)``. ``h = log π/πref``, ``ρ = h_i − h_j``, ``g = βh``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gpo_analysis.arrays import FloatArray
from gpo_analysis.divergences import GeneratorDerivative
from gpo_analysis.losses import Loss, TwoRatioLoss, get_loss, get_margin_loss, warn_of_rising
from gpo_analysis.preferences.checks import check_comparisons
from gpo_analysis.preferences.comparisons import Comparisons
from gpo_analysis.preferences.item_names import checked_items
from gpo_analysis.preferences.labels import common_items, in_order
from gpo_analysis.preferences.pairs import DirectedPairs
from gpo_analysis.preferences.validation import as_floats, check_distribution, check_positive, check_preference
from gpo_analysis.showing import Panel, Shown
from gpo_analysis.tabular import problem_view
from gpo_analysis.tabular.implicit_reward import Fit, fitted
from gpo_analysis.tabular.setting import pair_weights
from gpo_analysis.tabular.solution import Solution
from gpo_analysis.tabular.two_ratio import solved


@dataclass(frozen=True, eq=False)
class PreferenceProblem(Shown):
    """Preferences among n responses, the behaviour policy μ that draws the pairs, and the reference policy πref.

    Parameters
    ----------
    preference : array, shape (n, n) or (m, n, n)
        ``P[i, j] = p(i ≻ j)`` in [0, 1], ``P[i, j] + P[j, i] = 1``. With a first axis: one matrix a context (prompt).
    behavior : array, shape (n,) or (m, n), optional
        μ: non-negative, summing to one; a pair is two independent draws. Uniform by default.
    reference : array, shape (n,) or (m, n), optional
        πref: above zero, summing to one. Uniform by default.
    context_weights : array, shape (m,), optional
        How often each context occurs; uniform by default, only with contexts.
    items : sequence of str, optional
        The responses' names; by default the labels of a DataFrame or Series, which is put in their order.
    comparisons : Comparisons, optional
        Instead of preference and behavior: see :meth:`from_comparisons`.

    Raises
    ------
    ValueError
        At construction, naming the bad value, its place and what is accepted.

    Examples
    --------
    >>> import gpo_analysis as gpo
    >>> problem = PreferenceProblem(gpo.bradley_terry([0.0, 1.0, 2.0]))
    >>> problem
    PreferenceProblem(3 responses)
    >>> pairs = problem.directed_pairs()
    >>> len(pairs), round(float(pairs.weight.sum() + pairs.diagonal_mass), 12)
    (6, 1.0)
    """

    preference: FloatArray | None
    behavior: FloatArray
    reference: FloatArray
    context_weights: FloatArray | None
    items: tuple[str, ...]
    comparisons: Comparisons | None

    def __init__(
        self,
        preference: ArrayLike | None,
        behavior: ArrayLike | None = None,
        reference: ArrayLike | None = None,
        context_weights: ArrayLike | None = None,
        items: Sequence[str] | None = None,
        *,
        comparisons: Comparisons | None = None,
    ) -> None:
        shape: tuple[int, ...]
        if comparisons is not None:
            if preference is not None or behavior is not None or context_weights is not None:
                raise ValueError(
                    "observed comparisons bring their own pair weights: give no preference, behavior "
                    "or context_weights beside them"
                )
            matrix, observed = None, check_comparisons(comparisons).aggregated()
            shape = (observed.n,)
            share = np.bincount(observed.winner, weights=observed.count, minlength=observed.n)
            share = share + np.bincount(observed.loser, weights=observed.count, minlength=observed.n)
            mu, items = share / share.sum(), observed.items
        else:
            if preference is None:
                raise ValueError("preference is missing; accepted are an (n, n) or (m, n, n) array, or comparisons=")
            items = common_items(items, preference, behavior, reference)
            matrix, observed = check_preference(preference, items=items), None
            if matrix.ndim > 3:
                raise ValueError(f"preference must have shape (n, n) or (m, n, n), got {matrix.shape}")
            shape = matrix.shape[:-1]
            mu = _distribution(behavior, "behavior", shape, items=items)
        n = shape[-1]
        weights = None
        if len(shape) == 2:
            weights = _distribution(context_weights, "context_weights", (shape[0],))
        elif context_weights is not None:
            raise ValueError(f"context_weights need a preference of shape (m, n, n), got {(*shape, n)}")
        names = checked_items(items, n)
        ref = _distribution(reference, "reference", shape, positive=True, items=items)
        for array in (matrix, mu, ref, weights):
            if array is not None:
                array.flags.writeable = False
        object.__setattr__(self, "preference", matrix)
        object.__setattr__(self, "behavior", mu)
        object.__setattr__(self, "reference", ref)
        object.__setattr__(self, "context_weights", weights)
        object.__setattr__(self, "items", names)
        object.__setattr__(self, "comparisons", observed)

    @classmethod
    def from_comparisons(cls, comparisons: Comparisons, reference: ArrayLike | None = None) -> PreferenceProblem:
        """The empirical problem: the loss averages over the observed comparisons, each with its count's share.

        Pairs stay sparse: only those compared take room. `behavior` is then each item's share of the appearances, and
        ``½E[ρ²]`` is over the observed pairs.

        Parameters
        ----------
        comparisons : Comparisons
        reference : array, shape (n,), optional
            πref in the order of ``comparisons.items``; uniform by default.

        Examples
        --------
        >>> games = Comparisons.from_pairs([("a", "b", 3), ("b", "a", 1)])
        >>> PreferenceProblem.from_comparisons(games).directed_pairs().weight
        array([0.75, 0.25])
        """
        return cls(None, reference=reference, comparisons=check_comparisons(comparisons))

    @property
    def n(self) -> int:
        """Number of responses."""
        return int(self.reference.shape[-1])

    @property
    def contexts(self) -> int:
        """Number of contexts; 1 where the arrays have no context axis."""
        return 1 if self.reference.ndim == 1 else int(self.reference.shape[0])

    @property
    def is_batch(self) -> bool:
        """Whether the arrays have a context axis: (m, n) rather than (n,)."""
        return self.reference.ndim == 2

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a policy: (n,), or (m, n) with contexts."""
        return self.reference.shape

    @property
    def is_sparse(self) -> bool:
        """Whether the pairs are observed comparisons."""
        return self.comparisons is not None

    def directed_pairs(self) -> DirectedPairs:
        """The pairs with a weight above zero: see :class:`DirectedPairs`. Computed once, shared by all callers."""
        return self._pairs

    @cached_property
    def _pairs(self) -> DirectedPairs:
        if self.comparisons is not None:
            seen = self.comparisons
            context = np.zeros(len(seen.winner), dtype=np.int64)
            return DirectedPairs(context, seen.winner, seen.loser, seen.count / seen.total, 0.0)
        weights = self.pair_weights() * self.shares()[:, None, None]
        context, winner, loser = np.nonzero(weights)
        mu = np.atleast_2d(self.behavior)
        return DirectedPairs(
            context, winner, loser, weights[context, winner, loser], float(self.shares() @ np.sum(mu**2, axis=-1))
        )

    def shares(self) -> FloatArray:
        """Weights of the contexts, shape (m,); ``[1.]`` without contexts."""
        return np.ones(1) if self.context_weights is None else self.context_weights

    def pair_weights(self) -> FloatArray:
        """Dense weights of the ordered pairs, shape (m, n, n): ``2 μ_i μ_j P_ij`` off the diagonal, 0 on it.

        Within each context they sum to ``1 − Σμ²``; for observed comparisons to 1.
        """
        if self.comparisons is not None:
            pairs = self._pairs
            table = np.zeros((1, self.n, self.n))
            table[0, pairs.winner, pairs.loser] = pairs.weight
            return table
        assert self.preference is not None
        return pair_weights(self.preference.reshape(-1, self.n, self.n), np.atleast_2d(self.behavior))

    def diagonal_weights(self) -> FloatArray:
        """Weights of the draws of twice the same response, shape (m, n): ``μ_i²`` times the context's weight.

        A margin loss has ρ = 0 there; F(a, b) of two log-ratios is ``F(βh_i, βh_i)``. Observed comparisons have none.
        """
        if self.comparisons is not None:
            return np.zeros((1, self.n))
        return np.atleast_2d(self.behavior) ** 2 * self.shares()[:, None]

    def log_ratio(self, policy: ArrayLike) -> FloatArray:
        """``h = log π/πref`` of a policy of shape (..., n) or (..., m, n).

        Raises
        ------
        ValueError
            For a policy that is not a distribution above zero, or of another shape.
        """
        checked = check_distribution(policy, "policy", positive=True, items=self.items)
        if checked.shape[-len(self.shape) :] != self.shape:
            raise ValueError(f"policy must have shape (..., {str(self.shape).strip('(,)')}), got {checked.shape}")
        return np.asarray(np.log(checked) - np.log(self.reference))

    def population_loss(self, policy: ArrayLike, loss: Loss | str, beta: float) -> float | FloatArray:
        """``E f(βρ)`` at a policy: ``2 Σ_ij μ_i μ_j P_ij f(β (h_i − h_j))``, f(0) at π = πref (arXiv 2402.05749).

        Of a loss of two log-ratios ``E F(βh_w, βh_l)``, draws of twice the same response with ``F(βh_i, βh_i)``.

        Parameters
        ----------
        policy : array, shape (..., n) or (..., m, n)
            Above zero, summing to one; leading axes (a trajectory) are kept.
        loss : MarginLoss, TwoRatioLoss or str
        beta : float
            Above 0.

        Returns
        -------
        float, or an array of the leading axes' shape

        Examples
        --------
        >>> import gpo_analysis as gpo
        >>> problem = PreferenceProblem(gpo.bradley_terry([0.0, 1.0]))
        >>> round(problem.population_loss([0.5, 0.5], "logistic", 0.1), 6)
        0.693147
        """
        return self.loss_at(self.log_ratio(policy), loss, beta)

    def loss_at(self, log_ratio: ArrayLike, loss: Loss | str, beta: float) -> float | FloatArray:
        """``E f(βρ)`` at log-ratios h of shape (..., n) or (..., m, n); a constant added to h changes nothing.

        A loss of two log-ratios is taken at h as it is: there a constant does change it.

        Raises
        ------
        ValueError
            For log-ratios that are not finite or of another shape, or β ≤ 0.
        """
        f = get_loss(loss)
        scale = check_positive(beta, "beta")
        h = as_floats(in_order(log_ratio, "log_ratio", self.items), "log_ratio")
        if h.shape[-len(self.shape) :] != self.shape or not np.isfinite(h).all():
            raise ValueError(f"log_ratio must be finite, of shape (..., {str(self.shape).strip('(,)')}), got {h.shape}")
        lead = h.shape[: h.ndim - len(self.shape)]
        pairs = self._pairs
        table = scale * h.reshape(*lead, self.contexts, self.n)
        if isinstance(f, TwoRatioLoss):
            chosen, rejected = (table[..., pairs.context, end] for end in (pairs.winner, pairs.loser))
            own = np.sum(self.diagonal_weights() * f(table, table), axis=(-2, -1))
            found = np.asarray(f(chosen, rejected) @ pairs.weight + own, dtype=np.float64)
            return float(found) if not lead else found
        values = f(pairs.margins(table))
        total = np.asarray(values @ pairs.weight, dtype=np.float64)
        if pairs.diagonal_mass:
            total = total + pairs.diagonal_mass * float(f(np.zeros(())))
        return float(total) if not lead else np.asarray(total, dtype=np.float64)

    def fit(self, loss: Loss | str) -> Fit:
        """What a margin loss really fits: the implicit reward ``g = β log π/πref``, whatever β.

        Parameters
        ----------
        loss : MarginLoss or str
            A loss of two log-ratios is refused: what it fits depends on β, and :meth:`solve` has it.

        Returns
        -------
        Fit
            ``reward`` of shape (n,) or (m, n), centred, with ``status``, ``reason``, ``value`` and ``error``; the
            policy at any β is ``fit.policy(beta)``. For many problems at once see :func:`gpo_analysis.fit`.

        Examples
        --------
        >>> fit = PreferenceProblem([[0.5, 0.8], [0.2, 0.5]]).fit("logistic")
        >>> fit.reward.round(4), fit.status.value
        (array([ 0.6931, -0.6931]), 'optimum')
        """
        f = get_margin_loss(loss)
        warn_of_rising([f])
        return fitted([self], [f])[0]

    def solve(self, loss: Loss | str, beta: float, *, link: str | GeneratorDerivative = "reverse_kl") -> Solution:
        """The policy of full support that minimises ``E f(β [g(t_i) − g(t_j)])``, ``t = π/πref`` (arXiv 2402.05749).

        A tabular policy can give ``β g(t)`` any value up to a constant, so neither β nor the link takes part in the
        minimisation: it is solved once in ``β g(t)`` (:meth:`fit`), exactly (Newton's method for smooth convex f, a
        linear program for piecewise linear f), and read off for the β and link in hand. With g = log the centred
        log-ratio is therefore proportional to 1/β.

        For a loss of two log-ratios Σπ = 1 takes part, and each β is a problem of its own: the minimum over policies is
        found by Newton's method in logits, with a certified `gap` for convex F (:mod:`gpo_analysis.solvers.simplex`);
        where that is not closed, and for other F, it is the best of several starts, a stationary point said to be
        local.

        Parameters
        ----------
        loss : MarginLoss, TwoRatioLoss or str
        beta : float
            Finite and above 0.
        link : str or GeneratorDerivative
            Of an f-divergence (see :mod:`gpo_analysis.divergences`); reverse KL, g = log, by default.

        Returns
        -------
        Solution
            `converged` is False, `status` and `reason` say why, and the policy is NaN, where the optimum is not finite
            or not unique.

        Raises
        ------
        ValueError
            For β that is not a finite number above 0, an unknown loss or link, and a link other than "reverse_kl" with
            a loss of two log-ratios (its term β log Z cancels in margins alone).

        Examples
        --------
        >>> problem = PreferenceProblem([[0.5, 0.8], [0.2, 0.5]])
        >>> problem.solve("squared", 1.0).log_ratio.round(4)
        array([ 0.2557, -0.3443])
        >>> sure = PreferenceProblem([[0.5, 1.0], [0.0, 0.5]])
        >>> sure.solve("logistic", 1.0).status.value
        'no finite optimum'
        """
        check_positive(beta, "beta")
        found = get_loss(loss)
        warn_of_rising([found])
        return solved(self, found, beta, link)

    def sample(self, size: int, *, seed: int) -> Comparisons:
        """Draw `size` labelled comparisons: a pair from μ (equal draws left out) and its label from P.

        Parameters
        ----------
        size : int
            At least 1.
        seed : int
            The same seed gives the same sample.

        Raises
        ------
        ValueError
            For a size below 1, a problem with contexts, or one whose μ never draws two different responses.
        """
        if int(size) != size or size < 1:
            raise ValueError(f"size must be a whole number of at least 1, got {size!r}")
        if self.is_batch:
            raise ValueError("sample needs a problem without contexts")
        pairs = self._pairs
        if not len(pairs):
            raise ValueError("behavior never draws two different responses, so there is nothing to compare")
        rng = np.random.default_rng(seed)
        drawn = rng.multinomial(int(size), pairs.weight / pairs.weight.sum())
        seen = drawn > 0
        return Comparisons(pairs.winner[seen], pairs.loser[seen], drawn[seen], items=self.items)

    def _facts(self) -> list[tuple[str, Any]]:
        return problem_view.facts(self)

    def _columns(self) -> dict[str, Any]:
        return problem_view.columns(self)

    def _panel(self) -> Panel:
        return problem_view.panel(self)

    def __repr__(self) -> str:
        if self.comparisons is not None:
            return f"PreferenceProblem({self.n} responses, {len(self._pairs)} observed ordered pairs)"
        return f"PreferenceProblem({self.n} responses" + (f", {self.contexts} contexts)" if self.is_batch else ")")


def _distribution(values: ArrayLike | None, name: str, shape: tuple[int, ...], **options: Any) -> FloatArray:
    return np.full(shape, 1.0 / shape[-1]) if values is None else check_distribution(values, name, shape, **options)
