"""A margin loss: one sympy expression, and everything derived from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import sympy
from numpy.typing import ArrayLike, NDArray

from gpo_analysis.losses import compile as backend

if TYPE_CHECKING:
    import torch

MARGIN = sympy.Symbol("z", real=True)
"""The symbol z = βρ in which every loss is written."""


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
class MarginLoss:
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
        if not self.name:
            raise ValueError("name must not be empty")

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

    def smoothed(self, epsilon: float) -> MarginLoss:
        """(1−ε) f(z) + ε f(−z): see :func:`gpo_analysis.losses.modifiers.smoothed`."""
        from gpo_analysis.losses import modifiers

        return modifiers.smoothed(self, epsilon)

    def robust(self, epsilon: float) -> MarginLoss:
        """[(1−ε) f(z) − ε f(−z)]/(1−2ε): see :func:`gpo_analysis.losses.modifiers.robust`."""
        from gpo_analysis.losses import modifiers

        return modifiers.robust(self, epsilon)

    def soft_label(self, probability: float) -> MarginLoss:
        """p f(z) + (1−p) f(−z): see :func:`gpo_analysis.losses.modifiers.soft_label`."""
        from gpo_analysis.losses import modifiers

        return modifiers.soft_label(self, probability)

    def rescaled(self) -> MarginLoss:
        """f/|f′(0)|: see :func:`gpo_analysis.losses.modifiers.rescaled`."""
        from gpo_analysis.losses import modifiers

        return modifiers.rescaled(self)

    def __str__(self) -> str:
        return f"{self.name}: f(z) = {self.expression}"

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle f_{{\\text{{{self.name.replace('_', ' ')}}}}}(z) = {sympy.latex(self.expression)}$"
