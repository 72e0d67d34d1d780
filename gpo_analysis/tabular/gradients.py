r"""Gradients of the two regularizers, KL and the μ-weighted square loss, in the logits of a softmax policy.

With ``π = softmax(θ)`` and ``h = log π − log πref``::

    ∂ KL(π‖πref) / ∂θ_k       = π_k (h_k − KL)
    ∂ ½ E_μ[ρ²] / ∂θ_k        = 2 μ_k (h_k − E_μ[h])         (μ held fixed: sampling is not differentiated)

since ``½ E_μ[ρ²] = Var_μ(h)`` for two independent draws. At μ = π the second is exactly **twice** the first: the
identity of Tang et al., arXiv 2402.05749, with its constant for pairs. Equality without the 2 needs ``¼ρ²``, or the
one-sample ``½ (log π/πref)²``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from gpo_analysis.arrays import FloatArray
from gpo_analysis.showing import Shown
from gpo_analysis.showing.charts import Panel, bars


def kl_gradient(logits: ArrayLike, reference: ArrayLike) -> FloatArray:
    """Gradient of ``KL(softmax(logits)‖πref)``, in nats, with respect to the logits.

    Parameters
    ----------
    logits : array, shape (..., n)
        Finite logits θ; π = softmax(θ) over the last axis.
    reference : array, shape (n,) or (..., n)
        πref, positive, summing to one.

    Returns
    -------
    array, shape (..., n)
        ``π_k (h_k − KL)``; sums to zero.

    Raises
    ------
    ValueError
        For logits that are not finite, or a reference that is not a positive distribution.

    Examples
    --------
    >>> kl_gradient([1.0, 0.0], [0.5, 0.5]).round(4)
    array([ 0.1966, -0.1966])
    """
    log_policy, log_ratio = _log_ratio(logits, reference)
    policy = np.exp(log_policy)
    kl = np.sum(policy * log_ratio, axis=-1, keepdims=True)
    return np.asarray(policy * (log_ratio - kl))


def mu_squared_loss_gradient(logits: ArrayLike, reference: ArrayLike, behavior: ArrayLike) -> FloatArray:
    """Gradient of ``½ E_μ[ρ²]`` over pairs drawn independently from a fixed μ, with respect to the logits.

    Parameters
    ----------
    logits : array, shape (..., n)
        Finite logits θ; π = softmax(θ) over the last axis.
    reference : array, shape (n,) or (..., n)
        πref, positive, summing to one.
    behavior : array, shape (n,) or (..., n)
        μ, non-negative, summing to one. Not differentiated, even where it equals π.

    Returns
    -------
    array, shape (..., n)
        ``2 μ_k (h_k − E_μ[h])``; sums to zero.

    Raises
    ------
    ValueError
        For logits that are not finite, a reference or behavior that is not a distribution.

    Examples
    --------
    At μ = π it is twice the gradient of KL:

    >>> theta, ref = np.array([1.0, 0.0]), np.array([0.5, 0.5])
    >>> policy = np.exp(theta) / np.exp(theta).sum()
    >>> bool(np.allclose(mu_squared_loss_gradient(theta, ref, policy), 2 * kl_gradient(theta, ref)))
    True
    """
    _, log_ratio = _log_ratio(logits, reference)
    mu = _distribution(behavior, "behavior", log_ratio.shape[-1], positive=False)
    mean = np.sum(mu * log_ratio, axis=-1, keepdims=True)
    return np.asarray(2.0 * mu * (log_ratio - mean))


@dataclass(frozen=True)
class GradientIdentity(Shown):
    """``∇½E_μ[ρ²]`` beside ``2∇KL``: how nearly the offline regularizer pulls the way KL does.

    Attributes
    ----------
    computed : array, shape (n,)
        ``∇½E_μ[ρ²]``.
    predicted : array, shape (n,)
        ``2 ∇KL(π‖πref)``, which ``computed`` equals at μ = π.
    cosine : float
        Cosine of the angle between the two; 1 at μ = π. NaN where either gradient is zero up to rounding.
    norm_ratio : float
        ``‖computed‖ / ‖predicted‖``; 1 at μ = π. NaN where ``predicted`` is zero up to rounding.
    """

    computed: FloatArray
    predicted: FloatArray
    cosine: float
    norm_ratio: float

    def _panel(self) -> Panel:
        names = [f"y{k + 1}" for k in range(len(self.computed))]
        title = f"pull on the logits: cosine {self.cosine:.4g}, ratio of norms {self.norm_ratio:.4g}"
        parts = {"∇½E_μ[ρ²]": self.computed, "2∇KL(π‖πref)": self.predicted}
        return bars(title, "logit of response", "gradient", names, parts)


def gradient_identity(logits: ArrayLike, reference: ArrayLike, behavior: ArrayLike) -> GradientIdentity:
    """Compare ``∇½E_μ[ρ²]`` with ``2∇KL(π‖πref)`` at one policy.

    Parameters
    ----------
    logits, reference, behavior : array, shape (n,)
        As for :func:`mu_squared_loss_gradient`.

    Raises
    ------
    ValueError
        As there, and for more than one policy at a time.

    Examples
    --------
    >>> here = gradient_identity([1.0, 0.0, 0.0], [0.2, 0.3, 0.5], [0.2, 0.3, 0.5])
    >>> 0 < here.cosine < 1
    True
    """
    if np.ndim(logits) != 1:
        raise ValueError(f"logits must have shape (n,), got {np.shape(logits)}")
    computed = mu_squared_loss_gradient(logits, reference, behavior)
    predicted = 2.0 * kl_gradient(logits, reference)
    size, expected = float(np.linalg.norm(computed)), float(np.linalg.norm(predicted))
    rounding = 16 * np.finfo(np.float64).eps * (1.0 + float(np.abs(logits).max()))  # below it a gradient is noise
    cosine = float(computed @ predicted) / (size * expected) if min(size, expected) > rounding else float("nan")
    ratio = size / expected if expected > rounding else float("nan")
    return GradientIdentity(computed, predicted, cosine, ratio)


def _log_ratio(logits: ArrayLike, reference: ArrayLike) -> tuple[FloatArray, FloatArray]:
    theta = np.asarray(logits, dtype=np.float64)
    if theta.ndim == 0 or not np.all(np.isfinite(theta)):
        raise ValueError(f"logits must be an array of finite numbers of shape (..., n), got {logits!r}")
    ref = _distribution(reference, "reference", theta.shape[-1], positive=True)
    log_policy = theta - np.logaddexp.reduce(theta, axis=-1, keepdims=True)
    return log_policy, log_policy - np.log(ref)


def _distribution(value: ArrayLike, name: str, n: int, *, positive: bool) -> FloatArray:
    array = np.asarray(value, dtype=np.float64)
    if array.ndim == 0 or array.shape[-1] != n:
        raise ValueError(f"{name} must have shape (..., {n}), got {array.shape}")
    signed = bool(np.all(array > 0) if positive else np.all(array >= 0))
    if not signed or not np.allclose(array.sum(-1), 1.0, rtol=0, atol=1e-8):
        sign = "positive" if positive else "non-negative"
        raise ValueError(f"{name} must be {sign} and sum to one over its last axis, got {value!r}")
    return array
