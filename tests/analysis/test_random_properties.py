"""Laws that hold of any loss, over expressions drawn from the parser's own grammar: every function and operator of it.

Drawn are trees of the words that a text may hold (scaled, shifted and reflected arguments at the leaves). A law is
tried where the analysis decides both sides; how often that is, is asserted too.
"""

from __future__ import annotations

import random

import numpy as np
import pytest

import gpo_analysis as gpo
from gpo_analysis.analysis import bayes_risk, conjugate
from gpo_analysis.losses.shape import pieces
from gpo_analysis.losses.words import FUNCTIONS

ETA = np.array([0.07, 0.4, 0.5003, 0.8, 0.99])
LEAVES = ("z", "-z", "1-z", "z-2", "-3*z", "z/4", "0.3-z/2", "2*z+1", "5*(1-z)")
SAFE = {"log": "log(1+({0})**2)", "sqrt": "sqrt(1+({0})**2)", "cosh": "cosh(({0})/5)", "sinh": "sinh(({0})/5)"}
SAFE |= {"exp": "exp(({0})/2)", "expm1": "expm1(({0})/2)", "log1p": "log1p(({0})**2)"}
SHAPES = ("({0})+({1})", "({0})-({1})/3", "2*({0})", "({0})/(1+({1})**2)", "({0})**2", "({0})*sigmoid({1})")
SEEDS = range(24)


def drawn(generator: random.Random, depth: int) -> str:
    """A text of the grammar."""
    if depth == 0:
        return generator.choice(LEAVES)
    if generator.random() < 0.4:
        shape = generator.choice(SHAPES)
        return shape.format(drawn(generator, depth - 1), drawn(generator, 0))
    name = generator.choice(sorted(FUNCTIONS))
    count = FUNCTIONS[name].arguments or 2
    arguments = [drawn(generator, depth - 1 if k == 0 else 0) for k in range(count)]
    return SAFE[name].format(*arguments) if name in SAFE else f"{name}({','.join(arguments)})"


def pair(seed: int, change: str) -> tuple[gpo.MarginLoss, gpo.MarginLoss]:
    """A random loss, of at most 60 characters, and what a change of its text makes of it."""
    generator = random.Random(f"{change}/{seed}")
    while True:
        text = drawn(generator, generator.choice((1, 2, 2)))
        if len(text) > 60:
            continue
        try:
            loss, changed = gpo.parse_loss(text, name=text), gpo.parse_loss(change.format(f=f"({text})"))
            pieces(loss)
        except gpo.Undecided:
            return loss, changed
        except ValueError:  # refused, or not finite on the whole line: log2(relu(z))
            continue
        return loss, changed


def decided(function, *calls):  # type: ignore[no-untyped-def]
    """The values at several arguments, or None where one is not decided."""
    try:
        return [function(*arguments) for arguments in calls]
    except gpo.Undecided:
        return None


def reflected(loss: gpo.MarginLoss) -> gpo.MarginLoss:
    return gpo.MarginLoss("reflected", loss.expression.subs(loss.symbol, -loss.symbol))


@pytest.mark.parametrize("change", ["3*{f}", "{f}/1000", "{f}+7", "{f}-1/3"])
def test_height_and_scale(change: str) -> None:
    """a f + b has the margins of f, the Bayes risk a H + b and the conjugate a f*(s/a) − b."""
    tried = 0
    factor, shift = {"3*{f}": (3, 0), "{f}/1000": (0.001, 0), "{f}+7": (1, 7), "{f}-1/3": (1, -1 / 3)}[change]
    for seed in SEEDS[:6]:
        loss, changed = pair(seed, change)
        found = decided(bayes_risk, (loss, ETA), (changed, ETA))
        if found is None:
            continue
        tried += 1
        finite = np.isfinite(found[0])
        assert (np.isfinite(found[1]) == finite).all(), loss.name
        size = factor * (1 + abs(found[0][finite])) + abs(shift)
        assert np.all(abs(found[1][finite] - factor * found[0][finite] - shift) <= 1e-9 * size), loss.name
        slopes = np.array([-1.0, -0.25, 0.0])
        dual = decided(conjugate, (loss, slopes), (changed, factor * slopes))
        if dual is not None:
            same = np.isfinite(dual[0]) & np.isfinite(dual[1])
            gap = abs(dual[1][same] - factor * dual[0][same] + shift)
            assert np.all(gap <= 1e-8 * (factor * (1 + abs(dual[0][same])) + abs(shift))), loss.name
    assert tried >= 5


def test_reflection() -> None:
    """f(−z) has the Bayes risk of f, the mirrored conjugate, the convexity, and κ of the same size.

    Some 15 s of processor time: 16 losses that were never seen are analysed by computer algebra and by enclosures.
    """
    tried = 0
    for seed in SEEDS[:8]:
        loss, _ = pair(seed, "{f}")
        mirrored = reflected(loss)
        found = decided(bayes_risk, (loss, ETA), (mirrored, ETA))
        if found is None:
            continue
        tried += 1
        np.testing.assert_allclose(found[1], found[0], rtol=1e-9, atol=1e-11, err_msg=loss.name)
        first, second = gpo.analyze(loss), gpo.analyze(mirrored)
        assert first.is_convex is second.is_convex, loss.name
        assert np.allclose(sorted(float(x) for x in first.kinks), sorted(-float(x) for x in second.kinks)), loss.name
        slopes = np.array([-0.5, 0.0, 0.25])
        dual = decided(conjugate, (loss, slopes), (mirrored, -slopes))
        if dual is not None:
            np.testing.assert_allclose(dual[1], dual[0], rtol=1e-8, atol=1e-9, err_msg=loss.name)
    assert tried >= 6


def test_the_unit_of_the_margin() -> None:
    """f(cz) has the margins z*/c, the same Bayes risk, the same verdicts."""
    tried = 0
    for seed in SEEDS[:8]:
        loss, _ = pair(seed, "{f}")
        factor = (8, 0.125)[seed % 2]
        changed = gpo.MarginLoss("changed", loss.expression.subs(loss.symbol, factor * loss.symbol))
        found = decided(bayes_risk, (loss, ETA), (changed, ETA))
        if found is None:
            continue
        tried += 1
        np.testing.assert_allclose(found[1], found[0], rtol=1e-9, atol=1e-11, err_msg=loss.name)
        assert gpo.analyze(loss).is_convex is gpo.analyze(changed).is_convex, loss.name
    assert tried >= 6


def test_sums_and_certainty() -> None:
    """H of a sum is at least the sum of both; at η = 1 it is inf f, which no point of a grid is below.

    Some 12 s of processor time: the infimum of 24 losses that were never seen, at six labels, is enclosed.
    """
    tried = 0
    grid = np.concatenate([np.linspace(-9, 9, 721), np.geomspace(9, 1e4, 60), -np.geomspace(9, 1e4, 60)])
    for seed in SEEDS[:8]:
        first, second = pair(seed, "{f}")[0], pair(seed, "{f}+z**2/9")[0]
        total = gpo.MarginLoss("sum", first.expression + second.expression)
        eta = np.append(ETA, 1.0)
        found = decided(bayes_risk, (first, eta), (second, eta), (total, eta))
        if found is None:
            continue
        tried += 1
        with np.errstate(invalid="ignore"):
            parts = found[0] + found[1]
            low = found[2] >= parts - 1e-9 * (1 + abs(parts))
        assert np.all(low | ~np.isfinite(parts)), (first.name, second.name)
        values = np.asarray(total(grid), dtype=float)
        lowest = values[np.isfinite(values)].min()
        assert found[2][-1] <= lowest + 1e-9 * (1 + abs(lowest)), (first.name, second.name)
    assert tried >= 6
