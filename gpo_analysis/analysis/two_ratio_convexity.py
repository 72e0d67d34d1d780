"""Is F(a, b) convex in both log-ratios jointly? Proved part by part, refuted at a point, or not decided."""

from __future__ import annotations

import itertools
import math
from functools import lru_cache

import sympy

from gpo_analysis.calculus.convexity import convexity_of
from gpo_analysis.losses import CHOSEN, REJECTED, TwoRatioLoss
from gpo_analysis.losses.compile_two import evaluate_precisely
from gpo_analysis.losses.margin_loss import MARGIN

_GRID = (-6.0, -3.0, -1.5, -0.7, -0.2, 0.3, 0.9, 1.6, 3.1, 6.0)


@lru_cache(maxsize=256)
def joint_convexity(loss: TwoRatioLoss) -> tuple[bool | None, str]:
    """Whether F is convex in (a, b), and why.

    Parameters
    ----------
    loss : TwoRatioLoss

    Returns
    -------
    tuple of (bool or None, str)

    Examples
    --------
    >>> from gpo_analysis.losses import get_loss
    >>> [joint_convexity(get_loss(name))[0] for name in ("bco_pair", "dpop", "apo_zero")]
    [True, True, False]
    """
    parts = loss.parts
    lines = {
        "R(a)": parts.chosen.xreplace({CHOSEN: MARGIN}),
        "S(b)": parts.rejected.xreplace({REJECTED: MARGIN}),
        "f(a − b)": parts.margin,
    }
    present = {name: line for name, line in lines.items() if MARGIN in line.free_symbols}
    decided = {name: convexity_of(line, MARGIN).is_convex for name, line in present.items()}
    whole = _jointly(parts.mixed) in ("constant", "affine", "convex")
    if whole and all(decided.values()):
        named = [*present, *(["what is left, by the rules of composition"] if parts.mixed != 0 else [])]
        return True, "a sum of convex parts: " + ", ".join(named)
    witness = _curves_down(loss)
    if witness is not None:
        a, b, what = witness
        return False, f"at a = {a:g}, b = {b:g} {what}"
    return None, "not every part is convex by itself, and no point of a grid refutes it"


def _curves_down(loss: TwoRatioLoss) -> tuple[float, float, str] | None:
    """A point where the Hessian has a negative eigenvalue, its entries right to the last digit of a float."""
    for a, b in itertools.product(_GRID, _GRID):
        aa, ab, bb = (
            evaluate_precisely(loss.expression, loss.symbols, orders, a, b) for orders in ((2, 0), (1, 1), (0, 2))
        )
        if not all(map(math.isfinite, (aa, ab, bb))):
            continue
        size = 1e-12 * (abs(aa) + abs(ab) + abs(bb))
        if min(aa, bb) < -size:
            which = "F_aa" if aa <= bb else "F_bb"
            return a, b, f"{which} = {min(aa, bb):.6g} < 0"
        if aa * bb - ab * ab < -size * (abs(aa) + abs(ab) + abs(bb)):
            return a, b, f"F_aa F_bb − F_ab² = {aa * bb - ab * ab:.6g} < 0"
    return None


def _jointly(expression: sympy.Expr) -> str | None:
    """Return "constant", "affine" or "convex" in (a, b) by the rules of composition, None where they do not say."""
    symbols = (CHOSEN, REJECTED)
    if not expression.free_symbols:
        return "constant"
    polynomial = expression.as_poly(*symbols)
    if polynomial is not None and polynomial.total_degree() <= 1:
        return "affine"
    if isinstance(expression, sympy.Add):
        kinds = [_jointly(term) for term in expression.args]
        return None if None in kinds else "convex"
    if isinstance(expression, sympy.Mul):
        factor, rest = expression.as_independent(*symbols, as_Add=False)
        return "convex" if factor != 1 and factor.is_positive and _jointly(rest) is not None else None
    inner = [_jointly(argument) for argument in expression.args]
    if isinstance(expression, sympy.Max):
        return None if None in inner else "convex"
    if isinstance(expression, sympy.Abs):
        return "convex" if inner[0] == "affine" else None
    if isinstance(expression, sympy.exp):
        return None if inner[0] is None else "convex"
    if isinstance(expression, sympy.log):
        terms = sympy.Add.make_args(expression.args[0])
        return "convex" if all(_is_exponential_of_convex(term) for term in terms) else None
    if isinstance(expression, sympy.Pow):
        even = expression.exp.is_Integer and int(expression.exp) % 2 == 0 and expression.exp > 0
        return "convex" if even and inner[0] == "affine" else None
    return None


def _is_exponential_of_convex(term: sympy.Expr) -> bool:
    """c e^u with c > 0 and u convex: the logarithm of a sum of these is convex."""
    factor, rest = term.as_independent(CHOSEN, REJECTED, as_Add=False)
    if not factor.is_positive:
        return False
    return rest == 1 or (isinstance(rest, sympy.exp) and _jointly(rest.args[0]) is not None)
