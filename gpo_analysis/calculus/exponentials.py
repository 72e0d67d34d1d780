"""Rewriting an expression in exponentials of z, and these in one variable t = e^{cz}."""

from __future__ import annotations

import sympy

from gpo_analysis.calculus.arithmetic import number

LARGEST = 10**4
#: Powers of t up to which polynomials in t = e^{cz} are worked with.
MAX_POWER = 200
_NAMED_POWER = 8


def exact_numbers(expression: sympy.Expr) -> sympy.Expr:
    """Floats become the decimal fractions that they were written as: 0.05 is 1/20."""
    return expression.xreplace({f: sympy.Rational(str(f)) for f in expression.atoms(sympy.Float)})


def is_unwieldy(expression: sympy.Expr) -> bool:
    """Whether it holds numbers such as 3333333333/10¹⁰, of which computer algebra makes powers that fit nowhere."""
    return any(max(abs(number_.p), number_.q) > LARGEST for number_ in expression.atoms(sympy.Rational))


def exponential_form(expression: sympy.Expr) -> sympy.Expr:
    """sinh, cosh and tanh written out in exponentials."""
    expression = expression.replace(sympy.cosh, lambda u: (sympy.exp(u) + sympy.exp(-u)) / 2)
    expression = expression.replace(sympy.sinh, lambda u: (sympy.exp(u) - sympy.exp(-u)) / 2)
    if not expression.has(sympy.tanh):
        return expression
    expression = expression.replace(sympy.tanh, lambda u: 1 - 2 / (sympy.exp(2 * u) + 1))
    # log(1 + tanh u) → log(2 e^{2u}/(e^{2u} + 1)), where nothing cancels for u → −∞
    return expression.replace(sympy.log, lambda u: sympy.log(sympy.together(u)))


def constants_named(expression: sympy.Expr) -> dict[sympy.Expr, sympy.Expr]:
    """An unknown for each constant e^c, a power of it for e^{kc}: sympy would factor e^1000 as a power of e."""
    constants = sorted((e for e in expression.atoms(sympy.exp) if e.is_number), key=lambda e: abs(number(e.args[0])))
    found: dict[sympy.Expr, sympy.Expr] = {}
    known: list[tuple[sympy.Expr, sympy.Symbol]] = []
    for e in constants:
        for exponent, name in known:
            ratio = e.args[0] / exponent
            if ratio.is_Integer and abs(ratio) <= _NAMED_POWER:
                found[e] = name**ratio
                break
        else:
            known.append((e.args[0], sympy.Dummy(f"e{len(known)}", positive=True)))
            found[e] = known[-1][1]
    return found


def exponential_base(expression: sympy.Expr, symbol: sympy.Symbol) -> sympy.Expr | None:
    """c > 0 with every e^{az+b} of the expression a power of e^{cz}: the a/c are integers, of size ≤ 200; else None."""
    rates = set()
    for node in expression.atoms(sympy.exp):
        exponent = node.args[0]
        if symbol not in exponent.free_symbols:
            continue
        rate = exponent.diff(symbol)
        if symbol in rate.free_symbols:
            continue
        rates.add(sympy.nsimplify(rate) if rate.is_Float else rate)
    if not rates:
        return None
    first = min(rates, key=lambda rate: abs(number(rate)))
    ratios = [_ratio(rate, first) for rate in rates]
    if not all(ratio.is_Rational for ratio in ratios):
        return None
    common = sympy.ilcm(1, *[ratio.q for ratio in ratios])
    step = sympy.igcd(0, *[int(ratio * common) for ratio in ratios])
    if max(abs(ratio * common / step) for ratio in ratios) > MAX_POWER:
        return None
    base = first * step / common
    return base if number(base) > 0 else -base


def _ratio(rate: sympy.Expr, base: sympy.Expr) -> sympy.Expr:
    """A quotient of constants as a fraction where it is one; what is none, of e^{z tanh z} say, as it is."""
    ratio = rate / base
    return ratio if ratio.is_Rational or ratio.free_symbols else sympy.nsimplify(sympy.simplify(ratio))


def with_exponential(expression: sympy.Expr, symbol: sympy.Symbol, base: sympy.Expr, t: sympy.Symbol) -> sympy.Expr:
    """e^{az+b} → t^{a/c} e^b, where t stands for e^{cz}."""

    def replaced(exponent: sympy.Expr) -> sympy.Expr:
        rate = exponent.diff(symbol)
        if symbol in rate.free_symbols:
            return sympy.exp(exponent)
        return t ** _ratio(rate, base) * sympy.exp(sympy.expand(exponent - rate * symbol))

    return expression.replace(sympy.exp, replaced)
