"""Hand-made and random losses, and small problems solved with them, against an oracle of 50 digits.

    python -m fuzz.attack --losses 120 --problems 150 --seed 0

Of each loss: margins, Bayes risks, closed forms and conjugates at seven η and five slopes, from one half to certainty.
Of each problem (two to five responses, among them graded weights and preferences that round to certainty): the status,
the value, the minimiser. What is found is printed as it goes: compared, wrong, raised (anything but a refusal in
words), undecided, and stationary points that say of themselves that they need not be the minimum and are not. The exit
status says whether anything is wrong or raised.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import mpmath
import numpy as np
import sympy

import gpo_analysis as gpo
from fuzz.analyses import text
from fuzz.calculus import loss_text
from fuzz.oracle import DIGITS, Line, Table
from gpo_analysis.analysis import conjugate
from gpo_analysis.cli.arguments import Parser, whole

ETA = (0.5003, 0.5 + 2.0**-40, 0.31, 0.83, 0.99999, 1 - 1e-9, 1.0)
SLOPES = (-3.0, -1.0, -0.1, 0.0, 0.4)
# fmt: off
HAND_MADE = [
    "exp(-30*z)", "exp(-10*z)", "max(exp(-z),1-z)", "max(tanh(-z)+z,-z)", "exp(-30*z)+z**2/100",
    "softplus(-1000*(z-1))/1000", "softplus(-z/1000)*1000", "log(1+softplus(-z)**2)", "log(1+z**2)-z/2",
    "sqrt(1+(z-3)**2)-z/3", "1/(1+exp(20*z-3))**2", "max(0,1-z)**2+max(0,z-4)", "abs(z-1)+abs(z+2)/3",
    "exp(-z**2)-z/10", "atan(-5*z)+z**2/50", "sqrt(abs(z-1))", "abs(z-1)**0.3", "(1-z)/(1+z**2)",
    "max(exp(-z),1-z,2-3*z)", "log(cosh(z-2))", "erfc(z)+erfc(z/20)/3", "1/(1+exp(z/500))**2",
    "exp(-z)*(1+z**2)", "max(1-z,(1-z)**3)", "log(200+z**2+exp(z/10))-z/50", "z**4/1000-z", "max(-z,z**2-1)",
    "exp(-exp(z/2))", "max(0,1-z)+z**2/10", "softplus(10*(1-z))/10", "max(0,1-z)", "max(0,1-z)**2",
    "-log(erfc(-z/sqrt(2))/2)", "1/(1+exp(z))**2", "log(1+exp(-z))", "(1-z)**2", "exp(-z)-log(1+exp(-z))/2",
    "abs(z-1)-exp(-z**2)/2", "min(1,max(0,1-z))", "min(2,softplus(1-2*z))+z**2/400",
    "0.9*softplus(-z)+0.1*softplus(z)", "log(1+(1-z)**2)",
]
# fmt: on
KINDS = ("margin", "height", "closed link", "closed risk", "conjugate", "status", "value", "minimiser")


@dataclass
class Findings:
    """What was compared, by kind, and what came of it."""

    compared: Counter[str] = field(default_factory=Counter)
    undecided: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    raised: list[str] = field(default_factory=list)
    refused: int = 0
    not_global: int = 0

    def note(self, kind: str, right: bool, words: str) -> None:
        """Count one comparison."""
        self.compared[kind] += 1
        if not right:
            self.wrong.append(f"{kind}: {words}")
            print(f"  wrong  {self.wrong[-1]}", flush=True)

    def open(self, kind: str, words: str) -> None:
        """Count one question that the library leaves open."""
        self.undecided[kind] += 1
        if self.undecided[kind] <= 12:
            print(f"  undecided  {kind}: {words}", flush=True)

    def failed(self, words: str, error: Exception) -> None:
        """Count one exception that is not a refusal in words."""
        self.raised.append(f"{words}: {type(error).__name__}: {error}")
        print(f"  raised  {self.raised[-1]}", flush=True)

    def line(self) -> str:
        """The counts so far."""
        return (
            f"{self.compared.total()} compared, {len(self.wrong)} wrong, {len(self.raised)} raised, "
            f"{self.undecided.total()} undecided, {self.refused} texts refused, "
            f"{self.not_global} stationary, not global"
        )


# ---- a loss on the line ----------------------------------------------------------------------------------------------


def attack_loss(found: Findings, written: str) -> None:
    """Compare the margins, risks and conjugates of one loss."""
    try:
        loss = gpo.parse_loss(written, name=written)
    except ValueError:
        found.refused += 1
        return
    try:
        analysis = gpo.analyze(loss)
        z, height = analysis.optimal_margin(ETA), analysis.bayes_risk_at(ETA)
        dual = conjugate(loss, SLOPES)
    except gpo.Undecided as reason:
        found.open("loss", f"{written}: {reason.reason}")
        return
    except Exception as error:
        found.failed(written, error)
        return
    with mpmath.workdps(DIGITS):
        line = Line(loss)
        symbol = sympy.Symbol("eta", real=True)
        for k, eta in enumerate(ETA):
            p = mpmath.mpf(eta)
            lowest, place = line.lowest(p, 1 - p, mpmath.mpf(0))
            words = f"{written} at η = {eta!r}: z* = {float(z[k])!r}, H = {float(height[k])!r}, "
            words += f"oracle {mpmath.nstr(lowest, 17)} at {mpmath.nstr(place, 17)}"
            compare(found, line, (p, 1 - p, mpmath.mpf(0)), float(z[k]), float(height[k]), lowest, place, words)
            for kind, form, number in (
                ("closed link", analysis.link, z[k]),
                ("closed risk", analysis.bayes_risk, height[k]),
            ):
                if form is not None and eta < 1:
                    value = form.subs(symbol, sympy.Rational(eta))
                    exact = mpmath.mpmathify(sympy.N(value, 30)) if value.is_finite else mpmath.mpf(str(float(value)))
                    close = abs(exact - mpmath.mpf(float(number))) <= 1e-9 * abs(exact) + 1e-13
                    found.note(kind, bool(exact == float(number) or close), f"{words}; closed form {exact}")
        for s, value in zip(SLOPES, dual, strict=True):
            p, zero, slope = mpmath.mpf(1), mpmath.mpf(0), mpmath.mpf(str(s))
            lowest, place = line.lowest(p, zero, slope)
            words = f"{written} at s = {s}: f* = {float(value)!r}, "
            words += f"oracle {mpmath.nstr(-lowest, 17)} at {mpmath.nstr(place, 9)}"
            found.note("conjugate", _is_infimum(line, (p, zero, slope), -float(value), lowest, None), words)


def compare(
    found: Findings,
    line: Line,
    weights: tuple[Any, Any, Any],
    z: float,
    height: float,
    lowest: Any,
    place: Any,
    words: str,
) -> None:
    """Whether z is a minimiser and the height is the risk there."""
    if np.isnan(z) or np.isnan(height):
        found.note("margin", False, words)
        return
    if np.isinf(z):
        found.note("margin", _is_infimum(line, weights, height, lowest, 1 if z > 0 else -1), words)
        return
    at, size = line.at(*weights, z), line.size(*weights, z)
    # what a relative error of 1e-12 in z does to the risk, by its curvature; or in f, by its rounding
    step = mpmath.mpf(abs(z)) * mpmath.mpf(10) ** -11 + mpmath.mpf(10) ** -300
    beside = max(line.at(*weights, z + step), line.at(*weights, z - step)) - at
    slack = 4 * abs(beside) + size * mpmath.mpf(10) ** -28
    found.note("margin", bool(at <= lowest + slack), f"{words}; excess {mpmath.nstr(at - lowest, 3)}, at {place}")
    found.note(
        "height", bool(abs(at - mpmath.mpf(height)) <= 2e-12 * size), f"{words}; risk there {mpmath.nstr(at, 17)}"
    )


def _is_infimum(line: Line, weights: tuple[Any, Any, Any], height: float, lowest: Any, side: int | None) -> bool:
    """Whether nothing found is lower than the height, and it is reached or approached (on a side, if one is given)."""
    if np.isnan(height):
        return False
    sides = (side,) if side is not None else (1, -1)
    walks = [[line.at(*weights, one * x) for x in line.far] for one in sides]
    if np.isinf(height):
        return height < 0 and any(walk[-1] < walk[-2] < walk[0] and walk[-1] < lowest for walk in walks)
    exact = mpmath.mpf(height)
    slack = 1e-13 * (abs(exact) + abs(lowest)) + 1e-15 * line.size(*weights, 0)
    if lowest < exact - slack:
        return False
    if side is None and lowest <= exact + slack:
        return True
    gaps = [[value - exact for value in walk] for walk in walks]
    return any(abs(gap[-1]) <= slack or abs(gap[-1]) < abs(gap[-3]) * mpmath.mpf("0.7") for gap in gaps)


# ---- small problems --------------------------------------------------------------------------------------------------


def random_problem(rng: np.random.Generator) -> gpo.PreferenceProblem:
    """Two to five responses: random, Bradley–Terry, nearly certain, deterministic in part; μ even or graded."""
    n = int(rng.integers(2, 6))
    kind = rng.choice(["random", "random", "scores", "graded scores", "nearly certain", "some certain", "cycle"])
    if kind in ("scores", "graded scores"):
        preference = gpo.bradley_terry(rng.normal(size=n) * (2.0 if kind == "scores" else 15.0))
    else:
        upper = rng.uniform(0.02, 0.98, (n, n))
        if kind == "nearly certain":
            upper = np.where(rng.random((n, n)) < 0.5, 1 - 10.0 ** -rng.uniform(3, 13, (n, n)), upper)
        if kind == "some certain":
            upper = np.where(rng.random((n, n)) < 0.5, rng.choice([0.0, 1.0], (n, n)), upper)
        if kind == "cycle":
            upper = np.full((n, n), rng.choice([0.6, 0.9, 0.99]))
        upper = np.triu(upper, 1)
        preference = upper + np.tril(1 - upper.T, -1) + 0.5 * np.eye(n)
    mu = rng.dirichlet(np.full(n, 3.0)) if rng.random() < 0.7 else 10.0 ** -rng.uniform(0, 9, n)
    return gpo.PreferenceProblem(preference, mu / mu.sum())


def attack_problem(found: Findings, problem: gpo.PreferenceProblem, written: str, rng: np.random.Generator) -> None:
    """Compare the optimum of one problem."""
    try:
        loss = gpo.parse_loss(written, name=written)
    except ValueError:
        found.refused += 1
        return
    words = f"{written} on P = {np.round(problem.preference, 13).tolist()}, μ = {problem.behavior.tolist()}"
    try:
        fit = problem.fit(loss)
    except gpo.Undecided as reason:
        found.open("problem", f"{written}: {reason.reason}")
        return
    except Exception as error:
        found.failed(words, error)
        return
    words = f"{words}: {fit.status} ({fit.reason}), E f = {fit.value!r}, g = {np.ravel(fit.reward).tolist()}"
    if fit.status in ("not converged", "undecided"):
        found.open(f"problem, {fit.status}", words)
        return
    with mpmath.workdps(DIGITS):
        table = Table(Line(loss), loss, problem.directed_pairs(), problem.n)
        shown = fit.minimiser
        lowest, place = table.lowest(rng, [] if shown is None else [np.asarray(shown)])
        words += f"; oracle {mpmath.nstr(lowest, 17)} at {place.tolist()}"
        size = sum(
            abs(float(w)) * (abs(table.line(0)) + abs(table.line(place[i] - place[j])))
            for i, j, w in zip(table.pairs.winner, table.pairs.loser, table.pairs.weight, strict=True)
        )
        slack = mpmath.mpf(10) ** -10 * size
        if shown is not None and loss.expression.has(sympy.Abs, sympy.Max, sympy.Min):  # rounding of g at a cusp
            slack += table.shaken(np.asarray(shown))
        _compare_status(found, table, fit, lowest, slack, words)
        if shown is not None and fit.status != "unbounded below":
            at = table.exact(shown)
            found.note(
                "value", bool(abs(at - mpmath.mpf(fit.value)) <= slack), f"{words}; E f there {mpmath.nstr(at, 17)}"
            )
        if fit.status == "optimum":
            moved = _newton(table, np.asarray(fit.reward))
            if moved is not None:
                room = max(1e-8, 3 * fit.error) * (1 + abs(fit.reward).max())
                found.note(
                    "minimiser",
                    bool(moved <= room),
                    f"{words}; Newton in 50 digits moves it by {mpmath.nstr(moved, 3)}",
                )


def _compare_status(found: Findings, table: Table, fit: Any, lowest: Any, slack: Any, words: str) -> None:
    if fit.status == "unbounded below":
        far = [table.exact(x * np.ravel(direction)) for direction in _directions(table) for x in (1e3, 1e5)]
        found.note("status", bool(min(far) < -10 or min(far) < lowest - 10 * abs(lowest)), words)
        return
    lower = lowest < mpmath.mpf(fit.value) - slack
    if lower and ("need not be the global" in fit.reason or "lowest value found" in fit.reason):
        found.not_global += 1
        return
    if fit.status == "no finite optimum":
        # the infimum is not reached, and far out it is nearly
        reached = lowest <= mpmath.mpf(fit.value) - slack
        far = min(table.exact(x * direction) for direction in _directions(table) for x in (30.0, 300.0, 1e4, 1e6))
        near = min(far, lowest) <= mpmath.mpf(fit.value) + max(slack, abs(mpmath.mpf(fit.value)) * mpmath.mpf("1e-2"))
        found.note("status", bool(not reached and near), f"{words}; far out {mpmath.nstr(far, 9)}")
        return
    found.note("status", not lower, words)


def _directions(table: Table) -> list[np.ndarray]:
    """Each set of responses above the others, and the ranks of the wins."""
    n = table.n
    sets = [np.array([(k >> i) & 1 for i in range(n)], dtype=float) for k in range(1, 2**n - 1)]
    wins = np.bincount(table.pairs.winner, table.pairs.weight, n) - np.bincount(
        table.pairs.loser, table.pairs.weight, n
    )
    return [*sets, np.argsort(np.argsort(wins)).astype(float)]


def _newton(table: Table, g: np.ndarray) -> Any:
    """How far Newton's method in 50 digits goes from g: None where f has kinks, or it does not come to rest."""
    f, symbol = table.loss.expression, table.loss.symbol
    if f.has(sympy.Abs, sympy.Max, sympy.Min, sympy.sign, sympy.Heaviside):
        return None
    first, second = (sympy.lambdify(symbol, f.diff(symbol, k), "mpmath") for k in (1, 2))
    n = len(g)
    start = mpmath.matrix([mpmath.mpf(float(x)) for x in g])
    at = start.copy()
    for _ in range(30):
        gradient, hessian = mpmath.zeros(n, 1), mpmath.zeros(n, n)
        for i, j, w in zip(table.pairs.winner.tolist(), table.pairs.loser.tolist(), table.pairs.weight, strict=True):
            z, share = at[i] - at[j], mpmath.mpf(float(w))
            slope, curve = share * mpmath.re(first(z)), share * mpmath.re(second(z))
            gradient[i] += slope
            gradient[j] -= slope
            for a, b, sign in ((i, i, 1), (j, j, 1), (i, j, -1), (j, i, -1)):
                hessian[a, b] += sign * curve
        largest = max(abs(hessian[i, i]) for i in range(n))
        for i in range(n):
            for j in range(n):
                hessian[i, j] += largest / n
        try:
            step = mpmath.lu_solve(hessian, -gradient)
        except ZeroDivisionError:
            return None
        at += step
        if max(abs(x) for x in step) <= mpmath.mpf(10) ** -25 * (1 + max(abs(x) for x in at)):
            return max(abs(x) for x in at - start)
    return None


def main(arguments: list[str] | None = None) -> int:
    """Attack, print as it goes, and count; 1 where anything is wrong or raised."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--losses", type=whole(1), default=120, help="hand-made ones first, then random (default: 120)")
    parser.add_argument("--problems", type=whole(1), default=150, help="solved (default: 150)")
    parser.add_argument("--seed", type=whole(0), default=0, help="of what is drawn (default: 0)")
    chosen = parser.parse_args(arguments)
    found, generator = Findings(), random.Random(chosen.seed)
    draws = [*HAND_MADE, *((text, loss_text)[k % 2](generator) for k in range(chosen.losses))]
    for k, written in enumerate(draws[: chosen.losses], 1):
        attack_loss(found, written)
        if k % 10 == 0:
            print(f"{k} losses: {found.line()}", flush=True)
    for k in range(1, chosen.problems + 1):
        rng = np.random.default_rng([chosen.seed, k])
        written = HAND_MADE[k % len(HAND_MADE)] if k % 4 else (text, loss_text)[k % 8 // 4](generator)
        attack_problem(found, random_problem(rng), written, rng)
        if k % 10 == 0:
            print(f"{k} problems: {found.line()}", flush=True)
    for kind in KINDS:
        print(f"{kind:<14}{found.compared[kind]:>7} compared")
    for kind, count in sorted(found.undecided.items()):
        print(f"{kind:<28}{count:>7} undecided")
    print(found.line())
    return int(bool(found.wrong or found.raised))


if __name__ == "__main__":
    sys.exit(main())
