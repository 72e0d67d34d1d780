"""A margin loss: one sympy expression, and everything derived from it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import sympy
from numpy.typing import ArrayLike, NDArray

from gpo_analysis.calculus.arithmetic import number
from gpo_analysis.calculus.at_zero import curvature_ratio, derivative_at_zero
from gpo_analysis.losses import compile as backend
from gpo_analysis.reading import is_finite, on_one_line
from gpo_analysis.showing import Panel, Shown
from gpo_analysis.showing.charts import lines

if TYPE_CHECKING:
    import torch

MARGIN = sympy.Symbol("z", real=True)
"""The symbol z = βρ in which every loss is written."""

#: The source of a loss that came as a text.
TYPED = "typed in"
_HALF = sympy.Rational(1, 2)


def checked_name(name: object) -> str:
    """The name of a loss, if it is one: text on one line, in which everything can be seen.

    Raises
    ------
    ValueError
        If it is none; the message has it.
    """
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"name must be text that is not empty, got {name!r:.60}")
    if on_one_line(name) != name:
        raise ValueError(f"name must be one line without control characters, got {name!r:.60}")
    return name


@dataclass(frozen=True)
class Claims:
    """What the catalogue says of a loss; tests try to refute it.

    Attributes
    ----------
    convex : bool
        Whether f is convex on the whole real line.
    kinks : tuple of str
        Where f or one of its first two derivatives jumps, as exact numbers written out.
    bounded_below : bool
        Whether inf f > −∞. A loss that is not has no optimum when a label is one-sided.
    """

    convex: bool
    kinks: tuple[str, ...] = ()
    bounded_below: bool = True


@dataclass(frozen=True)
class MarginLoss(Shown):
    """A margin loss f(z), z = βρ (Tang et al. 2024, arXiv 2402.05749, eq. 5).

    Arrays: any shape in, the same shape out, unreduced. numpy floats keep their dtype (integers become float64) and
    are computed in float64; torch tensors keep dtype and device and carry autograd of every order. What a float cannot
    hold becomes ``inf`` without a warning. At a kink the derivative is the subgradient of smallest magnitude of the
    Max or Abs that makes it: hinge has f′(1) = 0, truncated quadratic f″(1) = 0.

    Attributes
    ----------
    name : str
        Its name in tables, records and figures.
    expression : sympy.Expr
        f, in ``symbol``.
    aliases : tuple of str
        Other names that :func:`get_loss` takes.
    reference : str
        Where the loss comes from.
    claims : Claims or None
        What the catalogue says of it; None for a loss that was typed in or made from another.

    Examples
    --------
    >>> import numpy as np
    >>> from gpo_analysis.losses import get_loss
    >>> loss = get_loss("dpo")
    >>> loss.expression
    log(1 + exp(-z))
    >>> loss(np.array([-1000.0, 0.0, 1000.0]))
    array([1.00000000e+03, 6.93147181e-01, 0.00000000e+00])
    >>> float(loss.derivative(0.0, order=2))
    0.25
    """

    name: str
    expression: sympy.Expr
    aliases: tuple[str, ...] = ()
    reference: str = ""
    claims: Claims | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.expression, sympy.Expr):
            raise ValueError(f"expression must be a sympy expression in {MARGIN}, got {self.expression!r}")
        strangers = self.expression.free_symbols - {MARGIN}
        if strangers:
            names = ", ".join(sorted(map(str, strangers)))
            raise ValueError(f"expression must have no symbol but the real {MARGIN} of MarginLoss.symbol, got {names}")
        checked_name(self.name)

    @property
    def symbol(self) -> sympy.Symbol:
        """The real sympy symbol z of :attr:`expression`."""
        return MARGIN

    @overload
    def __call__(self, z: torch.Tensor) -> torch.Tensor: ...
    @overload
    def __call__(self, z: ArrayLike) -> NDArray[Any]: ...
    def __call__(self, z: Any) -> Any:
        """f(z), unreduced: array or tensor of any shape → the same shape."""
        return self._evaluate(z, 0)

    @overload
    def derivative(self, z: torch.Tensor, order: int = 1) -> torch.Tensor: ...
    @overload
    def derivative(self, z: ArrayLike, order: int = 1) -> NDArray[Any]: ...
    def derivative(self, z: Any, order: int = 1) -> Any:
        """The ``order``-th derivative of f at ``z``; order 0 is f itself.

        Raises
        ------
        ValueError
            If ``order`` is not a non-negative integer.
        """
        if isinstance(order, bool) or not isinstance(order, int | np.integer) or order < 0:
            raise ValueError(f"order must be an integer ≥ 0, got {order!r}")
        return self._evaluate(z, int(order))

    def _evaluate(self, z: Any, order: int) -> Any:
        if backend.module_of(z) == "torch":
            from gpo_analysis.losses import torch_backend

            return torch_backend.apply(z, self.expression, MARGIN, order)
        array = np.asarray(z)
        if array.dtype.kind in "iub":
            array = array.astype(np.float64)
        if array.dtype.kind != "f":
            raise TypeError(f"a margin must be real numbers, got dtype {array.dtype}")
        found = backend.evaluate(self.expression, MARGIN, order, array.astype(np.float64, copy=False))
        with np.errstate(over="ignore", under="ignore"):
            return found.astype(array.dtype, copy=False)[()]

    @property
    def falls_at_zero(self) -> bool:
        """Whether −∞ < f′(0) < 0: from πref on, margins of obeyed labels grow.

        Examples
        --------
        >>> from gpo_analysis.losses import get_loss
        >>> get_loss("dpo").falls_at_zero, get_loss("log(1+exp(z))").falls_at_zero, get_loss("z**2").falls_at_zero
        (True, False, False)
        """
        return bool(-np.inf < float(self.derivative(0.0)) < 0)

    def why_not_falling(self) -> str:
        """What is to be said of a loss that does not fall at 0 before it is fitted or trained; "" of one that does.

        Examples
        --------
        >>> from gpo_analysis.losses import get_loss
        >>> get_loss("log(1+exp(z))").why_not_falling()
        'log(1+exp(z)) has f′(0) = 0.5, not below 0: from πref on it does not push chosen above rejected'
        """
        if self.falls_at_zero:
            return ""
        slope = float(self.derivative(0.0))
        return f"{self.name} has f′(0) = {slope:g}, not below 0: from πref on it does not push chosen above rejected"

    @property
    def curvature_ratio(self) -> sympy.Expr:
        """κ = f″(0)/\\|f′(0)\\|, exact: the strength of the regularization per unit of β (arXiv 2402.05749, §3).

        0 for hinge, negative where f″(0) < 0.

        Raises
        ------
        ValueError
            Where f has a kink at 0, and where f′(0) ≥ 0 (LRML): f does not push small margins the right way then, and
            κ measures no regularization.

        Examples
        --------
        >>> from gpo_analysis.losses import get_loss
        >>> get_loss("dpo").curvature_ratio, get_loss("ipo").curvature_ratio, get_loss("slic").curvature_ratio
        (1/2, 1, 0)
        """
        slope, curvature = (derivative_at_zero(self.expression, MARGIN, order) for order in (1, 2))
        if sympy.nan in (slope, curvature):
            raise ValueError(f"{self.name} is not twice differentiable at 0, so that κ = f″(0)/|f′(0)| is not defined")
        if number(slope) >= 0:
            raise ValueError(
                f"{self.name} has slope f′(0) = {slope} ≥ 0: it does not push small margins the right way, "
                "so that κ = f″(0)/|f′(0)| measures no regularization"
            )
        return curvature_ratio(self.expression, MARGIN)

    def beta_of(self, strength: float) -> float:
        """The β at which this loss regularizes with a strength βκ; the strength itself where κ = 0 (hinge).

        Parameters
        ----------
        strength : float
            βκ, positive and finite.

        Raises
        ------
        ValueError
            If ``strength`` is not such a number, or κ is negative or not defined (:attr:`curvature_ratio`).

        Examples
        --------
        >>> from gpo_analysis.losses import get_loss
        >>> [get_loss(name).beta_of(0.1) for name in ("dpo", "ipo", "slic")]
        [0.2, 0.1, 0.1]
        """
        acceptable = isinstance(strength, float | int | np.number) and not isinstance(strength, bool)
        if not (acceptable and 0 < strength < math.inf):
            raise ValueError(f"strength must be a positive finite number, got {strength!r}")
        kappa = float(self.curvature_ratio)
        if kappa < 0:
            raise ValueError(f"{self.name} has κ = {kappa:g} < 0: its second-order term does not regularize")
        return float(strength) / kappa if kappa > 0 else float(strength)

    def soft_label(self, probability: float) -> MarginLoss:
        """p f(z) + (1−p) f(−z): the expected loss of a pair whose first response wins with probability p.

        Parameters
        ----------
        probability : float
            In [0, 1].

        Examples
        --------
        >>> from gpo_analysis.losses import get_loss
        >>> get_loss("squared").soft_label(0.75).expression
        (-z - 1)**2/4 + 3*(z - 1)**2/4
        """
        p = exact_number(probability, "probability", sympy.Interval(0, 1))
        return self._changed(f"soft_label({self.name}, {shown_number(p)})", p, 1 - p)

    def smoothed(self, epsilon: float) -> MarginLoss:
        """(1−ε) f(z) + ε f(−z): label smoothing, *conservative DPO* for the logistic f.

        Its slope at zero is (1−2ε) f′(0), its curvature f″(0): κ grows by 1/(1−2ε).
        Source: E. Mitchell, "A note on DPO with noisy preferences & relationship to IPO" (2023), for the logistic loss.

        Parameters
        ----------
        epsilon : float
            In [0, 1/2], the share of labels taken to be flipped.

        Examples
        --------
        >>> from gpo_analysis.losses import get_loss
        >>> get_loss("dpo").smoothed(0.1).expression
        9*log(1 + exp(-z))/10 + log(exp(z) + 1)/10
        """
        e = exact_number(epsilon, "epsilon", sympy.Interval(0, _HALF))
        return self._changed(f"smoothed({self.name}, {shown_number(e)})", 1 - e, e)

    def robust(self, epsilon: float) -> MarginLoss:
        """[(1−ε) f(z) − ε f(−z)]/(1−2ε): unbiased for the loss of the clean label when a share ε of labels is flipped.

        Source: Natarajan et al. 2013 for classification; Chowdhury et al. 2024 (arXiv 2403.00409) for DPO.
        For an f that is not bounded above it is not bounded below: one-sided data have no optimum.

        Parameters
        ----------
        epsilon : float
            In [0, 1/2).

        Examples
        --------
        >>> from gpo_analysis.losses import get_loss
        >>> loss = get_loss("squared")
        >>> bool(abs(0.9 * loss.robust(0.1)(0.3) + 0.1 * loss.robust(0.1)(-0.3) - loss(0.3)) < 1e-12)
        True
        """
        e = exact_number(epsilon, "epsilon", sympy.Interval.Ropen(0, _HALF))
        return self._changed(f"robust({self.name}, {shown_number(e)})", (1 - e) / (1 - 2 * e), -e / (1 - 2 * e))

    def rescaled(self) -> MarginLoss:
        """f/\\|f′(0)\\|, so that the slope at zero is −1 and losses of different scale can be compared.

        The population optimum does not move; the learning rate that it takes does.

        Raises
        ------
        ValueError
            If f′(0) is not negative, or f has a kink at 0.

        Examples
        --------
        >>> from gpo_analysis.losses import get_loss
        >>> float(get_loss("savage").rescaled().derivative(0.0))
        -1.0
        """
        slope = derivative_at_zero(self.expression, MARGIN, 1)
        if slope is sympy.nan or not number(slope) < 0:
            found = "does not exist (a kink)" if slope is sympy.nan else f"is {slope}"
            raise ValueError(f"rescaling needs f′(0) < 0, but f′(0) of {self.name} {found}")
        return MarginLoss(f"rescaled({self.name})", self.expression / -slope, reference=self.reference)

    def _changed(self, name: str, as_it_is: sympy.Expr, reflected: sympy.Expr) -> MarginLoss:
        """a f(z) + b f(−z); f(−z) is the loss of the same pair with its label flipped."""
        mixed = as_it_is * self.expression + reflected * self.expression.xreplace({MARGIN: -MARGIN})
        return MarginLoss(name, mixed, reference=self.reference)

    def __str__(self) -> str:
        return f"{self.name}: f(z) = {self.expression}"

    def _facts(self) -> list[tuple[str, Any]]:
        try:
            ratio = _short(self.curvature_ratio)
        except ValueError as why:
            ratio = f"none: {why}"
        at_zero = [(f"f{mark}(0)", float(self.derivative(0.0, order))) for order, mark in enumerate(("", "′", "″"))]
        facts: list[tuple[str, Any]] = [("name", self.name), ("f(z)", str(self.expression)), *at_zero, ("κ", ratio)]
        facts += [("also called", ", ".join(self.aliases))] if self.aliases else []
        return facts + ([("source", self.reference)] if self.reference else [])

    def _columns(self) -> dict[str, NDArray[np.float64]]:
        z = np.linspace(-4.0, 4.0, 9)
        return {"z": z, **{f"f{mark}(z)": self.derivative(z, order) for order, mark in enumerate(("", "′", "″"))}}

    def _panel(self) -> Panel:
        z = np.linspace(-4.0, 4.0, 401)
        f = np.asarray(self(z), dtype=np.float64)
        panel = lines(f"{self.name}: f(z)", "margin z = βρ", "loss f(z)", z, {self.name: f}, by_loss=True)
        near = 30.0 * float(np.abs([f[200], self.derivative(0.0)]).max())
        seen = f[np.abs(f) <= near]  # of steep losses what lies around 0
        return replace(panel, ylim=(float(seen.min()), float(seen.max()))) if 0 < len(seen) < len(f) else panel

    def _repr_html_(self) -> str:
        return f"<p>{self._repr_latex_()}</p>{super()._repr_html_()}"

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle f_{{\\text{{{self.name.replace('_', ' ')}}}}}(z) = {sympy.latex(self.expression)}$"


def exact_number(value: float, what: str, accepted: sympy.Interval) -> sympy.Rational:
    """``value`` as the rational that its shortest decimal writes (0.1 is 1/10), checked to lie in ``accepted``."""
    if not isinstance(value, Real | sympy.Rational) or isinstance(value, bool) or not is_finite(value):
        raise ValueError(f"{what} must be a number in {accepted}, got {value!r}")
    exact = value if isinstance(value, sympy.Rational) else sympy.nsimplify(repr(float(value)), rational=True)
    if exact not in accepted:
        raise ValueError(f"{what} must be a number in {accepted}, got {value!r}")
    return exact


def _short(value: sympy.Expr) -> str:
    """An exact number, or a decimal of one that is long."""
    text = str(value)
    return text if len(text) <= 24 else f"{float(value):.6g}"


def shown_number(value: float | sympy.Expr) -> str:
    """A number with as few digits as say which it is.

    Examples
    --------
    >>> shown_number(0.1), shown_number(sympy.Rational(1, 3)), shown_number(2.0)
    ('0.1', '1/3', '2')
    """
    if isinstance(value, sympy.Rational) and sympy.Rational(repr(float(value))) != value:
        return str(value)
    short = f"{float(value):g}"
    return short if float(short) == float(value) else repr(float(value))
