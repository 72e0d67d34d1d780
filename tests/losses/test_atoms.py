"""What is known of an expression at a glance, before it is rewritten."""

from __future__ import annotations

import numpy as np
import sympy

from gpo_analysis.losses import atoms

Z = sympy.Symbol("z", real=True)
exp = sympy.exp


def test_what_is_positive_for_every_real_number() -> None:
    """True only where values are; sums need one positive term and no negative one."""
    positive = (1 + Z**2, Z**2 + exp(Z), 2 * exp(Z) + Z**4 + 3, sympy.Integer(2), (1 + Z**2) * exp(-Z), sympy.cosh(Z),
                (1 + Z**2) ** 3, sympy.sqrt(2) + atoms.absolute(Z))  # fmt: skip
    or_zero = (Z**2, Z**2 + Z**4, sympy.S.Zero, Z**2 * exp(Z), atoms.absolute(Z))
    neither = (Z, Z**2 + Z, Z**2 - 1, -exp(Z), Z**3, 1 - exp(Z), sympy.Integer(-1))
    for expression in positive:
        assert atoms._is_positive(expression), expression
        assert atoms._is_positive(expression, or_zero=True), expression
    for expression in or_zero:
        assert not atoms._is_positive(expression), expression
        assert atoms._is_positive(expression, or_zero=True), expression
    for expression in neither:
        assert not atoms._is_positive(expression), expression
        assert not atoms._is_positive(expression, or_zero=True), expression


def test_logarithms_of_products() -> None:
    """log of a product is the sum of its factors' logarithms, one of them or all with a closed form."""
    for product in (3 * exp(Z), exp(Z) * sympy.cosh(Z), sympy.pi * (1 + exp(Z)), 2 * (1 + Z**2), 5 * exp(Z) ** 2):
        found = atoms._log(product)
        values = [0.3, -1.2, 2.0]
        with_atoms = found.replace(atoms.softplus, lambda u: sympy.log(1 + exp(u)))
        with_atoms = with_atoms.replace(atoms.logcosh, lambda u: sympy.log(sympy.cosh(u)))
        with_atoms = with_atoms.replace(atoms.log1p_, lambda u: sympy.log(1 + u))
        shown = [float(with_atoms.subs(Z, x)) for x in values]
        np.testing.assert_allclose(shown, [float(sympy.log(product.subs(Z, x))) for x in values], rtol=1e-13)
