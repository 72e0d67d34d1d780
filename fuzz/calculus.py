"""Random losses, of at most 80 characters, whose pieces, convexity and tails are compared with values in many digits.

    python -m fuzz.calculus --count 200 --seed 0

Each claim is attacked by values that mpmath computes from the text's own expression, in 60 digits or more:

- pieces: the piece at z has the value of f there;
- convexity: a convex f has no chord below it; where f is said not to be convex, it lies above one; f(z/500) is convex
  exactly if f is;
- tails: the limits of f and f′ are approached far out, f stays above a limit that is not attained.

Counted are wrong claims (to be 0), undecided ones, and losses that took over ten seconds of processor time (to be 0 on
an idle machine).
"""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import mpmath
import sympy

from gpo_analysis.calculus.convexity import Convexity, convexity_of
from gpo_analysis.calculus.pieces import Piece, pieces_of
from gpo_analysis.calculus.tails import Tail, tails_of
from gpo_analysis.cli.arguments import Parser, whole
from gpo_analysis.losses.margin_loss import MARGIN, MarginLoss
from gpo_analysis.losses.parse import parse_loss

LONGEST = 80
ALLOWED = 10.0
"""Seconds of processor time that one loss may take on an idle machine."""
_DIGITS = 80
_UNARY = (
    *("softplus({})", "exp({})", "log(1+exp({}))", "sigmoid({})", "tanh({})", "atan({})", "relu({})", "abs({})"),
    *("sqrt(1+({})**2)", "logcosh({})", "({})**2", "max(0,{})**2", "erfc({})", "log(1+({})**2)", "1/(1+({})**2)"),
    *("-log(erfc({}))", "sqrt(abs({}))", "log(2+exp({})+exp(-2*({})))", "({})*tanh({})", "exp(-({})**2)"),
)
_ARGUMENTS = ("-z", "z", "1-z", "2-2*z", "-3*z", "z/2", "1-z/10", "0.3-z", "-5*z+2", "z-4", "10*(1-z)", "z/100")
_FACTORS = ("", "", "", "2*", "0.5*", "z/10+", "0.1*", "3*", "-0.2*")


def loss_text(generator: random.Random) -> str:
    """The text of a loss: a sum of one to three functions, some of them composed."""
    while True:
        terms = []
        for _ in range(generator.choice((1, 1, 2, 2, 3))):
            inner = generator.choice(_ARGUMENTS)
            for _ in range(generator.choice((1, 1, 1, 2))):
                inner = generator.choice(_UNARY).replace("{}", inner)
            terms.append(generator.choice(_FACTORS) + inner)
        text = generator.choice(("+", "+", "-")).join(terms)
        if generator.random() < 0.15:
            text = f"max({text},{generator.choice(_ARGUMENTS)})"
        if len(text) <= LONGEST:
            return text


@dataclass
class Findings:
    """What the claims came to."""

    losses: int = 0
    refused: int = 0
    undecided: Counter[str] = field(default_factory=Counter)
    wrong: list[tuple[str, str]] = field(default_factory=list)
    slow: list[tuple[str, float]] = field(default_factory=list)


def attack(found: Findings, text: str, generator: random.Random) -> None:
    """Analyse one loss and compare."""
    try:
        loss = parse_loss(text)
    except ValueError:
        found.refused += 1
        return
    found.losses += 1
    began = time.process_time()
    try:
        cut = pieces_of(loss.expression, MARGIN)
        shape = convexity_of(loss.expression, MARGIN)
        both = tails_of(loss.expression, MARGIN)
    except ValueError:
        found.undecided["pieces"] += 1
        return
    finally:
        seconds = time.process_time() - began
        if seconds > ALLOWED:
            found.slow.append((text, seconds))
    f = precise(loss)
    with mpmath.workdps(_DIGITS):
        complaints = [*_wrong_pieces(f, cut), *_wrong_convexity(f, shape, generator)]
        complaints += [*_wrong_tail(f, both.left, -1), *_wrong_tail(f, both.right, 1)]
    found.wrong += [(text, complaint) for complaint in complaints]
    found.undecided["convexity"] += shape.is_convex is None
    for tail in (both.left, both.right):
        found.undecided["tail"] += tail.kind in ("unknown", "oscillating")
        found.undecided["growth"] += tail.growth is None and tail.kind not in ("flat", "unbounded_below", "unknown")


def precise(loss: MarginLoss) -> Callable[[Any], mpmath.mpf]:
    """f in the working precision of mpmath, straight from the expression; NaN where mpmath gives up.

    Far out three times the digits are taken, for what cancels; what is infinite even so is not compared: log(2 −
    erfc(u)) at u = −98 loses 4,100 digits, and is log 0 in fewer.
    """
    plain = sympy.lambdify(MARGIN, loss.expression, "mpmath")

    def f(x: Any) -> mpmath.mpf:
        try:
            with mpmath.workdps((1 if abs(x) < 4 else 3) * mpmath.mp.dps):
                value = mpmath.mpf(plain(x))
        except OverflowError:
            return mpmath.nan
        return value if mpmath.isfinite(value) else mpmath.nan

    return f


def _wrong_pieces(f: Callable[[Any], mpmath.mpf], cut: tuple[Piece, ...]) -> list[str]:
    complaints = []
    for piece in cut:
        x = mpmath.mpf(str(sympy.N(piece.inner_point(), 40)))
        value = mpmath.mpf(str(sympy.N(piece.expression.subs(MARGIN, sympy.Rational(str(x))), 40)))
        if abs(value - f(x)) > mpmath.mpf(10) ** -25 * (1 + abs(value)):
            complaints.append(
                f"the piece at {mpmath.nstr(x, 8)} has {mpmath.nstr(value, 12)}, f {mpmath.nstr(f(x), 12)}"
            )
    return complaints


def _wrong_convexity(f: Callable[[Any], mpmath.mpf], shape: Convexity, generator: random.Random) -> list[str]:
    if shape.is_convex is None:
        return []
    lowest = mpmath.mpf(0)
    for scale in (0.01, 0.3, 3.0, 30.0):
        for _ in range(25):
            a, b = (mpmath.mpf(generator.gauss(0.0, scale)) + generator.choice((0, 0, 1, 4)) for _ in range(2))
            t = mpmath.mpf(generator.random())
            gap = (1 - t) * f(a) + t * f(b) - f((1 - t) * a + t * b)
            lowest = min(lowest, gap / (1 + abs(f(a)) + abs(f(b))))
    if shape.is_convex and lowest < -(mpmath.mpf(10) ** -40):
        return [f"said to be convex, but a chord lies below f by {mpmath.nstr(-lowest, 5)}"]
    if not shape.is_convex and shape.region is not None and not _is_seen(f, shape):
        return [f"said not to be convex on {shape.region}, where no chord lies below f"]
    return []


def _is_seen(f: Callable[[Any], mpmath.mpf], shape: Convexity) -> bool:
    """Whether a chord lies below f on every part of the region."""
    parts = shape.region.args if isinstance(shape.region, sympy.Union) else (shape.region,)
    for part in parts:
        if isinstance(part, sympy.FiniteSet):
            middles, width = [mpmath.mpf(str(sympy.N(x, 40))) for x in part], mpmath.mpf(10) ** -20
        else:
            low, high = (mpmath.mpf(str(sympy.N(end, 40))) if end.is_finite else None for end in (part.start, part.end))
            low = low if low is not None else (high if high is not None else 10) - 10
            high = high if high is not None else low + 10
            middles, width = [(low + high) / 2], (high - low) / 10**6
        for x in middles:
            if not f(x - width) + f(x + width) - 2 * f(x) < 0:
                return False
    return True


def _wrong_tail(f: Callable[[Any], mpmath.mpf], tail: Tail, side: int) -> list[str]:
    """Compare with values at |z| = 10⁶ and 10⁷, in digits enough for what cancels."""
    if tail.kind in ("unknown", "oscillating"):
        return []
    with mpmath.workdps(400):
        far = [side * mpmath.mpf(10) ** k for k in (6, 7)]
        values = [f(x) for x in far]
        slopes = [(f(x + side * mpmath.mpf(10) ** -60) - f(x)) / (side * mpmath.mpf(10) ** -60) for x in far]
        if not all(mpmath.isfinite(number) for number in (*values, *slopes)):
            return []
        complaints = []
        for name, claimed, seen in (("f", tail.limit, values), ("f′", tail.slope, slopes)):
            if claimed is sympy.nan:
                continue
            if claimed.is_infinite:
                right = (seen[1] - seen[0]) * (1 if claimed > 0 else -1) > 0
            else:
                limit = mpmath.mpf(str(sympy.N(claimed, 30)))
                distance = [abs(value - limit) for value in seen]
                right = distance[1] <= distance[0] * mpmath.mpf("0.9") or distance[1] < mpmath.mpf(10) ** -12
            if not right:
                complaints.append(
                    f"{name} → {claimed} for z → {'+' if side > 0 else '−'}∞, but {mpmath.nstr(seen[1], 9)}"
                )
        if tail.limit.is_finite and tail.kind == "vanishing":
            outward = values[1] - mpmath.mpf(str(sympy.N(tail.limit, 50)))
            if abs(outward) > mpmath.mpf(10) ** -40 and (outward < 0) != tail.attained:
                complaints.append(f"attained = {tail.attained}, but f − lim f = {mpmath.nstr(outward, 5)} far out")
    return complaints


def main(arguments: list[str] | None = None) -> int:
    """Run the attack; 1 where a claim was wrong."""
    parser = Parser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--count", type=whole(1), default=200)
    parser.add_argument("--seed", type=whole(0), default=0)
    options = parser.parse_args(arguments)
    generator, found = random.Random(options.seed), Findings()
    while found.losses < options.count:
        attack(found, loss_text(generator), generator)
    print(f"{found.losses} losses, {found.refused} texts refused; undecided: {dict(found.undecided)}")
    print(f"{len(found.wrong)} wrong claims, {len(found.slow)} losses took over {ALLOWED:g} s")
    for text, complaint in found.wrong[:20]:
        print(f"  {text!r}: {complaint}")
    for text, seconds in found.slow[:20]:
        print(f"  {seconds:.1f} s: {text!r}")
    return int(bool(found.wrong))


if __name__ == "__main__":
    sys.exit(main())
