"""A formula in the parser's spelling, built into a sympy expression by a whitelist and never evaluated as Python.

What is read has bounds that are counted while it is built (parts, degree, nesting of exponentials, alternatives of max,
size of constants), so that building it and working with it afterwards end soon, whatever was typed.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import sympy

from gpo_analysis.calculus.arithmetic import NUMBERS
from gpo_analysis.calculus.jets import Unsupported, jet_function
from gpo_analysis.calculus.zeros import vanishes
from gpo_analysis.formula_words import HINTS, SPECIAL, unknown_function
from gpo_analysis.losses.margin_loss import MARGIN
from gpo_analysis.losses.spelling import respelled, unquoted
from gpo_analysis.losses.two_ratio import CHOSEN, REJECTED
from gpo_analysis.losses.words import (
    ABS,
    CONSTANTS,
    FUNCTIONS,
    LETTERS,
    LOWER,
    MAX,
    MIN,
    MODULES,
    REASONS,
    RELU,
    Function,
    Refused,
)

MAX_NODES = 300
MAX_DEGREE = 64
MAX_NESTED_GROWTH = 2
MAX_CONSTANT = 1e100
MAX_NESTED_CONSTANT = 3
#: |u| beyond which e^u of a constant is not worked out: it would be beyond MAX_CONSTANT.
MAX_EXPONENT = 231
#: Roots up to which numbers are taken: sympy looks for exact ones.
MAX_ROOT = 1000
#: |u(0)| up to which e^u is taken.
MAX_SHIFT = 1e6


@dataclass(frozen=True)
class Part:
    """A subexpression with what bounds the work that it can cause."""

    expression: sympy.Expr
    degree: float  # of polynomials, through all functions; nested exponents multiply
    value: Any = None  # of a constant, an mpmath number

    @property
    def is_constant(self) -> bool:
        return self.value is not None

    @cached_property
    def growth(self) -> int:
        """How deep exponentials of z stand in one another; log takes one away, what is bounded ends it."""
        return _growth(self.expression)


def _growth(expression: sympy.Expr) -> int:
    if not expression.free_symbols:
        return 0
    inner = max((_growth(part) for part in expression.args), default=0)
    if isinstance(expression, sympy.exp | sympy.sinh | sympy.cosh):
        return inner + 1
    if isinstance(expression, sympy.log):
        return max(inner - 1, 0)
    if isinstance(expression, sympy.tanh | sympy.erf | sympy.erfc | sympy.atan):
        return 0
    if expression.is_Pow and expression.exp.is_negative and _stays_away_from_zero(expression.base):
        return 0  # so a sigmoid is printed
    return inner


def formula(text: str, words: Mapping[str, Part]) -> tuple[Part, set[str]]:
    """A formula in the parser's spelling, and the names that stand in it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # "2(z)" calls a number, it is refused below
            tree = ast.parse(text, mode="eval")
        if sum(1 for _ in ast.walk(tree)) > MAX_NODES:
            raise Refused(f"it has more than {MAX_NODES} parts")
        part = _build(tree.body, words)
    except (SyntaxError, MemoryError, RecursionError, ValueError) as error:
        if isinstance(error, SyntaxError) and re.search(r"(?<![<>=!])=(?!=)", text):
            raise Refused("an equation is no loss: write the formula alone, or f(z) = formula") from None
        spoken = isinstance(error, SyntaxError | ValueError) and str(error)
        raise Refused(getattr(error, "msg", str(error)) if spoken else "nested too deeply") from None
    return part, {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def read_number(text: str) -> sympy.Expr:
    """A number as it is typed, exactly: 0.1, 1/3, sqrt(2), pi/2.

    Raises
    ------
    Refused
        Where it is none.

    Examples
    --------
    >>> read_number("1/3"), read_number("-0.1")
    (1/3, -1/10)
    """
    part = formula(respelled(unquoted(text)), {})[0]
    return constant(part.expression).expression


def _build(node: ast.expr, words: Mapping[str, Part]) -> Part:
    match node:
        case ast.Constant(value=bool()):
            pass
        case ast.Constant(value=int() | float() as number):
            return constant(_number(number))
        case ast.Name(id=name):
            return _word(name, words)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            part = _build(operand, words)
            return Part(-part.expression, part.degree, None if part.value is None else -part.value)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _build(operand, words)
        case ast.BinOp(
            left=left, op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div() | ast.Pow() as operator, right=right
        ):
            return _binary(operator, _build(left, words), _build(right, words))
        case ast.Call(func=function, args=arguments, keywords=keywords) if _name(function):
            return _called(_name(function), arguments, keywords, words)
        case ast.Call(func=ast.Attribute(value=inner, attr=name), args=arguments, keywords=keywords) if (
            name in FUNCTIONS or name in SPECIAL or name in HINTS
        ):
            if FUNCTIONS.get(name) in (MAX, MIN):
                raise Refused(f".{name}(…) of an array is another thing in numpy and torch: write {name}(u, v)")
            return _called(name, [inner, *arguments], keywords, words)  # (1 - z).relu()
        case ast.IfExp():
            raise Refused("conditions are not allowed: write the branches with max, min, abs, as in max(0, 1 - z)")
        case _:
            pass
    raise Refused(f"{_shown(node)!r} is not allowed")


def _word(name: str, words: Mapping[str, Part]) -> Part:
    if name in words:
        return words[name]
    if name in CONSTANTS:
        return constant(CONSTANTS[name])
    if name in FUNCTIONS:
        raise Refused(f"{name} is a function: write {name}(…)")
    if name in REASONS:
        raise Refused(f"{name}: {REASONS[name]}")
    raise Refused(f"unknown name {name.rstrip('_')!r}, the margin is written z, the two log-ratios a and b; "
                  f"any other letter needs a value{f' ({LETTERS[name]})' if name in LETTERS else ''}")  # fmt: skip


def _called(name: str, arguments: list[ast.expr], keywords: list[ast.keyword], words: Mapping[str, Part]) -> Part:
    """A function by its name, in any case, of its arguments."""
    known = name if name in FUNCTIONS else LOWER.get(name.lower(), name)
    if known in FUNCTIONS and not keywords:
        return _call(known, [_build(argument, words) for argument in arguments])
    if name in SPECIAL:
        return _special(name, arguments, keywords, words)
    if known not in FUNCTIONS:
        raise Refused(unknown_function(name))
    raise Refused(f"{name}({keywords[0].arg}=…) is not allowed")


def _special(name: str, arguments: list[ast.expr], keywords: list[ast.keyword], words: Mapping[str, Part]) -> Part:
    """pow(u, p); clamp and clip, of which a bound may be left out or be None."""
    accepted = SPECIAL[name]
    given = dict(zip(accepted, arguments, strict=False)) | {word.arg or "": word.value for word in keywords}
    if len(given) != len(arguments) + len(keywords) or not set(given) <= set(accepted):
        raise Refused(f"{name} takes {', '.join(accepted)}")
    parts = [
        None if node is None or (isinstance(node, ast.Constant) and node.value is None) else _build(node, words)
        for node in map(given.get, accepted)
    ]
    first, *rest = parts
    if first is None or not any(rest):
        raise Refused(f"{name} takes {', '.join(accepted)}")
    if name in ("pow", "power"):
        return _power(first, *[part for part in rest if part])
    for bound, function in zip(rest, ("max", "min"), strict=False):
        first = _call(function, [first, bound]) if bound is not None else first
    return first


def _shown(node: ast.expr) -> str:
    text = ast.unparse(node)
    return text if len(text) <= 40 else text[:39] + "…"


def _name(function: ast.expr) -> str:
    """The name of a function, that of a known module before it left out (np.exp, torch.nn.functional.softplus)."""
    if isinstance(function, ast.Name):
        return function.id
    root: ast.expr = function
    while isinstance(root, ast.Attribute):
        root = root.value
        inner = root.attr if isinstance(root, ast.Attribute) else root.id if isinstance(root, ast.Name) else ""
        if inner not in MODULES:
            return ""
    return function.attr if isinstance(function, ast.Attribute) else ""


def _number(value: float) -> sympy.Expr:
    if abs(value) > MAX_CONSTANT:  # an int of any size compares with a float
        raise Refused(f"the number {str(value)[:20] if value < 10**30 else 'typed'} is beyond ±{MAX_CONSTANT:g}")
    return sympy.Integer(value) if isinstance(value, int) else sympy.Rational(repr(value))


def constant(expression: sympy.Expr) -> Part:
    """A part without z: a real number that is 0 or of a size between 1/MAX_CONSTANT and MAX_CONSTANT."""
    try:
        value = jet_function(expression, MARGIN).at(0)[0]
    except Unsupported:
        value = NUMBERS.nan
    shown = str(expression)[:30]
    if not NUMBERS.isfinite(value) or abs(value) > MAX_CONSTANT:
        raise Refused(f"the constant {shown} is not a real number within ±{MAX_CONSTANT:g}")
    if abs(value) < 1 / MAX_CONSTANT:
        if not vanishes(expression, MARGIN):
            raise Refused(f"the constant {shown} is closer to 0 than {1 / MAX_CONSTANT:g}")
        return Part(sympy.S.Zero, 0, NUMBERS.mpf(0))
    if _nesting(expression) > MAX_NESTED_CONSTANT:  # sympy asks of it whether it is real, which takes seconds
        raise Refused(f"the constant {shown} nests more than {MAX_NESTED_CONSTANT} functions: write its value")
    if expression.is_Add:  # erfc(-65) is 2 - erfc(65): what is printed of it must be read
        for term in expression.args:
            constant(term)
    return Part(expression, 0, value)


def _nesting(expression: sympy.Expr) -> int:
    """How deep the functions of an expression stand in one another."""
    inner = max((_nesting(part) for part in expression.args), default=0)
    return inner + isinstance(expression, sympy.Function)


def _at_zero(part: Part) -> Any:
    """|u(0)|; 0 where it is not to be had by jets (a kink, a pole: what u does there is checked with the whole)."""
    try:
        line = part.expression.xreplace({CHOSEN: MARGIN, REJECTED: 3 * MARGIN})
        value = abs(part.value if part.is_constant else jet_function(line, MARGIN).at(0)[0])
    except Unsupported:
        return 0
    return 0 if NUMBERS.isnan(value) else value


def _binary(operator: ast.operator, left: Part, right: Part) -> Part:
    if isinstance(operator, ast.Pow):
        return _power(left, right)
    degree = left.degree + right.degree
    match operator:
        case ast.Add():
            expression, degree = left.expression + right.expression, max(left.degree, right.degree)
        case ast.Sub():
            expression, degree = left.expression - right.expression, max(left.degree, right.degree)
        case ast.Mult():
            expression = left.expression * right.expression
        case _:
            if right.expression == 0:
                raise Refused("division by zero")
            expression = left.expression / right.expression
    if degree > MAX_DEGREE:
        raise Refused(f"powers above {MAX_DEGREE} in all are not taken")
    return Part(expression, degree) if expression.free_symbols else constant(expression)


def _power(base: Part, exponent: Part) -> Part:
    if base.expression == sympy.E:
        return _call("exp", [exponent])
    if not exponent.is_constant:
        if not base.is_constant or base.value <= 0:
            raise Refused("an exponent with z in it needs a positive number as its base")
        if (
            not _at_zero(exponent) * abs(NUMBERS.log(base.value)) <= MAX_EXPONENT
        ):  # sympy works out 10**(99 + z) at once
            raise Refused(f"the constant factor of {str(base.expression)[:20]}**(…) is beyond ±{MAX_CONSTANT:g}")
        logarithm = _call("log", [base])
        return _call("exp", [Part(exponent.expression * logarithm.expression, exponent.degree)])
    size = abs(float(exponent.value))
    if size > MAX_DEGREE or base.degree * max(size, 1) > MAX_DEGREE:
        raise Refused(f"powers above {MAX_DEGREE} in all are not taken")
    if exponent.expression.is_Rational and exponent.expression.q > MAX_ROOT:
        raise Refused(f"the exponent {exponent.expression} has a denominator above {MAX_ROOT}")
    if base.is_constant and base.value == 0 and exponent.value <= 0:
        raise Refused("zero to a power that is not positive")
    if base.is_constant and size * abs(float(NUMBERS.log(abs(base.value) or 1))) > MAX_EXPONENT:
        raise Refused(f"the constant {str(base.expression)[:20]}**{exponent.expression} is beyond ±{MAX_CONSTANT:g}")
    expression = base.expression**exponent.expression
    if not expression.free_symbols:
        return constant(expression)
    return Part(expression, base.degree * max(size, 1))


def _stays_away_from_zero(expression: sympy.Expr) -> bool:
    """Whether it is c + e^u + …, c > 0, so that its inverse is bounded."""

    def exponential(term: sympy.Expr) -> bool:
        coefficient, rest = term.as_coeff_Mul()
        return bool(coefficient > 0) and isinstance(rest, sympy.exp)

    terms = sympy.Add.make_args(expression)
    constants = [term for term in terms if not term.free_symbols]
    return bool(constants) and all(exponential(term) if term.free_symbols else bool(term.is_positive) for term in terms)


def _call(name: str, arguments: list[Part]) -> Part:
    function = FUNCTIONS[name]
    if len(arguments) != function.arguments if function.arguments else len(arguments) < 2:
        wanted = f"{function.arguments} argument" if function.arguments == 1 else "two arguments"
        wanted += " or more" if not function.arguments else ""
        raise Refused(f"{name} takes {wanted}, got {len(arguments)}")
    growth = max(argument.growth for argument in arguments)
    if growth + function.exponentiates > MAX_NESTED_GROWTH:
        raise Refused(f"exponentials nested more than {MAX_NESTED_GROWTH} deep are not taken")
    largest = max((abs(argument.value) for argument in arguments if argument.is_constant), default=0)
    if function.exponentiates and largest > MAX_EXPONENT:
        shown = str(arguments[0].expression)[:20]
        raise Refused(f"the constant {name}({shown}) has an exponent above {MAX_EXPONENT}")
    if function.exponentiates:
        for argument in arguments:
            _require_small_exponent(argument)
    if all(argument.is_constant for argument in arguments) and function in (MAX, MIN, RELU, ABS):
        return _chosen(function, arguments)
    if function in (MAX, MIN):
        arguments = _with_one_constant(function, arguments)
    expression = function.build(*[argument.expression for argument in arguments])
    if not expression.free_symbols:
        return constant(expression)
    return Part(expression, max(argument.degree for argument in arguments))


def _require_small_exponent(part: Part) -> None:
    """Refuse e^u where u(0) is large, or where sympy would make roots and powers of numbers of e^{c log b}."""
    if not _at_zero(part) <= MAX_SHIFT:
        raise Refused(f"an exponent beyond ±{MAX_SHIFT:g} at z = 0 is not taken")
    for term in sympy.Add.make_args(part.expression):
        coefficient, rest = term.as_coeff_Mul()
        if isinstance(rest, sympy.log) and (coefficient.q > MAX_ROOT or abs(coefficient) > MAX_DEGREE):
            raise Refused(f"the factor exp({str(term)[:20]}) is not taken")


def _chosen(function: Function, arguments: list[Part]) -> Part:
    """max, min, relu or abs of constants, by their values."""
    if function is RELU:
        return arguments[0] if arguments[0].value > 0 else constant(sympy.S.Zero)
    if function is ABS:
        return arguments[0] if arguments[0].value > 0 else constant(-arguments[0].expression)
    return (min if function is MIN else max)(arguments, key=lambda argument: argument.value)


def _with_one_constant(function: Function, arguments: list[Part]) -> list[Part]:
    """The constants among the alternatives of max or min replaced by the one that counts."""
    constants = [argument for argument in arguments if argument.is_constant]
    others = [argument for argument in arguments if not argument.is_constant]
    return [*others, _chosen(function, constants)] if constants else others
