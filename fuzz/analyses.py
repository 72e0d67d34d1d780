"""Analyses of random losses held against brute force: margins, risks, convexity, calibration, radius, conjugate.

    python -m fuzz.analyses --count 200 --seed 0

Losses are sums and compositions of functions that a text may hold, shifted, reflected and rescaled. What is wrong is
counted, and what is not decided: the exit status says whether anything is wrong. Brute force is arithmetic of mpmath in
40 digits (or of numpy where 40 digits are not needed) on grids of its own; it shares nothing with the analysis but the
expression.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from dataclasses import dataclass, field

import mpmath
import numpy as np
import sympy

import gpo_analysis as gpo
from gpo_analysis.analysis import LossAnalysis
from gpo_analysis.cli.arguments import Parser, whole

ETA = (0.03, 0.2, 0.4321, 0.5003, 0.61, 0.83, 0.97, 0.9999, 1.0)
SLOPES = (-3.0, -1.0, -0.4, -0.05, 0.0, 0.3)
_INNER = ("exp(-{u})", "log(1+exp(-{u}))", "tanh({u})", "atan({u})", "1/(1+exp({u}))", "sqrt(1+({u})**2)", "({u})**2")
_OUTER = (
    "log(1+({v})**2)",
    "sqrt(2+({v})**2)",
    "log(3+({v})**2+exp({u}))",
    "1/(1+({v})**2)",
    "max(0,{v})",
    "({v})**2",
    "exp(-({v})**2)",
    "log(cosh({v}))",
    "softplus({v})",
    "abs({v})",
)


def text(generator: random.Random) -> str:
    """A loss: one to three terms, most of them falling at 0, with scales from 1/20 to 20."""
    terms = [_term(generator) for _ in range(generator.choice((1, 1, 2, 3)))]
    return "+".join(terms)


def _term(generator: random.Random) -> str:
    scale = generator.choice(("1", "1", "1/2", "2", "1/20", "20", "3"))
    shift = generator.choice(("0", "0", "1", "1/2", "2"))
    sign = generator.choice(("", "", "-"))
    u = f"({sign}({scale})*(z-{shift}))"
    inner = generator.choice(_INNER).format(u=u)
    if generator.random() < 0.45:
        inner = generator.choice(_OUTER).format(v=inner, u=u)
    weight = generator.choice(("1", "1", "1/3", "2", "1/10"))
    return f"{weight}*({inner})"


@dataclass
class Findings:
    """What was compared, what was wrong, what was left open, by kind."""

    checked: Counter[str] = field(default_factory=Counter)
    undecided: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def note(self, kind: str, loss: str, right: bool | None, words: str = "") -> None:
        """Count one comparison; ``right`` is None where the analysis did not decide."""
        self.checked[kind] += 1
        if right is None:
            self.undecided[kind] += 1
        elif not right:
            self.wrong.append(f"{kind}: {loss}: {words}")


class Brute:
    """A loss in numpy and in mpmath, on a grid in the units of −40 … 40 and far beyond."""

    def __init__(self, loss: gpo.MarginLoss) -> None:
        self.symbol = loss.symbol
        self.precise = sympy.lambdify(loss.symbol, loss.expression, "mpmath")
        far = np.geomspace(40, 1e6, 400)
        near = np.linspace(0, 40, 8001)
        half = np.concatenate([near, far, np.geomspace(1e-8, 1e-2, 200)])
        half = np.unique(half)
        self.grid = np.concatenate([-half[:0:-1], half])
        with np.errstate(all="ignore"):
            self.f = np.asarray(loss(self.grid), dtype=float)

    def __call__(self, z: float) -> mpmath.mpf:
        try:
            return mpmath.re(self.precise(mpmath.mpf(z)))
        except OverflowError:
            return mpmath.inf

    def risk(self, eta: float, z: float) -> mpmath.mpf:
        """η f(z) + (1 − η) f(−z)."""
        p = mpmath.mpf(eta)
        return (p * self(z) if p else mpmath.mpf(0)) + ((1 - p) * self(-z) if p < 1 else mpmath.mpf(0))

    def risks(self, eta: float) -> np.ndarray:
        """The risk on the grid, infinite where it is no number."""
        with np.errstate(all="ignore"):
            values = np.where(eta == 0, 0, eta * self.f) + np.where(eta == 1, 0, (1 - eta) * self.f[::-1])
        return np.where(np.isnan(values), np.inf, values)


def check(found: Findings, written: str) -> None:
    """Compare one loss."""
    try:
        loss = gpo.parse_loss(written)
    except ValueError:
        found.checked["refused"] += 1
        return
    analysis = gpo.analyze(loss)
    brute = Brute(loss)
    with mpmath.workdps(40):
        check_margins(found, written, analysis, brute)
        check_convexity(found, written, analysis, brute)
        check_calibration(found, written, analysis, brute)
        check_conjugate(found, written, analysis, brute)
        check_radius(found, written, analysis)


def check_margins(found: Findings, written: str, analysis: LossAnalysis, brute: Brute) -> None:
    """No point of the grid has a smaller risk than z*, and H is the risk there; closed forms are the numbers."""
    margins, risks = analysis.optimal_margin(ETA), analysis.bayes_risk_at(ETA)
    eta_symbol = sympy.Symbol("eta", real=True)
    for eta, z, height in zip(ETA, margins, risks, strict=True):
        values = brute.risks(eta)
        order = np.argsort(values, kind="stable")[:3]
        lowest = min(brute.risk(eta, brute.grid[k]) for k in order)
        scale = 1e-11 * (abs(eta * float(brute(0.3))) + abs(float(lowest)))
        words = f"η = {eta}: z* = {z}, H = {height}, a grid has {mpmath.nstr(lowest, 12)}"
        found.note("margin", written, bool(height <= float(lowest) + scale), words)
        if np.isfinite(z):
            found.note(
                "risk", written, bool(abs(brute.risk(eta, float(z)) - height) <= 1e-9 * (1 + abs(height))), words
            )
        for kind, form, number in (("link", analysis.link, z), ("closed risk", analysis.bayes_risk, height)):
            if form is None or eta == 1.0:
                continue
            value = form.subs(eta_symbol, sympy.Rational(eta))
            exact = complex(sympy.N(value, 25)) if value.is_finite else complex(float(value))
            same = exact.real == number or abs(exact - number) <= 1e-8 * (1e-3 + abs(number))
            found.note(kind, written, bool(same), f"η = {eta}: {exact}, numbers say {number}")


def check_convexity(found: Findings, written: str, analysis: LossAnalysis, brute: Brute) -> None:
    """Three points of the grid below their chord in 40 digits refute convexity; a convex f has none."""
    if analysis.is_convex is None:
        found.note("convex", written, None)
        return
    grid = brute.grid[abs(brute.grid) <= 60][::7]
    with mpmath.workdps(400):  # log(1 + e^{−20z}) far out
        values = [brute(x) for x in grid]
    dips = []
    for a, b, c, x, y, z in zip(grid, grid[1:], grid[2:], values, values[1:], values[2:], strict=False):
        share = (mpmath.mpf(b) - a) / (mpmath.mpf(c) - a)
        chord = x + share * (z - x)
        size = abs(x) + abs(y) + abs(z)
        if y > chord + mpmath.mpf(10) ** -28 * size:
            dips.append(b)
    if analysis.is_convex:
        found.note("convex", written, not dips, f"called convex, above a chord at z = {dips[:1]}")
    elif analysis.nonconvex_region is not None:
        inside = [point for point in dips if analysis.nonconvex_region.contains(sympy.Rational(point)) == sympy.true]
        near = [point for point in dips if _near(analysis.nonconvex_region, point)]
        words = f"above a chord at z = {dips[:1]}, outside {analysis.nonconvex_region}"
        found.note("convex", written, len(set(inside) | set(near)) == len(dips), words)


def _near(region: sympy.Set, point: float) -> bool:
    """Next to an end of the region, where a chord of the grid reaches in."""
    return any(end.is_finite and abs(float(end) - point) < 0.1 for end in _ends(region))


def _ends(region: sympy.Set) -> list[sympy.Expr]:
    parts = region.args if isinstance(region, sympy.Union) else (region,)
    return [x for part in parts for x in (part if isinstance(part, sympy.FiniteSet) else (part.start, part.end))]


def check_calibration(found: Findings, written: str, analysis: LossAnalysis, brute: Brute) -> None:
    """By the definition on the grid: a clear gap on the right side, or none anywhere."""
    if analysis.is_calibrated is None:
        found.note("calibrated", written, None)
        return
    right = brute.grid > 0
    for eta in (0.501, 0.55, 0.7, 0.9, 0.99):
        values = brute.risks(eta)
        size = 1e-9 * (1e-3 + abs(values[right].min()))
        if analysis.is_calibrated and np.isfinite(values.min()):
            wins = bool(values[~right].min() > values[right].min() - size)
            found.note("calibrated", written, wins, f"called calibrated; at η = {eta} the wrong side is lower")
    if not analysis.is_calibrated:
        gaps = []
        for eta in (0.5001, 0.501, 0.52, 0.55, 0.6, 0.7, 0.8, 0.9, 0.97, 0.99, 0.999):
            values = brute.risks(eta)
            gap = values[~right].min() - values[right].min()
            gaps.append(bool(gap <= 1e-7 * (1 + abs(values[right].min()))))
        found.note("calibrated", written, any(gaps), "called not calibrated; no η shows it")


def check_conjugate(found: Findings, written: str, analysis: LossAnalysis, brute: Brute) -> None:
    """f*(s) is the least upper bound of s z − f(z): no point of the grid above it, and some near it where finite."""
    domain = analysis.conjugate.domain
    if domain is None:
        found.note("conjugate", written, None)
        return
    for s in SLOPES:
        exact = sympy.Rational(repr(s))
        value = float(analysis.conjugate(s))
        inside = domain.contains(exact) == sympy.true
        found.note("domain", written, inside == bool(np.isfinite(value)), f"s = {s}: f* = {value}, domain {domain}")
        with np.errstate(all="ignore"):
            rows = s * brute.grid - brute.f
        best = float(np.nanmax(np.where(np.isinf(rows), -np.inf, rows)))
        slack = 1e-9 * (1 + abs(best))
        found.note("conjugate", written, best <= value + slack, f"s = {s}: f* = {value}, the grid has {best}")
        form = analysis.conjugate.expression
        if form is not None and inside and np.isfinite(value) and not isinstance(domain, sympy.FiniteSet):
            place = sympy.Symbol("s", real=True)
            if exact in (domain.inf, domain.sup):
                continue
            closed = complex(sympy.N(form.subs(place, exact), 25))
            found.note("closed conjugate", written, abs(closed - value) <= 1e-7 * (1 + abs(value)), f"{closed} {value}")


def check_radius(found: Findings, written: str, analysis: LossAnalysis) -> None:
    """Coefficients by the trapezoidal rule inside the radius decay at its rate, not faster and not slower."""
    radius = analysis.taylor_radius
    if radius is sympy.nan:
        found.note("radius", written, None)
        return
    if radius == 0 or any(abs(abs(kink) - radius) < 1e-12 for kink in analysis.kinks if kink.is_finite):
        return
    jet = _coefficients(analysis)
    if jet is None:
        return
    if radius == sympy.oo:
        # 96 terms tell a singularity near 1, and no more
        found.checked["radius" if _falls(jet, mpmath.mpf(1)) else "radius, not seen yet"] += 1
        if not _falls(jet, mpmath.mpf(1)) and _falls(jet, mpmath.mpf("0.5")):
            found.note("radius", written, not _rises(jet, mpmath.mpf(1)), "∞, yet the terms rise at 1")
        return
    r = mpmath.mpf(str(sympy.N(radius, 30)))
    if not _falls(jet, r / 4):  # so few terms show what is entire, whose terms still rise
        found.checked["radius, not seen yet"] += 1
        return
    found.note("radius", written, not _rises(jet, r * mpmath.mpf("0.85")), f"{radius}: the terms rise at 0.85 of it")
    grows = not _falls(jet, r * mpmath.mpf("1.2"))
    found.checked["radius from above" if grows else "radius from above, not seen yet"] += 1


def _falls(jet: list[mpmath.mpf], r: mpmath.mpf) -> bool:
    """Whether the last |aₙ| rⁿ are below those before them, or nothing."""
    sizes = [abs(a) * r**k for k, a in enumerate(jet)]
    before, last = max(sizes[-48:-24]), max(sizes[-24:])
    return bool(last <= before or last < mpmath.mpf(10) ** -30 * max(sizes))


def _rises(jet: list[mpmath.mpf], r: mpmath.mpf) -> bool:
    """Whether |aₙ| rⁿ goes on rising geometrically, not slower and slower as that of an entire function does."""
    sizes = [abs(a) * r**k for k, a in enumerate(jet)]
    first, before, last = max(sizes[-72:-48]), max(sizes[-48:-24]), max(sizes[-24:])
    if not last > before > first > 0:
        return not _falls(jet, r) and first == 0
    return bool(mpmath.log(last / before) >= mpmath.mpf("0.85") * mpmath.log(before / first))


def _coefficients(analysis: LossAnalysis) -> list[mpmath.mpf] | None:
    """96 coefficients by mpmath's numerical integration round a circle well inside; None where a kink is near 0."""
    radius = analysis.taylor_radius
    kinks = [abs(float(kink)) for kink in analysis.kinks]
    inner = min([float(radius) if radius.is_finite else 0.1, *kinks]) * 0.5
    if inner <= 0:
        return None
    home = analysis.expression
    for node in home.atoms(sympy.Max, sympy.Abs, sympy.Min):
        branch = node.args[0] if isinstance(node, sympy.Abs) else None
        if isinstance(node, sympy.Abs):
            home = home.xreplace({node: branch if branch.subs(analysis.loss.symbol, 0) > 0 else -branch})
        else:
            key = max if isinstance(node, sympy.Max) else min
            home = home.xreplace({node: key(node.args, key=lambda a: float(a.subs(analysis.loss.symbol, 0)))})
    slope = sympy.lambdify(analysis.loss.symbol, home.diff(analysis.loss.symbol), "mpmath")
    count = 256
    with mpmath.workdps(80):
        points = [mpmath.mpf(inner) * mpmath.expjpi(2 * mpmath.mpf(k) / count) for k in range(count)]
        try:
            values = [slope(z) for z in points]
        except (ZeroDivisionError, OverflowError, ValueError):
            return None
        found = []
        for n in range(96):
            total = mpmath.fsum(v * mpmath.expjpi(-2 * mpmath.mpf(n * k % count) / count) for k, v in enumerate(values))
            found.append(mpmath.re(total) / count / mpmath.mpf(inner) ** n)
    return found


def main(arguments: list[str] | None = None) -> int:
    """Count and show; 1 where anything is wrong."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=whole(1), default=200)
    parser.add_argument("--seed", type=whole(0), default=0)
    parser.add_argument("--show", action="store_true", help="each loss before it is analysed")
    chosen = parser.parse_args(arguments)
    generator, found = random.Random(chosen.seed), Findings()
    for _ in range(chosen.count):
        written = text(generator)
        if chosen.show:
            print(written, flush=True)
        check(found, written)
    for kind, count in sorted(found.checked.items()):
        print(f"{kind:<18}{count:>7} compared, {found.undecided[kind]} not decided")
    print(f"{len(found.wrong)} wrong")
    for line in found.wrong:
        print("  ", line)
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
