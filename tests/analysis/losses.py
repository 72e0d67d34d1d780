"""Losses that a user may type, shared by the tests of the analysis."""

from __future__ import annotations

from functools import cache

import mpmath
import sympy

import gpo_analysis as gpo
from gpo_analysis.losses import MarginLoss

TYPED = [
    "log(cosh(1-z))",
    "sqrt(1+(1-z)**2)",
    "max(0,1-z)**3",
    "abs(1-z)",
    "log(1+exp(-z))+max(0,-z)/2",
    "1-tanh(z)",
    "1/(1+exp(z))",
    "exp(-z)+z",
    "atan(-z)",
    "z**4/4-z",
    "-log(erfc(-z/sqrt(2))/2)",
    "1+0*z",
    "-z",
    "z",
    "exp(-z**2)",
    "erfc(z)",
    "min(1,max(0,1-z))",
    "exp(exp(-z))",
    "log(1+exp(1-z**2))",
    "log(1+z**2)-z",
    "sqrt(abs(z))",
    "abs(z)**3",
    "max(0,1-z)**1.5",
    "log(1+exp(-z))**2",
    "2**(-z)",
    "exp(-z)*(1+z)",
    "(1-z)**64",
    "log(1+exp(-37*z))/37",
    "sqrt(log(1+exp(-2*z)))",
    "max(0,exp(-z)-z)",
    "abs(abs(z-1)-1)",
    "log(1+exp(-z))*log(1+exp(z))",
    "-z/(1+abs(z))",
    "-log(1+tanh(z))",
    "1e30*(1-z)**2",
    "-z*exp(-z**2)",
]


@cache
def loss_of(text: str) -> MarginLoss:
    """A loss of the catalogue by its name, anything else as typed in."""
    return gpo.get_loss(text) if text in gpo.list_losses() else gpo.parse_loss(text)


@cache
def precise(loss: MarginLoss):
    """f in mpmath arithmetic, straight from the expression."""
    return sympy.lambdify(loss.symbol, loss.expression, "mpmath")


def risk(loss: MarginLoss, eta: float, z: float) -> mpmath.mpf:
    """η f(z) + (1 − η) f(−z) in the working precision of mpmath."""
    f, p, x = precise(loss), mpmath.mpf(eta), mpmath.mpf(z)
    return mpmath.mpf(0 if p == 0 else p * f(x)) + mpmath.mpf(0 if p == 1 else (1 - p) * f(-x))
