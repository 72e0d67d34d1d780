r"""Optima of losses on responses with lengths: sums, means over tokens, and LD-DPO's weights.

A margin loss sees scores s only through differences, and a tabular policy can give s any value up to a constant.
With s_i = β(log π_i − κ_i)/c_i the optimum is therefore, for every f,

    π_i = exp(κ_i + c_i (g_i/β + t)),     Σπ = 1,                                                              (1)

g the implicit reward that f fits (:meth:`PreferenceProblem.fit`), the same for every β and every c. The left side of
Σπ = 1 grows with t, so that t is unique. Sums have c = 1 and κ = log πref; means over T_i tokens c = T (TRL's ``ipo``,
``sigmoid_norm``); SimPO's means without reference c = T and κ = 0. What is no difference of such scores (ORPO's
likelihood, LD-DPO's scores of a prefix) is minimised in logits at the nodes (:func:`descend_sequences`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sympy
from numpy.typing import ArrayLike
from scipy.sparse import csr_array, diags_array
from scipy.special import logsumexp

from gpo_analysis.arrays import FloatArray
from gpo_analysis.losses import CHOSEN, REJECTED, Loss, TwoRatioLoss, get_loss, get_margin_loss
from gpo_analysis.preferences.validation import as_floats, check_positive
from gpo_analysis.solvers.minimum import Status
from gpo_analysis.tabular.prefix_tree import PrefixTree
from gpo_analysis.tabular.problem import PreferenceProblem

REDUCTIONS = ("sum", "mean", "mean_without_reference")
_STEPS = 300


@dataclass(frozen=True, eq=False)
class SequenceSolution:
    """The optimum of a loss over the responses of a prefix tree.

    Attributes
    ----------
    policy, log_ratio : array, shape (n,)
        π and log π/πref; NaN where there is no finite or no unique optimum.
    reduction : str
        "sum", "mean" or "mean_without_reference".
    expected_length, cut_off : float
        E_π T in tokens, and π's mass on what is cut off.
    kl, kl_per_token : float
        KL(π‖πref) a sequence, and over E_π T, in nats.
    population_loss : float
    converged : bool
    status : Status
    reason : str
    gradient : float
        Of what was found by descent the largest \\|∂L/∂logit\\| at a node; NaN for the closed form.
    """

    policy: FloatArray
    log_ratio: FloatArray
    reduction: str
    expected_length: float
    cut_off: float
    kl: float
    kl_per_token: float
    population_loss: float
    converged: bool
    status: Status
    reason: str
    gradient: float


def tilted_by_length(
    reward: ArrayLike, lengths: ArrayLike, beta: float, log_reference: ArrayLike | None = None, *, log: bool = False
) -> FloatArray:
    """``π_i = πref_i exp(T_i (g_i/β + t))`` with Σπ = 1: what a margin loss of token means has its optimum at.

    Parameters
    ----------
    reward : array, shape (n,)
        The implicit reward g; a constant added to it changes nothing.
    lengths : array, shape (n,)
        T, above 0; all 1 give the optimum of sums, π ∝ πref e^{g/β}.
    beta : float
        Finite and above 0.
    log_reference : array, shape (n,), optional
        log πref; none for losses without reference (SimPO), where it is replaced by 0.
    log : bool
        Return log π.

    Returns
    -------
    array, shape (n,)

    Raises
    ------
    ValueError
        For values that are not finite, shapes that differ, lengths or β not above 0.

    Examples
    --------
    Two responses of equal πref, the longer of 3 tokens better by 1: x = e^t has e³x³ + x = 2.

    >>> tilted_by_length([0.0, 1.0], [1, 3], 1.0, np.log([0.5, 0.5])).round(6)
    array([0.213885, 0.786115])
    """
    g, size, scale = as_floats(reward, "reward"), as_floats(lengths, "lengths"), check_positive(beta, "beta")
    base = np.zeros_like(g) if log_reference is None else as_floats(log_reference, "log_reference")
    if g.ndim != 1 or not len(g) or size.shape != g.shape or base.shape != g.shape:
        raise ValueError(f"reward, lengths and log_reference must have one shape (n,), got {g.shape}, {size.shape}")
    if not (np.isfinite(g).all() and np.isfinite(base).all()):
        raise ValueError("reward and log_reference must be finite")
    if not (np.isfinite(size).all() and (size > 0).all()):
        raise ValueError(f"lengths must be above 0, got {float(size.min())!r}")
    with np.errstate(over="ignore"):
        tilt = (g - g.max()) / scale
    if not np.isfinite(tilt).all():
        raise ValueError(f"beta = {scale!r} is so small that reward/beta is no float")
    # log Σ is convex in t and grows; from where it is at least 0 Newton's steps come down to its zero
    t = float(np.min(-base / size - tilt))
    for _ in range(200):
        terms = base + size * (tilt + t)
        total = float(logsumexp(terms))
        step = total / float(np.exp(terms - total) @ size)
        t -= step
        if abs(step) <= 1e-15 * max(1.0, abs(t)):
            break
    terms = base + size * (tilt + t)
    terms = terms - logsumexp(terms)
    return np.asarray(terms if log else np.exp(terms))


def orpo(weight: float) -> TwoRatioLoss:
    r"""ORPO, arXiv 2403.07691: −a − λ log σ(o(a) − o(b)), o(s) = s − log(1 − e^s) the log-odds of a token mean.

    Parameters
    ----------
    weight : float
        λ, at least 0. The likelihood is a mean over the tokens of each response.

    Returns
    -------
    TwoRatioLoss
        For :func:`descend_sequences` with "mean_without_reference" and β = 1; defined for a, b < 0 alone.

    Raises
    ------
    ValueError
        For λ that is not a finite number of at least 0.
    """
    if not (np.isfinite(weight) and weight >= 0):
        raise ValueError(f"weight must be finite and at least 0, got {weight!r}")
    odds = [end - sympy.log(1 - sympy.exp(end)) for end in (CHOSEN, REJECTED)]
    ratio = sympy.Rational(float(weight)) * sympy.log(1 + sympy.exp(odds[1] - odds[0]))
    return TwoRatioLoss("orpo", -CHOSEN + ratio, reference="arXiv 2403.07691")


def solve_sequences(
    tree: PrefixTree, problem: PreferenceProblem, loss: Loss | str, beta: float, *, reduction: str = "sum"
) -> SequenceSolution:
    """The exact optimum of a margin loss of sums or token means.

    Parameters
    ----------
    tree : PrefixTree
    problem : PreferenceProblem
        Preferences among its responses (:meth:`PrefixTree.problem`), without contexts; πref is the tree's.
    loss : MarginLoss or str
        SimPO's target margin γ stands in f: ``"-log(sigmoid(z - 0.5))"``.
    beta : float
    reduction : str
        "sum", "mean" or "mean_without_reference".

    Returns
    -------
    SequenceSolution

    Raises
    ------
    ValueError
        For a loss of two log-ratios (:func:`descend_sequences` takes it), another reduction, a problem that does not
        fit the tree.

    Examples
    --------
    >>> import gpo_analysis as gpo
    >>> tree = PrefixTree(letters=2, depth=3, stop=0.5)
    >>> reward = [word.startswith("a") for word in tree.responses]
    >>> problem = tree.problem(gpo.bradley_terry(np.array(reward, dtype=float)))
    >>> [round(solve_sequences(tree, problem, "dpo", 0.5, reduction=r).expected_length, 4) for r in ("sum", "mean")]
    [2.5, 2.5632]
    """
    f, scale = get_margin_loss(loss), check_positive(beta, "beta")
    _check(tree, problem, reduction)
    fit = problem.fit(f)
    policy = np.full(tree.n, np.nan)
    if fit.converged:
        lengths = np.ones(tree.n) if reduction == "sum" else tree.lengths
        base = None if reduction == "mean_without_reference" else tree.log_reference
        policy = tilted_by_length(fit.reward, lengths, scale, base, log=True)
    return _solution(
        tree,
        policy,
        reduction=reduction,
        population_loss=fit.value,
        status=fit.status,
        reason=fit.reason,
        gradient=np.nan,
    )


def descend_sequences(
    tree: PrefixTree,
    problem: PreferenceProblem,
    loss: Loss | str,
    beta: float,
    *,
    reduction: str = "sum",
    ld_alpha: float = 1.0,
) -> SequenceSolution:
    """A stationary point in logits at the nodes, by Newton steps from πref: for every smooth loss, on small trees.

    Parameters
    ----------
    tree : PrefixTree
    problem : PreferenceProblem
    loss : MarginLoss, TwoRatioLoss or str
        F takes β times the two reduced log-ratios; without reference log-probabilities.
    beta : float
    reduction : str
        "sum", "mean" or "mean_without_reference".
    ld_alpha : float
        LD-DPO's α in [0, 1], with "sum": tokens beyond the shorter length of the pair count α times
        (arXiv 2409.06411).

    Returns
    -------
    SequenceSolution
        `status` "stationary point" where every \\|∂L/∂logit\\| is at most 1e-9, else "not converged".

    Raises
    ------
    ValueError
        For another reduction, α outside [0, 1] or with means, a problem that does not fit the tree.
    """
    f, scale = get_loss(loss), check_positive(beta, "beta")
    _check(tree, problem, reduction)
    if not 0 <= ld_alpha <= 1:
        raise ValueError(f"ld_alpha must be in [0, 1], got {ld_alpha!r}")
    if ld_alpha != 1 and reduction != "sum":
        raise ValueError(f"ld_alpha weights sums of tokens; reduction is {reduction!r}")
    descent = _Descent.of(tree, problem, f, scale, reduction, ld_alpha)
    logits, gradient = descent.minimum(tree.token_reference.copy())
    good = gradient <= 1e-9
    return _solution(
        tree,
        tree.log_policy(logits),
        reduction=reduction,
        population_loss=descent.value(logits),
        status=Status.STATIONARY_POINT if good else Status.NOT_CONVERGED,
        reason="by descent from πref" if good else f"Newton's steps ended with a gradient of {gradient:.1e}",
        gradient=gradient,
    )


def _check(tree: PrefixTree, problem: PreferenceProblem, reduction: str) -> None:
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction must be one of {', '.join(REDUCTIONS)}, got {reduction!r}")
    if problem.shape != (tree.n,):
        raise ValueError(f"problem must have the {tree.n} responses of the tree, got shape {problem.shape}")
    if not np.allclose(problem.reference, tree.reference, rtol=1e-9, atol=0):
        raise ValueError("problem must have the reference of the tree: make it with tree.problem")


def _solution(
    tree: PrefixTree,
    log_policy: FloatArray,
    *,
    reduction: str,
    population_loss: float,
    status: Status,
    reason: str,
    gradient: float,
) -> SequenceSolution:
    policy = np.exp(log_policy)
    known = bool(np.isfinite(log_policy).all())
    length = tree.expected_length(policy) if known else np.nan
    kl = float(policy @ (log_policy - tree.log_reference))
    return SequenceSolution(
        policy=policy,
        log_ratio=log_policy - tree.log_reference,
        reduction=reduction,
        expected_length=length,
        cut_off=tree.cut_off(policy) if known else np.nan,
        kl=kl,
        kl_per_token=kl / length,
        population_loss=population_loss,
        converged=status.is_answer,
        status=status,
        reason=reason,
        gradient=gradient,
    )


@dataclass(frozen=True, eq=False)
class _Descent:
    """Σ w F(a, b), a = chosen @ ℓ + shift and so on, ℓ the log-probabilities of tokens less πref's (or less 0)."""

    tree: PrefixTree
    loss: Loss
    chosen: csr_array
    rejected: csr_array
    base: FloatArray
    weight: FloatArray

    @classmethod
    def of(
        cls, tree: PrefixTree, problem: PreferenceProblem, loss: Loss, beta: float, reduction: str, alpha: float
    ) -> _Descent:
        pairs, own = problem.directed_pairs(), problem.diagonal_weights()[0]
        same = np.flatnonzero(own)
        first = np.concatenate([pairs.winner, same])
        second = np.concatenate([pairs.loser, same])
        size = tree.lengths.astype(np.float64)
        whole = tree.incidence
        if reduction != "sum":
            whole = csr_array(diags_array(1 / size) @ whole)
        ends = [beta * whole[one] for one in (first, second)]
        if alpha != 1:
            shorter = np.minimum(size[first], size[second]).astype(np.int64)
            ends = [beta * _weighted(tree, one, shorter, alpha) for one in (first, second)]
        base = np.zeros(tree.tokens) if reduction == "mean_without_reference" else tree.token_reference
        return cls(tree, loss, ends[0], ends[1], base, np.concatenate([pairs.weight, own[same]]))

    def _partial(self, logits: FloatArray, orders: tuple[int, int]) -> FloatArray:
        ratio = self.tree.normalised(logits) - self.base
        a, b = self.chosen @ ratio, self.rejected @ ratio
        if isinstance(self.loss, TwoRatioLoss):
            found = self.loss.derivative(a, b, orders)
        else:
            found = (-1.0) ** orders[1] * self.loss.derivative(a - b, sum(orders))
        return np.asarray(self.weight * found)

    def value(self, logits: FloatArray) -> float:
        """L, the draws of twice the same response counted."""
        return float(self._partial(logits, (0, 0)).sum())

    def derivatives(self, logits: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Gradient and Hessian in logits."""
        tree, policy = self.tree, np.exp(self.tree.normalised(logits))
        pull = self.chosen.T @ self._partial(logits, (1, 0)) + self.rejected.T @ self._partial(logits, (0, 1))
        cross = self.chosen.T @ diags_array(self._partial(logits, (1, 1))) @ self.rejected
        curved = self.chosen.T @ diags_array(self._partial(logits, (2, 0))) @ self.chosen
        curved = curved + self.rejected.T @ diags_array(self._partial(logits, (0, 2))) @ self.rejected
        dense = np.asarray((curved + cross + cross.T).todense())
        at = tree.node[:, None] == tree.node[None, :]
        jacobian = np.eye(tree.tokens) - at * policy[None, :]
        total = np.bincount(tree.node, pull)[tree.node]
        spread = np.diag(policy * total) - at * np.outer(policy, policy * total)
        return pull - policy * total, jacobian.T @ dense @ jacobian - spread

    def minimum(self, logits: FloatArray) -> tuple[FloatArray, float]:
        """Damped Newton steps, negative curvature taken as positive."""
        value = self.value(logits)
        for _ in range(_STEPS):
            gradient, hessian = self.derivatives(logits)
            if np.abs(gradient).max() <= 1e-13:
                break
            sizes, axes = np.linalg.eigh(hessian)
            kept = np.maximum(np.abs(sizes), 1e-14 * np.abs(sizes).max())
            flat = np.abs(sizes) <= 1e-14 * np.abs(sizes).max()
            step = -axes @ np.where(flat, 0.0, (axes.T @ gradient) / kept)
            scale = min(1.0, 3.0 / float(np.abs(step).max()))
            for _ in range(50):
                trial = self.value(logits + scale * step)
                if trial <= value + 1e-15 * abs(value):
                    break
                scale /= 2
            else:
                break
            logits, value = self.tree.normalised(logits + scale * step), trial
        return logits, float(np.abs(self.derivatives(logits)[0]).max())


def _weighted(tree: PrefixTree, response: FloatArray, shorter: FloatArray, alpha: float) -> csr_array:
    """Rows of tokens, those beyond the shorter length α times."""
    tokens = tree.incidence
    starts, sizes = tokens.indptr[response], tree.lengths[response]
    row = np.repeat(np.arange(len(response)), sizes)
    position = np.arange(len(row)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    columns = tokens.indices[np.repeat(starts, sizes) + position]
    entries = np.where(position < np.repeat(shorter, sizes), 1.0, alpha)
    return csr_array((entries, (row, columns)), shape=(len(response), tree.tokens))
