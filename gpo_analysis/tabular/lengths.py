r"""Optima of losses on responses with lengths: sums, means over tokens, with and without reference, and AlphaPO.

A margin loss sees scores s only through differences, and a tabular policy can give s any value up to a constant.
With s_i = β(log π_i − κ_i)/c_i the optimum is therefore, for every f,

    π_i = exp(κ_i + c_i (g_i/β + t)),     Σπ = 1,                                                              (1)

g the implicit reward that f fits (:meth:`PreferenceProblem.fit`), the same for every β and every c. The left side of
Σπ = 1 grows with t, so that t is unique. Sums have c = 1 and κ = log πref; means over T_i tokens c = T (TRL's ``ipo``,
``sigmoid_norm``); SimPO's means without reference c = T and κ = 0, CPO's sums without reference c = 1 and κ = 0.
AlphaPO bends those scores (:mod:`.reward_shape`). What is no difference of scores of responses (ORPO's likelihood,
LD-DPO's scores of a prefix), and policies tied across nodes, are descended to (:mod:`.sequence_descent`).
"""

from __future__ import annotations

import numpy as np
import sympy
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from gpo_analysis.arrays import FloatArray
from gpo_analysis.losses import CHOSEN, REJECTED, Loss, MarginLoss, TwoRatioLoss, get_margin_loss
from gpo_analysis.losses.shape import kinks, shape_of
from gpo_analysis.preferences.validation import as_floats, check_positive
from gpo_analysis.solvers.minimum import Status
from gpo_analysis.tabular.prefix_tree import PrefixTree
from gpo_analysis.tabular.problem import PreferenceProblem
from gpo_analysis.tabular.reward_shape import attainable, bounded_optimum, checked_alpha, shaped_by_length
from gpo_analysis.tabular.sequence_solution import SequenceSolution, check_sequences, sequence_solution


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
    tree: PrefixTree,
    problem: PreferenceProblem,
    loss: Loss | str,
    beta: float,
    *,
    reduction: str = "sum",
    alpha: float = 0.0,
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
        "sum", "mean", "sum_without_reference" (CPO) or "mean_without_reference" (SimPO).
    alpha : float
        AlphaPO's α, with a reduction without reference: scores are β (1 − p^(−α))/α of p, which is π of a response or
        the geometric mean over its tokens. 0 is log p.

    Returns
    -------
    SequenceSolution
        With α < 0, where no policy has the margins that f fits, `gap` is the duality gap of the optimum.

    Raises
    ------
    ValueError
        For a loss of two log-ratios (:func:`descend_sequences` takes it), another reduction, α with a reduction that
        has a reference, a problem that does not fit the tree.

    Examples
    --------
    >>> import gpo_analysis as gpo
    >>> tree = PrefixTree(letters=2, depth=3, stop=0.5)
    >>> reward = [word.startswith("a") for word in tree.responses]
    >>> problem = tree.problem(gpo.bradley_terry(np.array(reward, dtype=float)))
    >>> [round(solve_sequences(tree, problem, "dpo", 0.5, reduction=r).expected_length, 4) for r in ("sum", "mean")]
    [2.5, 2.5632]
    >>> simpo = "mean_without_reference"
    >>> for alpha in (0.0, 0.5):
    ...     solve_sequences(tree, problem, "dpo", 2.0, reduction=simpo, alpha=alpha).policy[:2].round(4)
    array([0.211 , 0.0776])
    array([0.1917, 0.1039])
    """
    f, scale, shape = get_margin_loss(loss), check_positive(beta, "beta"), checked_alpha(alpha)
    check_sequences(tree, problem, reduction)
    referenced = not reduction.endswith("without_reference")
    if shape and referenced:
        raise ValueError(f"alpha shapes rewards without reference (AlphaPO); reduction is {reduction!r}")
    lengths = np.ones(tree.n) if reduction.startswith("sum") else tree.lengths.astype(np.float64)
    fit = problem.fit(f)
    reached = shape >= 0 or (fit.converged and attainable(fit.reward, lengths, scale, shape))
    if not reached and fit.status is not Status.NOT_UNIQUE:
        return _bounded(tree, problem, f, scale, shape, reduction)
    policy = np.full(tree.n, np.nan)
    if fit.converged and shape:
        policy = shaped_by_length(fit.reward, lengths, scale, shape, log=True)
    elif fit.converged:
        policy = tilted_by_length(fit.reward, lengths, scale, tree.log_reference if referenced else None, log=True)
    value, reason = fit.value, fit.reason
    if not reached:
        value, reason = (
            np.nan,
            f"{reason}; alpha = {shape:g} bounds rewards, perhaps more closely than f's margins need",
        )
    return sequence_solution(tree, policy, reduction=reduction, population_loss=value, status=fit.status, reason=reason)


def _bounded(
    tree: PrefixTree, problem: PreferenceProblem, f: MarginLoss, beta: float, alpha: float, reduction: str
) -> SequenceSolution:
    """The optimum where α < 0 bounds rewards too closely for the margins that f fits."""
    lengths = np.ones(tree.n) if reduction.startswith("sum") else tree.lengths.astype(np.float64)
    why = f"alpha = {alpha:g} bounds rewards, and no policy has the margins that {f.name} fits"
    missing = None
    if not shape_of(f).convex or kinks(f):
        missing = "f is not known to be convex and smooth"
    elif -alpha > lengths.min():
        missing = f"rewards of responses shorter than |alpha| = {-alpha:g} tokens make the problem not convex"
    if missing is not None:
        policy, reason = np.full(tree.n, np.nan), f"{why}; {missing}, so that nothing certifies an optimum"
        status = Status.NOT_CONVERGED
        return sequence_solution(
            tree, policy, reduction=reduction, population_loss=np.nan, status=status, reason=reason
        )
    pairs = problem.directed_pairs()
    found = bounded_optimum(pairs, pairs.diagonal_mass, f, lengths, beta, alpha)
    none = int(np.sum(found.log_policy == -np.inf))
    good = found.gap <= 1e-9 * (1 + abs(found.value))
    ended = f"responses without mass: {none}" if good else f"the barrier left a gap of {found.gap:.1e}"
    return sequence_solution(
        tree,
        found.log_policy,
        reduction=reduction,
        population_loss=found.value,
        status=Status.OPTIMUM if good else Status.NOT_CONVERGED,
        reason=f"{why}; {ended}",
        gap=found.gap,
    )
