"""Atoms: the functions into which a loss is rewritten so that floating point evaluates it without harm.

``log(1 + exp(-z))`` written down as it stands is infinite at z = −1000; its derivative there is NaN. Each atom below is
a sympy function that knows its derivative in terms of other atoms, so that differentiating a rewritten expression any
number of times stays inside the stable set. The numerical forms stand in :mod:`gpo_analysis.losses.compile`.

At a kink an atom has the subgradient of smallest magnitude: ``relu'(0) = 0`` and ``|·|'(0) = 0``. So hinge has
f′(1) = 0, truncated quadratic f″(1) = 0. Second derivatives are those of the smooth pieces: no delta functions.
"""

# mypy: disable-error-code="misc"
# (sympy has no types, so its Function is Any to a subclass)
from __future__ import annotations

from typing import Any

import sympy


class softplus(sympy.Function):
    """log(1 + eᵘ)."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return expit(self.args[0])


class expit(sympy.Function):
    """The logistic function σ(u) = 1/(1 + e⁻ᵘ)."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return expit(self.args[0]) * expit(-self.args[0])


class tanh_(sympy.Function):
    """tanh u, whose derivative sech² u is written without the cancellation of 1 − tanh² u."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return 4 * expit(2 * self.args[0]) * expit(-2 * self.args[0])


class logcosh(sympy.Function):
    """log cosh u."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return tanh_(self.args[0])


class log1p_(sympy.Function):
    """log(1 + u)."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return 1 / (1 + self.args[0])


class expm1_(sympy.Function):
    """eᵘ − 1."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return sympy.exp(self.args[0])


class erfc_(sympy.Function):
    """The complementary error function; sympy's own turns erfc(−u) into 2 − erfc(u), which cancels."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return -2 * sympy.exp(-(self.args[0] ** 2)) / sympy.sqrt(sympy.pi)


class erfcx_(sympy.Function):
    """The scaled complementary error function exp(u²) erfc(u)."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return 2 * self.args[0] * erfcx_(self.args[0]) - 2 / sympy.sqrt(sympy.pi)


class logndtr(sympy.Function):
    """log Φ(u), Φ the standard normal distribution function; log erfc u = log 2 + log Φ(−√2 u)."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return sympy.sqrt(2 / sympy.pi) / erfcx_(-self.args[0] / sympy.sqrt(2))


class logsumexp(sympy.Function):
    """log(e^{u₁} + … + e^{uₖ})."""

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return sympy.exp(self.args[argindex - 1] - self)


class signum(sympy.Function):
    """sign u, 0 at u = 0; its derivative is 0 (that of the smooth pieces)."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return sympy.S.Zero


class absolute(sympy.Function):
    """|u|."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return signum(self.args[0])


class select(sympy.Function):
    """``a`` where u > 0, else ``b``: select(u, a, b). Max(a, b) is select(a − b, a, b)."""

    nargs = 3

    @classmethod
    def eval(cls, u: sympy.Expr, a: sympy.Expr, b: sympy.Expr) -> sympy.Expr | None:
        if a == b:
            return a
        if u.is_number and u.is_comparable:
            return a if u > 0 else b
        return None

    def _eval_derivative(self, symbol: sympy.Symbol) -> sympy.Expr:
        u, a, b = self.args
        return select(u, a.diff(symbol), b.diff(symbol))


def rewrite(expression: sympy.Expr) -> sympy.Expr:
    """Rewrite an expression in one real symbol into atoms, from the leaves up.

    Examples
    --------
    >>> import sympy
    >>> z = sympy.Symbol("z", real=True)
    >>> rewrite(sympy.log(1 + sympy.exp(-z)))
    softplus(-z)
    >>> rewrite(1 / (1 + sympy.exp(z)) ** 2)
    expit(-z)**2
    """
    if not expression.args or not expression.free_symbols:
        return expression
    arguments = [rewrite(argument) for argument in expression.args]
    return _rules(expression.func, arguments)


def _rules(head: Any, arguments: list[sympy.Expr]) -> sympy.Expr:
    """Rebuild ``head(*arguments)``, the arguments already rewritten, with the rule that fits."""
    if head is sympy.log:
        return _log(arguments[0])
    if head is sympy.Pow:
        return _power(*arguments)
    if head is sympy.Add:
        return _sum(sympy.Add(*arguments))
    if head is sympy.tanh:
        return tanh_(arguments[0])
    if head is sympy.erfc:
        return erfc_(arguments[0])
    if head is sympy.Abs:
        return absolute(arguments[0])
    if head in (sympy.Max, sympy.Min):
        result = arguments[0]
        for other in arguments[1:]:
            # a zero goes into the last place, so that at a tie the constant branch (slope 0) is taken
            first, second = (other, result) if not result.free_symbols else (result, other)
            difference = first - second if head is sympy.Max else second - first
            result = select(difference, first, second)
        return result
    return head(*arguments)


def _exponentials(expression: sympy.Expr) -> list[sympy.Expr] | None:
    """The exponents uₖ of an expression that is Σ e^{uₖ} with positive coefficients, else None."""
    exponents = []
    for term in sympy.Add.make_args(expression):
        coefficient, rest = term.as_independent(*expression.free_symbols, as_Add=False)
        exponent = sympy.S.Zero
        for factor in sympy.Mul.make_args(rest):
            if isinstance(factor, sympy.exp):
                exponent += factor.args[0]
            elif factor != 1:
                return None
        if not coefficient.is_positive:
            return None
        exponents.append(exponent + sympy.log(coefficient))
    return exponents


_POSITIVE = (sympy.exp, sympy.cosh, expit, erfc_)


def _is_positive(expression: sympy.Expr, or_zero: bool = False) -> bool:
    """Whether an expression is positive for every real z at a glance: a sum of squares and a positive number, say."""
    if not expression.free_symbols:
        return bool(expression.is_positive or (or_zero and expression.is_zero))
    if isinstance(expression, sympy.Add):
        never_negative = all(_is_positive(term, or_zero=True) for term in expression.args)
        return never_negative and (or_zero or any(_is_positive(term) for term in expression.args))
    if isinstance(expression, sympy.Mul):
        return all(_is_positive(factor, or_zero) for factor in expression.args)
    if isinstance(expression, (*_POSITIVE, softplus)):
        return True
    if isinstance(expression, sympy.Pow):
        even = bool(or_zero and expression.exp.is_Integer and int(expression.exp) % 2 == 0 and expression.exp > 0)
        return even or _is_positive(expression.base, or_zero and bool(expression.exp.is_positive))
    return or_zero and isinstance(expression, absolute)


def _log(inner: sympy.Expr) -> sympy.Expr:
    """log of a rewritten expression: of a product of positive factors it is a sum."""
    base, power = inner.as_base_exp() if not isinstance(inner, sympy.exp) else (inner, sympy.S.One)
    if power != 1 and (isinstance(base, _POSITIVE) or _exponentials(base) is not None):
        return power * _log(base)
    if isinstance(inner, sympy.Mul):
        known = [f for f in inner.args if f.is_positive or isinstance(f.as_base_exp()[0], _POSITIVE)]
        rest = sympy.Mul(*[f for f in inner.args if f not in known])
        if known and rest != inner:
            return sympy.expand_log(sympy.Add(*[_log(factor) for factor in known], _log(rest)))
    if isinstance(inner, sympy.exp):
        return inner.args[0]
    if isinstance(inner, expit):
        return -softplus(-inner.args[0])
    if isinstance(inner, sympy.cosh):
        return logcosh(inner.args[0])
    if isinstance(inner, erfc_):
        return sympy.log(2) + logndtr(-sympy.sqrt(2) * inner.args[0])
    exponents = _exponentials(inner)
    if exponents is not None and len(exponents) == 1:
        return exponents[0]
    if exponents is not None and len(exponents) == 2:
        first, second = sorted(exponents, key=lambda exponent: len(exponent.free_symbols))
        return first + softplus(second - first)
    if exponents is not None:
        return logsumexp(*exponents)
    if isinstance(inner, sympy.Add):
        rising = [term for term in inner.args if _exponentials(term) is not None and term.has(sympy.exp)]
        rest = sympy.Add(*[term for term in inner.args if term not in rising])
        if rising and _is_positive(rest):  # log(200 + z² + e^z), which e^z alone may overflow
            exponents = [exponent for term in rising for exponent in _exponentials(term) or []]
            level = _log(rest)
            return level + softplus(exponents[0] - level) if len(exponents) == 1 else logsumexp(*exponents, level)
    constant, rest = inner.as_independent(*inner.free_symbols, as_Add=True)
    return log1p_(rest) if constant == 1 else sympy.log(inner)


def _power(base: sympy.Expr, exponent: sympy.Expr) -> sympy.Expr:
    if base == sympy.E:
        return sympy.exp(exponent)
    if isinstance(base, select) and exponent.is_number and not exponent.is_Integer and exponent > 0:
        # √ and the like of each branch: the derivatives of √max(0, z) are ∞ · 0 where z < 0
        u, a, b = base.args
        return select(u, _power(a, exponent), _power(b, exponent))
    exponents = _exponentials(base)
    if exponents is None or len(exponents) != 2:
        return base**exponent
    first, second = sorted(exponents, key=lambda term: len(term.free_symbols))
    # (e^a + e^b)^p = e^{pa} (1 + e^{b−a})^p
    if exponent.is_negative:
        return sympy.exp(first * exponent) * expit(first - second) ** (-exponent)
    return base**exponent if exponent.is_Integer else sympy.exp(exponent * (first + softplus(second - first)))


def _sum(total: sympy.Expr) -> sympy.Expr:
    """Identities that take a cancelling sum away; c may be any factor, a number or a function of z.

    c − c σ(u) = c σ(−u); c ∓ c tanh u = 2c σ(∓2u); c − c erf u = c erfc u; 2c − c erfc u = c erfc(−u);
    c eᵘ − c = c expm1(u).
    """
    if not isinstance(total, sympy.Add):
        return total
    terms = set(total.args)
    for term in total.args:
        for function in sympy.Mul.make_args(term):
            if not isinstance(function, expit | tanh_ | sympy.erf | erfc_ | sympy.exp):
                continue
            c = term / function
            for partner, replacement in _cancelling(function, c):
                if partner in terms and partner != term:
                    return _sum(total - term - partner + replacement)
    return total


def _cancelling(function: sympy.Expr, c: sympy.Expr) -> list[tuple[sympy.Expr, sympy.Expr]]:
    """Terms that c·function would cancel with, and what the two are together."""
    u = function.args[0]
    if isinstance(function, expit):
        return [(-c, -c * expit(-u))]
    if isinstance(function, tanh_):
        return [(-c, -2 * c * expit(-2 * u)), (c, 2 * c * expit(2 * u))]
    if isinstance(function, sympy.erf):
        return [(-c, -c * erfc_(u)), (c, c * erfc_(-u))]
    if isinstance(function, erfc_):
        return [(-2 * c, -c * erfc_(-u))]
    return [(-c, c * expm1_(u))]


def fuse_products(expression: sympy.Expr) -> sympy.Expr:
    """Turn products that hold both eᵛ and σ(u)ᵏ into one exponential, e^{v − k softplus(−u)}; tidy sums and selects.

    Either factor alone may overflow or underflow where the product is moderate: σ(20 z) e^{−z} at z = −1000 is
    0 · ∞ as written and e^{19 z} in truth (the LRML loss of arXiv 2406.08414).
    """
    if not expression.args:
        return expression
    if isinstance(expression, sympy.Mul):
        expression = sympy.expand_mul(expression) if _mixes(expression) else expression
    arguments = [fuse_products(argument) for argument in expression.args]
    if isinstance(expression, sympy.Add):
        return _sum(sympy.Add(*arguments))
    if not isinstance(expression, sympy.Mul):
        return expression.func(*arguments)
    for chosen in arguments:  # g · (a where u > 0 else 0): g may overflow where it is not wanted
        if isinstance(chosen, select) and chosen.args[2] == 0 and expression.has(sympy.exp):
            others = [argument for argument in arguments if argument is not chosen]
            return select(chosen.args[0], fuse_products(sympy.Mul(chosen.args[1], *others)), sympy.S.Zero)
    exponent, others, exponentials, sigmoids = sympy.S.Zero, [], 0, 0
    for factor in arguments:
        base, power = factor.as_base_exp() if not isinstance(factor, sympy.exp) else (factor, sympy.S.One)
        if isinstance(base, sympy.exp):
            exponent += base.args[0] * power
            exponentials += 1
        elif isinstance(base, expit):
            exponent -= power * softplus(-base.args[0])
            sigmoids += 1
        else:
            others.append(factor)
    if exponentials and sigmoids:
        return sympy.Mul(*others, sympy.exp(exponent))
    return expression.func(*arguments)


def _mixes(expression: sympy.Expr) -> bool:
    return bool(expression.has(sympy.exp) and expression.has(expit))
