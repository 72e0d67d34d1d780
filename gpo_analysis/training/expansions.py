r"""The gradient of ``E f(βρ)`` beside the gradients of its expansions, and whether training stays where they hold.

The expansion of order N replaces f by its Taylor polynomial T_N at 0 (Tang et al., arXiv 2402.05749, §3), so that the
gradient of a pair has T_N′(z) for f′(z): order 1 is the slope f′(0) alone, order 2 adds the μ-weighted square loss.
Beyond the radius of convergence no order helps; within it a relative error may still be large, because the true
gradient vanishes at the optimum and that of the expansion does not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import sympy
from numpy.typing import ArrayLike

from gpo_analysis.analysis import optimal_margin, taylor, taylor_radius
from gpo_analysis.arrays import FloatArray
from gpo_analysis.losses import MarginLoss, get_margin_loss
from gpo_analysis.preferences.validation import check_positive
from gpo_analysis.tabular.problem import PreferenceProblem
from gpo_analysis.training.rates import early_phase

QUANTILES = (0.5, 0.9, 1.0)


def expanded_gradients(
    problem: PreferenceProblem,
    loss: MarginLoss | str,
    beta: float,
    log_ratio: ArrayLike,
    orders: Sequence[int] = (1, 2, 3),
) -> tuple[FloatArray, FloatArray]:
    """The true gradient in the logits, and that of each order's expansion.

    Parameters
    ----------
    problem : PreferenceProblem
    loss : MarginLoss or str
    beta : float
    log_ratio : array, shape (..., n) or (..., m, n)
        h, up to a constant a context.
    orders : sequence of int
        Degrees of the Taylor polynomial of f, 1 or more.

    Returns
    -------
    array, shape (..., m·n)
    array, shape (len(orders), ..., m·n)

    Raises
    ------
    ValueError
        For orders below 1, or shapes that do not fit.

    Examples
    --------
    The squared loss is its own second-order expansion.

    >>> problem = PreferenceProblem([[0.5, 0.8], [0.2, 0.5]])
    >>> true, expanded = expanded_gradients(problem, "squared", 1.0, [0.4, 0.0], orders=(2,))
    >>> bool(np.allclose(true, expanded[0]))
    True
    """
    f = get_margin_loss(loss)
    scale = check_positive(beta, "beta")
    if any(order < 1 for order in orders):
        raise ValueError(f"orders must be 1 or more, got {tuple(orders)}")
    z = scale * _margins(problem, log_ratio)
    true = _scatter(problem, scale * f.derivative(z, 1))
    found = [
        _scatter(problem, np.asarray(scale * np.polyval(_slopes(f, order), z), dtype=np.float64)) for order in orders
    ]
    return true, np.array(found)


def expansion_table(
    problem: PreferenceProblem,
    loss: MarginLoss | str,
    beta: float,
    log_ratio: ArrayLike,
    orders: Sequence[int] = (1, 2, 3),
) -> dict[str, FloatArray]:
    """How good the expansions are along a path of policies.

    Parameters
    ----------
    problem, loss, beta, orders : as in :func:`expanded_gradients`
    log_ratio : array, shape (t, n) or (t, m, n)

    Returns
    -------
    dict of array, shape (t,) each
        For each order N ``cosine_N``, ``relative_error_N`` (‖expanded − true‖ / ‖true‖) and ``scaled_error_N`` (the
        same over the norm of the gradient at πref, which does not vanish at the optimum; NaN for cosine and
        relative error where the true gradient is zero to rounding); ``median``, ``q90`` and ``largest`` of |βρ|
        under the pairs' weights; ``beyond``, the share of the pairs beyond the radius of convergence;
        ``gradient_norm``.

    Examples
    --------
    >>> problem = PreferenceProblem([[0.5, 0.8], [0.2, 0.5]])
    >>> found = expansion_table(problem, "logistic", 1.0, [[0.0, 0.0], [1.0, 0.0]])
    >>> found["relative_error_1"].round(3), found["largest"]
    (array([0.   , 3.352]), array([0., 1.]))
    """
    f = get_margin_loss(loss)
    true, expanded = expanded_gradients(problem, f, beta, log_ratio, orders)
    start = float(np.linalg.norm(expanded_gradients(problem, f, beta, np.zeros(problem.shape), (1,))[0]))
    size = np.linalg.norm(true, axis=-1)
    kept = size > 1e-12 * max(start, float(size.max(initial=0.0)))
    z = np.abs(beta * _margins(problem, log_ratio))
    weight = problem.directed_pairs().weight
    quantiles = margin_quantiles(z, weight, QUANTILES)
    found = dict(zip(("median", "q90", "largest"), quantiles, strict=True))
    found |= {"beyond": share_beyond(problem, f, beta, log_ratio), "gradient_norm": size}
    nothing = np.full(size.shape, np.nan)
    for order, guess in zip(orders, expanded, strict=True):
        error, length = np.linalg.norm(guess - true, axis=-1), np.linalg.norm(guess, axis=-1)
        product = size * length
        found[f"cosine_{order}"] = np.divide(
            np.sum(guess * true, axis=-1), product, out=nothing.copy(), where=kept & (product > 0)
        )
        found[f"relative_error_{order}"] = np.divide(error, size, out=nothing.copy(), where=kept)
        found[f"scaled_error_{order}"] = error / start if start > 0 else nothing.copy()
    return found


def margin_quantiles(margins: ArrayLike, weights: ArrayLike, levels: Sequence[float]) -> FloatArray:
    """Quantiles of margins under the pairs' weights: the least margin that so much of the weight does not exceed.

    Parameters
    ----------
    margins : array, shape (..., k)
    weights : array, shape (k,)
        Above 0.
    levels : sequence of float
        In [0, 1].

    Returns
    -------
    array, shape (len(levels), ...)

    Examples
    --------
    >>> margin_quantiles([3.0, 1.0, 2.0], [0.5, 0.25, 0.25], (0.25, 0.5, 1.0))
    array([1., 2., 3.])
    """
    z, w = np.asarray(margins, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    if any(not 0 <= level <= 1 for level in levels):
        raise ValueError(f"levels must lie in [0, 1], got {tuple(levels)}")
    order = np.argsort(z, axis=-1)
    total = np.cumsum(w[order], axis=-1)
    total /= total[..., -1:]
    ordered = np.take_along_axis(z, order, axis=-1)
    places = [np.argmax(total >= level - 1e-12, axis=-1)[..., None] for level in levels]
    return np.array([np.take_along_axis(ordered, place, axis=-1)[..., 0] for place in places])


def share_beyond(problem: PreferenceProblem, loss: MarginLoss | str, beta: float, log_ratio: ArrayLike) -> FloatArray:
    """Share of the pairs, by weight, whose |βρ| exceeds the radius of convergence of f's series at 0.

    Equal draws, whose ρ is 0, are left out.

    Examples
    --------
    >>> problem = PreferenceProblem([[0.5, 0.8], [0.2, 0.5]])
    >>> share_beyond(problem, "logistic", 1.0, [[3.0, 0.0], [3.2, 0.0]])
    array([0., 1.])
    """
    f = get_margin_loss(loss)
    weight = problem.directed_pairs().weight
    beyond = np.abs(beta * _margins(problem, log_ratio)) > float(taylor_radius(f))
    return np.asarray(beyond @ (weight / weight.sum()))


def predicted_margins(
    problem: PreferenceProblem, loss: MarginLoss | str, beta: float, time: float = np.inf
) -> FloatArray:
    r"""|βρ| to expect of each pair after training from πref, from f, the preferences and the time alone.

    The lesser of two numbers: where the pair would come to rest by itself, ``|z*(η)|``, and how far the slope at zero
    carries it, ``β² |f′(0)| t |d_i − d_j|`` (:func:`.rates.early_phase`). Nothing is solved or trained. A rule of
    thumb: pooling with other pairs is left out of the first number, the fading of the slope out of the second.

    Parameters
    ----------
    problem : PreferenceProblem
        With observed comparisons η is the share of the pair's labels.
    loss, beta : as everywhere
    time : float
        Steps times learning rate of gradient descent; inf for training to the end.

    Returns
    -------
    array, shape (k,)
        For each of ``problem.directed_pairs()``.

    Examples
    --------
    >>> problem = PreferenceProblem([[0.5, 0.8], [0.2, 0.5]])
    >>> predicted_margins(problem, "logistic", 1.0).round(4)
    array([1.3863, 1.3863])
    >>> predicted_margins(problem, "logistic", 1.0, time=0.5)
    array([0.15, 0.15])
    """
    f = get_margin_loss(loss)
    if not time >= 0:
        raise ValueError(f"time must be 0 or more, got {time!r}")
    pairs = problem.directed_pairs()
    n = problem.n
    low, high = np.minimum(pairs.winner, pairs.loser), np.maximum(pairs.winner, pairs.loser)
    _, group = np.unique((pairs.context * n + low) * n + high, return_inverse=True)
    for_low = np.bincount(group, pairs.weight * (pairs.winner == low))
    total = np.bincount(group, pairs.weight)
    resting = np.abs(np.asarray(optimal_margin(f, for_low / total), dtype=np.float64))[group]
    if not np.isfinite(time):
        return resting
    start = early_phase(problem, f, beta)
    direction = start.direction.reshape(problem.contexts, n)
    travelled = beta * start.speed * time * np.abs(pairs.margins(direction))
    return np.minimum(resting, travelled)


def _slopes(loss: MarginLoss, order: int) -> FloatArray:
    """Coefficients of T_N′, the highest power first."""
    series = sympy.Poly(taylor(loss, order), loss.symbol).diff(loss.symbol)
    return np.array([float(c) for c in series.all_coeffs()])


def _margins(problem: PreferenceProblem, log_ratio: ArrayLike) -> FloatArray:
    h = np.asarray(log_ratio, dtype=np.float64)
    if h.shape[-len(problem.shape) :] != problem.shape or not np.isfinite(h).all():
        raise ValueError(f"log_ratio must be finite and of shape (..., {problem.shape}), got shape {h.shape}")
    table = h if len(problem.shape) == 2 else h[..., None, :]
    return problem.directed_pairs().margins(table)


def _scatter(problem: PreferenceProblem, pull: FloatArray) -> FloatArray:
    """``Σ_k weight_k pull_k (e_winner − e_loser)``, shape (..., m·n), of pulls (..., k)."""
    pairs = problem.directed_pairs()
    base, rows = problem.n * pairs.context, np.arange(len(pairs))
    incidence = np.zeros((len(pairs), problem.n * problem.contexts))
    incidence[rows, base + pairs.winner] += pairs.weight
    incidence[rows, base + pairs.loser] -= pairs.weight
    return np.asarray(pull @ incidence)
