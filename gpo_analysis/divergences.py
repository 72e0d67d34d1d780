r"""How far a policy is from its reference: KL, the μ-weighted square loss, and the links that f-divergences give.

Distributions lie along the last axis, shape (..., n). KL is in nats; ``ρ = h_i − h_j`` with ``h = log π/πref``.

The *generator derivative* g of an f-divergence, called its link in arguments, generalises the margin to
``β [g(t_i) − g(t_j)]``, ``t = π/πref``: regularizing reward learning with the f-divergence ``D_φ`` in place of reverse
KL puts ``g = φ′`` where the logarithm was (f-DPO, Wang et al., arXiv 2309.16240). This choice is an axis of its own,
orthogonal to the margin loss f.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, overload

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import logsumexp, wrightomega

from gpo_analysis.arrays import FloatArray
from gpo_analysis.preferences.labels import common_items
from gpo_analysis.preferences.validation import as_floats, check_distribution, check_distributions, check_positive
from gpo_analysis.relative_entropy import kl_between
from gpo_analysis.showing import Panel, Shown
from gpo_analysis.showing.charts import lines

_Divergence = Callable[..., float]
_Registered = TypeVar("_Registered", bound=_Divergence)
_KL: dict[tuple[type, ...], _Divergence] = {}
_MU_SQUARED_LOSS: dict[tuple[type, ...], _Divergence] = {}


class Density(Protocol):
    """A distribution that is no array of probabilities, such as a mixture of Gaussians; it has a log density."""

    def log_prob(self, y: ArrayLike) -> FloatArray:
        """Log density at the points ``y``."""


def register_kl(policy: type, reference: type) -> Callable[[_Registered], _Registered]:
    """Decorate the function that computes ``KL(p‖q)`` for p and q of these types, in nats.

    Examples
    --------
    >>> class Point:
    ...     def __init__(self, at): self.at = at
    >>> @register_kl(Point, Point)
    ... def kl_of_points(p, q): return 0.0 if p.at == q.at else float("inf")
    >>> kl_divergence(Point(1), Point(2))
    inf
    """
    return _register(_KL, policy, reference)


def register_mu_squared_loss(policy: type, reference: type, behavior: type) -> Callable[[_Registered], _Registered]:
    """Decorate the function that computes ``½ E_μ[ρ²]`` for π, πref and μ of these types."""
    return _register(_MU_SQUARED_LOSS, policy, reference, behavior)


def _register(registry: dict[tuple[type, ...], _Divergence], *types: type) -> Callable[[_Registered], _Registered]:
    def add(function: _Registered) -> _Registered:
        registry[types] = function
        return function

    return add


def _registered(registry: dict[tuple[type, ...], _Divergence], what: str, *given: object) -> _Divergence | None:
    """Return the function registered for these distributions; None where none of them is of a registered type."""
    for types, function in registry.items():
        if all(map(isinstance, given, types)):
            return function
    if any(isinstance(item, kind) for item in given for types in registry for kind in types):
        names = ", ".join(type(item).__name__ for item in given)
        known = "; ".join(", ".join(kind.__name__ for kind in types) for types in registry)
        raise ValueError(f"{what} of ({names}): accepted are arrays, or one of ({known})")
    return None


@overload
def kl_divergence(p: Density, q: Density, **options: Any) -> float: ...
@overload
def kl_divergence(p: ArrayLike, q: ArrayLike) -> float | FloatArray: ...
def kl_divergence(p: Any, q: Any, **options: Any) -> Any:
    """``KL(p‖q) = Σ p log(p/q)`` in nats.

    Parameters
    ----------
    p, q : array, shape (..., n), or two GaussianMixture
        Distributions. Where p is 0 the term is 0; where q is 0 and p is not, the divergence is infinite. For other
        types the function that :func:`register_kl` was given computes it.
    **options : object
        Passed on to that function; two arrays take none.

    Returns
    -------
    float, or an array of the leading axes' shape

    Raises
    ------
    ValueError
        For what is not a distribution, or shapes that do not fit.

    Examples
    --------
    >>> round(kl_divergence([0.75, 0.25], [0.5, 0.5]), 6)
    0.130812
    >>> kl_divergence([1.0, 0.0], [0.0, 1.0])
    inf
    """
    own = _registered(_KL, "KL", p, q)
    if own is not None:
        return own(p, q, **options)
    if options:
        raise ValueError(f"options {sorted(options)} are for mixtures; two arrays take none")
    first, second = check_distributions(p=p, q=q)
    total = kl_between(*_fitting(first, second, "p", "q"))
    return float(total) if total.ndim == 0 else np.asarray(total)


@overload
def mu_squared_loss(policy: Density, reference: Density, behavior: Density, **options: Any) -> float: ...
@overload
def mu_squared_loss(policy: ArrayLike, reference: ArrayLike, behavior: ArrayLike) -> float | FloatArray: ...
def mu_squared_loss(policy: Any, reference: Any, behavior: Any, **options: Any) -> Any:
    """The μ-weighted square loss ``½ E_μ[ρ²]`` over two independent draws from μ, which is ``Var_μ(log π/πref)``.

    The second-order term of every margin loss (Tang et al., arXiv 2402.05749, eq. 7); the ½ is part of it.

    Parameters
    ----------
    policy, reference, behavior : array, shape (..., n), or three GaussianMixture
        Distributions. Only μ's support matters; where π or πref is 0 on it the loss is infinite (0 where μ has one
        response alone, since ρ is then 0 in every draw). For other types the function that
        :func:`register_mu_squared_loss` was given computes it.
    **options : object
        Passed on to that function; arrays take none.

    Returns
    -------
    float, or an array of the leading axes' shape

    Raises
    ------
    ValueError
        For what is not a distribution, and where π and πref are both 0 on μ's support.

    Examples
    --------
    >>> round(float(mu_squared_loss([0.75, 0.25], [0.5, 0.5], [0.5, 0.5])), 6)
    0.301737
    >>> round(0.5 * (0.5 * float(np.log(3.0)) ** 2), 6)
    0.301737
    """
    own = _registered(_MU_SQUARED_LOSS, "the μ-weighted square loss", policy, reference, behavior)
    if own is not None:
        return own(policy, reference, behavior, **options)
    if options:
        raise ValueError(f"options {sorted(options)} are for mixtures; arrays take none")
    pi, ref, mu = check_distributions(policy=policy, reference=reference, behavior=behavior)
    pi, ref = _fitting(pi, ref, "policy", "reference")
    mu, _ = _fitting(mu, pi, "behavior", "policy")
    mu, pi, ref = np.broadcast_arrays(mu, pi, ref)
    if np.any((mu > 0) & (pi == 0) & (ref == 0)):
        index = [int(i) for i in np.argwhere((mu > 0) & (pi == 0) & (ref == 0))[0]]
        raise ValueError(f"policy and reference are both 0 at {index}, where behavior is not: log π/πref is undefined")
    infinite = ((mu > 0) & ((pi == 0) | (ref == 0))).any(axis=-1)
    inside = (mu > 0) & (pi > 0) & (ref > 0)
    h = np.where(inside, np.log(np.where(inside, pi, 1.0)) - np.log(np.where(inside, ref, 1.0)), 0.0)
    mean = np.sum(mu * h, axis=-1, keepdims=True)
    variance = np.sum(mu * (h - mean) ** 2, axis=-1)
    total = np.where((mu > 0).sum(axis=-1) < 2, 0.0, np.where(infinite, np.inf, variance))
    return float(total) if total.ndim == 0 else np.asarray(total)


def _fitting(a: FloatArray, b: FloatArray, first: str, second: str) -> tuple[FloatArray, FloatArray]:
    if a.shape[-1] != b.shape[-1]:
        raise ValueError(f"{first} and {second} must have one length n, got shapes {a.shape} and {b.shape}")
    try:
        np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        raise ValueError(f"{first} and {second} do not fit: shapes {a.shape} and {b.shape}") from None
    return a, b


@dataclass(frozen=True)
class GeneratorDerivative(Shown):
    """The derivative ``g = φ′`` of an f-divergence's generator, increasing in ``t = π/πref > 0``.

    Called with t, shape (...), it gives g(t) in the same shape.

    Attributes
    ----------
    name : str
    formula : str
        g(t) in words of mathematics.
    source : str
    alpha : float or None
        The parameter of the α-family.

    Examples
    --------
    >>> chi_po(np.array([1.0, 2.0])).round(4)
    array([1.    , 2.6931])
    >>> float(chi_po.derivative(2.0))
    1.5
    """

    name: str
    formula: str
    source: str
    _of_log: Callable[[FloatArray], FloatArray]
    _log_inverse: Callable[[FloatArray], FloatArray]
    _derivative: Callable[[FloatArray], FloatArray]
    alpha: float | None = None
    _hidden = frozenset({"_of_log", "_log_inverse", "_derivative"})

    def _columns(self) -> dict[str, FloatArray]:
        t = np.geomspace(0.01, 100.0, 9)
        return {"t": t, "g(t)": self(t), "g′(t)": self.derivative(t)}

    def _panel(self) -> Panel:
        t = np.geomspace(0.01, 100.0, 201)
        return lines(f"link {self.name}: g(t) = {self.formula}", "t = π/πref", "g(t)", t, {self.name: self(t)}, log="x")

    def __call__(self, t: ArrayLike) -> FloatArray:
        """g(t), for density ratios t above 0."""
        return self._of_log(np.log(_ratio(t)))

    def of_log(self, s: ArrayLike) -> FloatArray:
        """``g(e^s)``, from log-ratios: exact where e^s would overflow or lose digits."""
        return self._of_log(as_floats(s, "log-ratio"))

    def derivative(self, t: ArrayLike) -> FloatArray:
        """g′(t) > 0."""
        return self._derivative(_ratio(t))

    def log_ratio(self, u: ArrayLike, reference: ArrayLike) -> FloatArray:
        """Log-ratios of the policy with ``g(π_i/πref_i) = u_i + c``, c such that π sums to one.

        Parameters
        ----------
        u : array, shape (n,)
            Finite.
        reference : array, shape (n,)
            πref, above 0, summing to one.

        Returns
        -------
        array, shape (n,)
            ``log π/πref``. It always exists: c is found between the value at which the largest ratio is 1 and the one
            at which that response alone has all the mass.

        Examples
        --------
        >>> h = forward_kl.log_ratio([0.0, 1.0], [0.5, 0.5])
        >>> round(float(np.exp(h) @ [0.5, 0.5]), 12), round(float(np.diff(-np.exp(-h))[0]), 12)
        (1.0, 1.0)
        """
        values = as_floats(u, "u")
        ref = check_distribution(reference, "reference", values.shape, positive=True, items=common_items(None, u))
        if values.ndim != 1 or not np.isfinite(values).all():
            raise ValueError(f"u must be finite, of shape (n,), got {values!r:.80}")
        top = int(np.argmax(values))
        below = values - values[top]

        def ratios(s: float) -> FloatArray:
            h = self._log_inverse(self._of_log(np.array(s)) + below)
            h[top] = s
            return np.asarray(h)

        def excess(s: float) -> float:
            return float(logsumexp(ratios(s), b=ref))

        low, high = 0.0, float(-np.log(ref[top]))
        if excess(low) >= 0:  # all u equal: π = πref
            return ratios(low)
        if excess(high) <= 0:  # nothing left for the others in float64
            return ratios(high)
        found = ratios(float(brentq(excess, low, high, xtol=1e-15, rtol=1e-15, maxiter=500)))
        return np.asarray(found - logsumexp(found, b=ref))


Link = GeneratorDerivative
"""The name by which annotations of ``link=`` know it."""


def _ratio(t: ArrayLike) -> FloatArray:
    values = as_floats(t, "ratio")
    if not np.all(values > 0):
        raise ValueError(f"ratios π/πref must be above 0, got {values[~(values > 0)][:1]!r}")
    return values


_FDPO = "f-DPO, Wang et al. 2023, arXiv 2309.16240"

reverse_kl = GeneratorDerivative(
    "reverse_kl", "log t", "DPO, arXiv 2305.18290", lambda s: s, lambda u: u, lambda t: 1 / t
)
forward_kl = GeneratorDerivative(
    "forward_kl", "−1/t", _FDPO, lambda s: -np.exp(-s), lambda u: -np.log(-u), lambda t: t**-2.0
)
jensen_shannon = GeneratorDerivative(
    "jensen_shannon",
    "log(2t/(1+t)), up to a constant",
    _FDPO,
    lambda s: np.log(2.0) - np.logaddexp(0.0, -s),
    lambda u: u - np.log(2.0) - np.log1p(-np.exp(u - np.log(2.0))),
    lambda t: 1 / (t * (1 + t)),
)
chi_po = GeneratorDerivative(
    "chi_po", "t + log t", "χPO, Huang et al. 2024, arXiv 2407.13399",
    lambda s: np.exp(s) + s,
    lambda u: u - wrightomega(u), lambda t: 1 + 1 / t,
)  # fmt: skip


def alpha_link(alpha: float) -> GeneratorDerivative:
    """``g(t) = (1 − t^(−α))/α``, α > 0: forward KL up to a constant at α = 1, reverse KL as α → 0.

    The form of f-DPO (arXiv 2309.16240). TRL 1.16 trains another, :func:`trl_alpha_link`; the two agree at ½ only.

    Examples
    --------
    >>> float(alpha_link(1.0)(2.0)), float(alpha_link(1e-9)(2.0).round(6))
    (0.5, 0.693147)
    """
    a = check_positive(alpha, "alpha")
    return GeneratorDerivative(
        "alpha",
        "(1 − t^(−α))/α",
        _FDPO,
        lambda s: -np.expm1(-a * s) / a,
        lambda u: -np.log1p(-a * u) / a,
        lambda t: t ** (-a - 1),
        a,
    )


def trl_alpha_link(coefficient: float) -> GeneratorDerivative:
    """``g(t) = (t^(c−1) − 1)/(c − 1)``, which TRL 1.16 trains as its alpha_divergence, c its f_alpha_divergence_coef.

    For c < 1 that is :func:`alpha_link` at 1 − c, at c = 1 reverse KL.

    Parameters
    ----------
    coefficient : float
        c, at most 1. Above 1 g is bounded below, so that no policy of full support need exist: not accepted.

    Examples
    --------
    >>> float(trl_alpha_link(0.0)(2.0)), float(alpha_link(0.5)(2.0)) == float(trl_alpha_link(0.5)(2.0))
    (0.5, True)
    >>> trl_alpha_link(1.0).name
    'reverse_kl'
    """
    c = float(as_floats(coefficient, "coefficient"))
    if not (np.isfinite(c) and c <= 1):
        raise ValueError(f"coefficient must be a finite number of at most 1, got {coefficient!r}")
    return reverse_kl if c == 1 else alpha_link(1 - c)


#: The links that need no parameter, and the α-link at ½, by name.
LINKS: dict[str, GeneratorDerivative] = {
    link.name: link for link in (reverse_kl, forward_kl, jensen_shannon, alpha_link(0.5), chi_po)
}
_ALIASES = {"js": "jensen_shannon", "chi": "chi_po", "kl": "reverse_kl"}


def get_link(name: str | GeneratorDerivative) -> GeneratorDerivative:
    """The generator derivative φ′ of an f-divergence by name.

    Parameters
    ----------
    name : str or GeneratorDerivative
        reverse_kl (kl), forward_kl, jensen_shannon (js), alpha (α = ½), chi_po (chi); a GeneratorDerivative is given
        back as it is.

    Raises
    ------
    ValueError
        For an unknown name, with the known ones.

    Examples
    --------
    >>> get_link("kl").name, get_link("kl").formula
    ('reverse_kl', 'log t')
    """
    if isinstance(name, GeneratorDerivative):
        return name
    key = _ALIASES.get(name, name)
    if key not in LINKS:
        raise ValueError(
            f"unknown link {name!r}; accepted are {', '.join([*LINKS, *_ALIASES])}, or a GeneratorDerivative"
        )
    return LINKS[key]
