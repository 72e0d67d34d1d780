"""The parser ends soon with a loss or a ValueError, whatever it is given; a bounded part of fuzz/expressions.py."""

from __future__ import annotations

import time

import mpmath
import numpy as np
import pytest

import gpo_analysis as gpo
from fuzz.expressions import Findings, attack, texts

EXPONENTIALS = "max(" + ",".join(f"exp({k}*z-z**2)" for k in range(16)) + ")"
REFUSED = {
    "relu(log(z))": "not a finite real number at z = -1000",
    "softplus(sqrt(z))": "not a finite real number at z = -1000",
    "expm1(-1e100)+z": "exponent above 231",
    "logcosh(1e16)+z": "exponent above 231",
    "9" * 900: r"beyond ±1e\+100",
    "z+" + "9" * 900: r"beyond ±1e\+100",
    "1e-200*z": "closer to 0 than 1e-100",
    "max(z, 1/0)": "division by zero",
    "max(0, 1/(z-z))": "division by zero",
    "max(0, 1/(exp(z)-exp(z)))": "division by zero",
    EXPONENTIALS: "more than 8 alternatives",
    "max(max(z,1),max(2*z,exp(z)),max(3*z,exp(-z)),max(4*z,z**2),max(5*z,z**3))": "more than 8 alternatives",
    "z**40*z**40": "powers above 64",
    "((z*z*z)**5)**5": "powers above 64",
    "(1e16)**(1e100+z)": "constant factor",
    "exp(1e9*(1-z))": r"exponent beyond ±1e\+06 at z = 0",
    "erfc(ln(1e16))": "closer to 0",
    "(-8)**(1/3)+z": "not a real number",
    "sqrt(-1)*z*sqrt(-1)": "not a real number",
    "\ud800z": "surrogates",
    "(12345678/987654321)**(123456789/987654321)": "denominator above 1000",
    "exp(z + log(3)/987654321)": "is not taken",
    "exp(z + 1e5*log(2))": "is not taken",
    "log(-exp(z))": "not a finite real number",
    "z\x00": "null",
    "z,": "not allowed",
    "z" + "!" * 20: "invalid syntax",
}


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: ascii(text)[:40])
def test_refused_at_once(text: str) -> None:
    began = time.process_time()
    with pytest.raises(ValueError, match=REFUSED[text]):
        gpo.parse_loss(text)
    assert time.process_time() - began < 1.0


READ = {
    "exp(exp(z**2))": lambda z: mpmath.exp(mpmath.exp(z**2)),
    "-sinh(sinh(z*z))": lambda z: -mpmath.sinh(mpmath.sinh(z * z)),
    "max(exp(z),exp(2*z),exp(3*z),exp(4*z),exp(5*z),exp(6*z),exp(7*z),exp(8*z))": lambda z: max(
        mpmath.exp(k * z) for k in range(1, 9)
    ),
    "cosh(z)-sinh(z)": lambda z: mpmath.exp(-z),
    "exp(z**2)*max(0,1-z)": lambda z: mpmath.exp(z**2) * max(mpmath.mpf(0), 1 - z),
    "exp(-exp(z)*exp(z))": lambda z: mpmath.exp(-mpmath.exp(2 * z)),
    "erfc((1e6)**(z))": lambda z: mpmath.erfc(mpmath.mpf(10) ** (6 * z)) if z < 20 else mpmath.mpf(0),
    "logaddexp(erfc(exp(z)),exp(0.1))": lambda z: mpmath.log(
        mpmath.exp(mpmath.erfc(mpmath.exp(z))) + mpmath.exp(mpmath.exp(mpmath.mpf("0.1")))
    ),
    "1e99*z*1e99": lambda z: mpmath.mpf(10) ** 198 * z,
    "log(1+exp(-z))-exp(-z)": lambda z: mpmath.log1p(mpmath.exp(-z)) - mpmath.exp(-z),
    "abs(abs(abs(abs(z-8)-4)-2)-1)": lambda z: abs(abs(abs(abs(z - 8) - 4) - 2) - 1),
}


@pytest.mark.parametrize("text", READ)
def test_read_at_once_and_right(text: str) -> None:
    began = time.process_time()
    loss = gpo.parse_loss(text)
    assert time.process_time() - began < 1.0
    points = (-40.0, -6.0, -1.25, 0.0, 0.7, 2.5, 30.0)
    for z, found in zip(points, loss(np.array(points)), strict=True):
        with mpmath.workdps(400):
            towering = abs(z) > 5 and ("exp(exp" in text or "sinh(sinh" in text)
            wanted = mpmath.inf if towering else READ[text](mpmath.mpf(z))
        if abs(wanted) < 1e308:
            assert found == pytest.approx(float(wanted), rel=1e-9, abs=1e-300)
        else:
            assert np.isinf(found)


def test_generated_texts_raise_nothing_else_and_take_no_second() -> None:
    found = Findings()
    sample = texts(250, seed=20)
    assert len(set(sample)) == 250
    for text in sample:
        attack(found, text)
    assert found.read > 20
    assert sum(found.refused.values()) > 50
    assert found.raised == []
    assert found.slow == []
