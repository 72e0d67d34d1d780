"""A loss of two log-ratios F(a, b), of which a margin loss is the case f(a − b)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import sympy
from numpy.typing import ArrayLike, NDArray

from gpo_analysis.losses import compile as backend
from gpo_analysis.losses import compile_two
from gpo_analysis.losses.margin_loss import MARGIN, Claims, MarginLoss, checked_name, exact_number, shown_number
from gpo_analysis.showing import Panel, Shown
from gpo_analysis.showing.charts import lines

if TYPE_CHECKING:
    import torch

CHOSEN = sympy.Symbol("a", real=True)
"""The symbol a = β log π(y_w)/πref(y_w)."""
REJECTED = sympy.Symbol("b", real=True)
"""The symbol b = β log π(y_l)/πref(y_l)."""


@dataclass(frozen=True)
class RatioParts:
    """F(a, b) = R(a) + S(b) + f(a − b) + mixed(a, b), term by term as it is written.

    Attributes
    ----------
    chosen, rejected : sympy.Expr
        R in a, S in b; 0 where there is no such term.
    margin : sympy.Expr
        f in z; constants are counted here.
    mixed : sympy.Expr
        What is left, in a and b.
    """

    chosen: sympy.Expr
    rejected: sympy.Expr
    margin: sympy.Expr
    mixed: sympy.Expr


@dataclass(frozen=True)
class TwoRatioLoss(Shown):
    """A loss F(a, b) of the two log-ratios of a pair, a = βh_w, b = βh_l, h = log π/πref.

    A margin loss is the case F = f(a − b). Any other F changes with a common shift of both log-ratios, so that
    Σπ = 1 takes part in what it fits, and β does not factor out.

    Arrays: a and b broadcast against each other; unreduced. numpy floats keep their dtype (integers become float64) and
    are computed in float64; torch tensors keep dtype and device and carry autograd of every order. What a float cannot
    hold becomes ``inf`` without a warning. At a kink the derivative is the subgradient of smallest magnitude of the
    Max or Abs that makes it.

    Attributes
    ----------
    name : str
    expression : sympy.Expr
        F, in the real symbols a and b (`gpo_analysis.losses.CHOSEN`, `REJECTED`).
    aliases : tuple of str
        Other names that :func:`gpo_analysis.get_loss` takes.
    reference : str
        Where the loss comes from.
    claims : Claims or None
        What the catalogue says of it: convexity in (a, b) jointly.
    caution : str
        What to beware of, such as how a library scales it.

    Examples
    --------
    >>> import gpo_analysis as gpo
    >>> pair = gpo.get_loss("bco_pair")
    >>> pair.expression
    log(1 + exp(-a)) + log(exp(b) + 1)
    >>> pair(np.array([0.0, 1000.0]), np.array([0.0, 1000.0]))
    array([   1.38629436, 1000.        ])
    >>> [float(slope) for slope in pair.gradient(0.0, 0.0)]
    [-0.5, 0.5]
    """

    name: str
    expression: sympy.Expr
    aliases: tuple[str, ...] = ()
    reference: str = ""
    claims: Claims | None = field(default=None, compare=False)
    caution: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.expression, sympy.Expr):
            raise ValueError(f"expression must be a sympy expression in a and b, got {self.expression!r}")
        strangers = self.expression.free_symbols - {CHOSEN, REJECTED}
        if strangers:
            names = ", ".join(sorted(map(str, strangers)))
            raise ValueError(f"expression must have no symbols but the real a and b of a TwoRatioLoss, got {names}")
        checked_name(self.name)

    @property
    def symbols(self) -> tuple[sympy.Symbol, sympy.Symbol]:
        """The real sympy symbols a and b of :attr:`expression`."""
        return CHOSEN, REJECTED

    @overload
    def __call__(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor: ...
    @overload
    def __call__(self, a: ArrayLike, b: ArrayLike) -> NDArray[Any]: ...
    def __call__(self, a: Any, b: Any) -> Any:
        """F(a, b), unreduced: arrays or tensors of any shapes that broadcast → their common shape."""
        return self._evaluate(a, b, (0, 0))

    @overload
    def derivative(self, a: torch.Tensor, b: torch.Tensor, orders: tuple[int, int]) -> torch.Tensor: ...
    @overload
    def derivative(self, a: ArrayLike, b: ArrayLike, orders: tuple[int, int]) -> NDArray[Any]: ...
    def derivative(self, a: Any, b: Any, orders: tuple[int, int]) -> Any:
        """∂ⁱ⁺ʲF/∂aⁱ∂bʲ at a and b.

        Parameters
        ----------
        a, b : array or tensor
        orders : tuple of two int
            (i, j), at least 0.

        Raises
        ------
        ValueError
            For other orders.
        """
        bad = not isinstance(orders, tuple) or len(orders) != 2
        if bad or any(isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 0 for k in orders):
            raise ValueError(f"orders must be two integers ≥ 0, got {orders!r}")
        return self._evaluate(a, b, (int(orders[0]), int(orders[1])))

    def gradient(self, a: Any, b: Any) -> tuple[Any, Any]:
        """(∂F/∂a, ∂F/∂b) at a and b."""
        return self._evaluate(a, b, (1, 0)), self._evaluate(a, b, (0, 1))

    def _evaluate(self, a: Any, b: Any, orders: tuple[int, int]) -> Any:
        if "torch" in (backend.module_of(a), backend.module_of(b)):
            from gpo_analysis.losses import torch_backend

            return torch_backend.apply_two(a, b, self.expression, (CHOSEN, REJECTED), orders)
        first, second = np.asarray(a), np.asarray(b)
        kinds = {array.dtype.kind for array in (first, second)}
        if not kinds <= set("iubf"):
            raise TypeError(f"log-ratios must be real numbers, got dtypes {first.dtype} and {second.dtype}")
        kept = np.result_type(*(array.dtype if array.dtype.kind == "f" else np.float64 for array in (first, second)))
        x, y = np.broadcast_arrays(first.astype(np.float64), second.astype(np.float64))
        found = compile_two.evaluate(self.expression, (CHOSEN, REJECTED), orders, x, y)
        with np.errstate(over="ignore", under="ignore"):
            return found.astype(kept, copy=False)[()]

    @cached_property
    def parts(self) -> RatioParts:
        """F as R(a) + S(b) + f(a − b) + what is left."""
        chosen = rejected = margin = mixed = sympy.S.Zero
        for term in sympy.Add.make_args(self.expression):
            symbols = term.free_symbols
            along = term.xreplace({CHOSEN: REJECTED + MARGIN}) if symbols == {CHOSEN, REJECTED} else term
            if symbols == {CHOSEN}:
                chosen += term
            elif symbols == {REJECTED}:
                rejected += term
            elif REJECTED not in along.free_symbols:
                margin += along
            else:
                mixed += term
        return RatioParts(chosen, rejected, margin, mixed)

    @cached_property
    def margin_loss(self) -> MarginLoss | None:
        """The f of F = f(a − b), None where F is no function of a − b as it is written."""
        parts = self.parts
        if parts.chosen == 0 and parts.rejected == 0 and parts.mixed == 0 and parts.margin.free_symbols:
            return MarginLoss(self.name, parts.margin, reference=self.reference)
        return None

    @classmethod
    def from_margin(cls, loss: MarginLoss) -> TwoRatioLoss:
        """f(a − b) as a loss of two log-ratios."""
        expression = loss.expression.xreplace({MARGIN: CHOSEN - REJECTED})
        return cls(loss.name, expression, reference=loss.reference)

    def swapped(self) -> TwoRatioLoss:
        """F(b, a): the loss of the same pair with its label flipped."""
        return TwoRatioLoss(f"swapped({self.name})", self._flipped, reference=self.reference)

    @property
    def _flipped(self) -> sympy.Expr:
        return self.expression.xreplace({CHOSEN: REJECTED, REJECTED: CHOSEN})

    def soft_label(self, probability: float) -> TwoRatioLoss:
        """p F(a, b) + (1−p) F(b, a): the expected loss of a pair whose first response wins with probability p.

        Parameters
        ----------
        probability : float
            In [0, 1].
        """
        p = exact_number(probability, "probability", sympy.Interval(0, 1))
        mixed = p * self.expression + (1 - p) * self._flipped
        return TwoRatioLoss(f"soft_label({self.name}, {shown_number(p)})", mixed, reference=self.reference)

    def smoothed(self, epsilon: float) -> TwoRatioLoss:
        """(1−ε) F(a, b) + ε F(b, a): label smoothing.

        Parameters
        ----------
        epsilon : float
            In [0, 1/2].

        Examples
        --------
        >>> from gpo_analysis.losses import get_loss
        >>> get_loss("bco_pair").smoothed(0.0).expression == get_loss("bco_pair").expression
        True
        """
        e = exact_number(epsilon, "epsilon", sympy.Interval(0, sympy.Rational(1, 2)))
        mixed = (1 - e) * self.expression + e * self._flipped
        return TwoRatioLoss(f"smoothed({self.name}, {shown_number(e)})", mixed, reference=self.reference)

    @property
    def along_margin(self) -> MarginLoss:
        """t ↦ F(t/2, −t/2): both log-ratios moved apart by t. For F = f(a − b) it is f."""
        half = MARGIN / 2
        return MarginLoss(f"{self.name} along the margin", self.expression.xreplace({CHOSEN: half, REJECTED: -half}))

    def why_not_falling(self) -> str:
        """What is to be said before it is fitted or trained where it does not fall along the margin at 0; else "".

        Examples
        --------
        >>> from gpo_analysis.losses import get_loss
        >>> get_loss("bco_pair").why_not_falling(), get_loss("log(1+exp(a)) + b**2").why_not_falling()[:45]
        ('', 'log(1+exp(a)) + b**2 along the margin has f′(')
        """
        return self.along_margin.why_not_falling()

    @property
    def curvature_ratio(self) -> sympy.Expr:
        """κ along the margin, (F_aa − 2F_ab + F_bb)/4 over \\|F_a − F_b\\|/2 at 0: that of f for F = f(a − b).

        Raises
        ------
        ValueError
            Where F has a kink at 0, or its slope along the margin is not negative.

        Examples
        --------
        >>> from gpo_analysis.losses import get_loss
        >>> get_loss("bco_pair").curvature_ratio, get_loss("sppo_hard").curvature_ratio
        (1/4, 1)
        """
        return self.along_margin.curvature_ratio

    def beta_of(self, strength: float) -> float:
        """The β at which κ along the margin times β is ``strength``; see :meth:`MarginLoss.beta_of`."""
        return self.along_margin.beta_of(strength)

    def __str__(self) -> str:
        return f"{self.name}: F(a, b) = {self.expression}"

    def _facts(self) -> list[tuple[str, Any]]:
        slopes = [float(slope) for slope in self.gradient(0.0, 0.0)]
        facts: list[tuple[str, Any]] = [("name", self.name), ("F(a, b)", str(self.expression))]
        facts += [("F(0, 0)", float(self(0.0, 0.0))), ("∂F/∂a at 0", slopes[0]), ("∂F/∂b at 0", slopes[1])]
        facts += [("also called", ", ".join(self.aliases))] if self.aliases else []
        return facts + ([("source", self.reference)] if self.reference else [])

    def _columns(self) -> dict[str, NDArray[np.float64]]:
        a, b = (part.ravel() for part in np.meshgrid(*[np.linspace(-2.0, 2.0, 3)] * 2, indexing="ij"))
        slopes = dict(zip(("∂F/∂a", "∂F/∂b"), self.gradient(a, b), strict=True))
        return {"a": a, "b": b, "F(a, b)": self(a, b), **slopes}

    def _notes(self) -> list[str]:
        return [self.caution] if self.caution else []

    def _panel(self) -> Panel:
        t = np.linspace(-4.0, 4.0, 401)
        along = {
            "along the margin: a = t/2, b = −t/2": self(t / 2, -t / 2),
            "a common shift: a = b = t": self(t, t),
        }
        return lines(f"F of {self.name}", "t", "F(a, b)", t, along)

    def _repr_html_(self) -> str:
        return f"<p>{self._repr_latex_()}</p>{super()._repr_html_()}"

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle F_{{\\text{{{self.name.replace('_', ' ')}}}}}(a, b) = {sympy.latex(self.expression)}$"


Loss = MarginLoss | TwoRatioLoss
"""Either kind."""


def mixture(parts: Iterable[tuple[float, Loss]], name: str | None = None) -> TwoRatioLoss:
    """Σ wₖ Fₖ(a, b): what a trainer makes of several losses with weights (TRL's ``loss_weights``).

    Parameters
    ----------
    parts : iterable of (float, MarginLoss or TwoRatioLoss)
        Weights, finite numbers, and losses; a margin loss counts as f(a − b). Libraries scale some of their losses
        (TRL's ``sppo_hard`` is F/β²): such factors belong into the weights.
    name : str, optional

    Raises
    ------
    ValueError
        For no part, or a weight that is not a finite number.

    Examples
    --------
    >>> from gpo_analysis.losses import get_loss, mixture
    >>> mixture([(1.0, get_loss("dpo")), (0.2, get_loss("sft"))], name="dpo and sft").expression
    -a/5 + log(exp(-a + b) + 1)
    """
    total, names = sympy.S.Zero, []
    for weight, loss in parts:
        w = exact_number(weight, "weight", sympy.Interval(-sympy.oo, sympy.oo))
        two = TwoRatioLoss.from_margin(loss) if isinstance(loss, MarginLoss) else loss
        if not isinstance(two, TwoRatioLoss):
            raise ValueError(f"a mixture takes losses, got {loss!r}")
        total += w * two.expression
        names.append(f"{shown_number(w)} {loss.name}")
    if not names:
        raise ValueError("a mixture needs at least one loss")
    return TwoRatioLoss(name or " + ".join(names), total, reference="a weighted sum")
