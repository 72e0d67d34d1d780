"""A loss that a user types, read by a whitelist and never evaluated as Python."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from dataclasses import dataclass

import sympy

from gpo_analysis.losses.compile import PROBES, evaluate_precisely
from gpo_analysis.losses.margin_loss import MARGIN, MarginLoss

MAX_LENGTH = 1000
MAX_NODES = 300
MAX_DEGREE = 64
MAX_NESTED_GROWTH = 2
MAX_CONSTANT = 1e100


@dataclass(frozen=True)
class _Function:
    """A function of the whitelist.

    ``growth`` is what it does to the nesting of exponentials in its argument: exp adds one, log takes one away, a
    bounded function (None) ends it. ``exponentiates`` says that computing it takes an exponential of the argument.
    """

    build: Callable[..., sympy.Expr]
    growth: int | None = 0
    exponentiates: bool = False
    arguments: int = 1  # 0: two or more


def _sigmoid(u: sympy.Expr) -> sympy.Expr:
    return 1 / (1 + sympy.exp(-u))


_MAX, _MIN, _ABS = _Function(sympy.Max, arguments=0), _Function(sympy.Min, arguments=0), _Function(sympy.Abs)
_SIGMOID = _Function(_sigmoid, None, True)
FUNCTIONS: dict[str, _Function] = {
    "exp": _Function(sympy.exp, 1, True),
    "expm1": _Function(lambda u: sympy.exp(u) - 1, 1, True),
    "sinh": _Function(sympy.sinh, 1, True),
    "cosh": _Function(sympy.cosh, 1, True),
    "log": _Function(sympy.log, -1),
    "log1p": _Function(lambda u: sympy.log(1 + u), -1),
    "sqrt": _Function(sympy.sqrt),
    "abs": _ABS,
    "Abs": _ABS,
    "max": _MAX,
    "Max": _MAX,
    "min": _MIN,
    "Min": _MIN,
    "relu": _Function(lambda u: sympy.Max(0, u)),
    "tanh": _Function(sympy.tanh, None, True),
    "atan": _Function(sympy.atan, None),
    "erf": _Function(sympy.erf, None, True),
    "erfc": _Function(sympy.erfc, None, True),
    "sigmoid": _SIGMOID,
    "expit": _SIGMOID,
    "softplus": _Function(lambda u: sympy.log(1 + sympy.exp(u)), 0, True),
    "logsigmoid": _Function(lambda u: -sympy.log(1 + sympy.exp(-u)), 0, True),
    "logcosh": _Function(lambda u: sympy.log(sympy.cosh(u)), 0, True),
}
CONSTANTS: dict[str, sympy.Expr] = {"pi": sympy.pi, "e": sympy.E, "E": sympy.E}

ACCEPTED = "accepted: the symbol z, numbers, pi, e, the operators + - * / **, and the functions " + ", ".join(
    sorted(FUNCTIONS)
)


@dataclass(frozen=True)
class _Part:
    """A subexpression with what bounds the work that it can cause."""

    expression: sympy.Expr
    degree: float  # product of nested numeric exponents
    growth: int  # nesting of exponentials of z


def parse_loss(text: str, name: str | None = None) -> MarginLoss:
    """Read a margin loss in the symbol ``z``.

    Parameters
    ----------
    text : str
        Such as ``"log(cosh(1-z))"``. Numbers are read exactly: 0.1 is 1/10.
    name : str, optional
        Its name; by default the text itself.

    Raises
    ------
    ValueError
        If the text holds anything but what is accepted, if it is too large to be worked with, or if it is not a finite
        real number for every real z from −1000 to 1000 where that was tried (overflow of a float is allowed).

    Examples
    --------
    >>> from gpo_analysis.losses import parse_loss
    >>> loss = parse_loss("log(1+exp(-z))", name="mine")
    >>> loss.expression, float(loss.derivative(0.0))
    (log(1 + exp(-z)), -0.5)
    >>> parse_loss("z.real")
    Traceback (most recent call last):
    ...
    ValueError: cannot read 'z.real': 'z.real' is not allowed; accepted: the symbol z, ...
    """
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"a loss must be a non-empty text, got {text!r}; {ACCEPTED}")
    shown = text.strip() if len(text) <= 60 else text.strip()[:57] + "…"
    if len(text) > MAX_LENGTH:
        raise ValueError(f"cannot read {shown!r}: longer than {MAX_LENGTH} characters")
    try:
        tree = ast.parse(text.strip(), mode="eval")
        if sum(1 for _ in ast.walk(tree)) > MAX_NODES:
            raise _Refused(f"it has more than {MAX_NODES} parts")
        expression = _build(tree.body).expression
        _check_values(expression)
    except _Refused as refused:
        raise ValueError(f"cannot read {shown!r}: {refused}; {ACCEPTED}") from None
    except (SyntaxError, MemoryError, RecursionError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else "nested too deeply"
        raise ValueError(f"cannot read {shown!r}: {reason}; {ACCEPTED}") from None
    return MarginLoss(name or text.strip(), expression, reference="typed in")


class _Refused(Exception):
    """Why a text is not accepted; becomes a ValueError with the text and what is accepted."""


def _build(node: ast.expr) -> _Part:
    match node:
        case ast.Constant(value=bool()):
            pass
        case ast.Constant(value=int() | float() as number):
            return _constant(_number(number))
        case ast.Name(id=name) if name == MARGIN.name:
            return _Part(MARGIN, 1, 0)
        case ast.Name(id=name) if name in CONSTANTS:
            return _constant(CONSTANTS[name])
        case ast.Name(id=name):
            raise _Refused(f"unknown name {name!r}")
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            part = _build(operand)
            return _Part(-part.expression, part.degree, part.growth)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _build(operand)
        case ast.BinOp(
            left=left, op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div() | ast.Pow() as operator, right=right
        ):
            return _binary(operator, _build(left), _build(right))
        case ast.BinOp(op=ast.BitXor()):
            raise _Refused("'^' is not a power here, write **")
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in FUNCTIONS:
            return _call(name, [_build(argument) for argument in arguments])
        case ast.Call(func=ast.Name(id=name)) if name not in FUNCTIONS:
            raise _Refused(f"unknown function {name!r}")
        case _:
            pass
    raise _Refused(f"{ast.unparse(node)!r} is not allowed")


def _number(value: float) -> sympy.Expr:
    if not math.isfinite(value) or abs(value) > MAX_CONSTANT:
        raise _Refused(f"the number {str(value)[:20]} is beyond ±{MAX_CONSTANT:g}")
    return sympy.Integer(value) if isinstance(value, int) else sympy.Rational(repr(value))


def _constant(expression: sympy.Expr) -> _Part:
    """A part without z, held within what a float holds."""
    try:
        value = complex(expression)
    except (TypeError, OverflowError, ValueError):
        raise _Refused(f"the constant {str(expression)[:30]} is not a finite number") from None
    if value.imag != 0 or not math.isfinite(value.real) or abs(value.real) > MAX_CONSTANT:
        raise _Refused(f"the constant {str(expression)[:30]} is not a real number within ±{MAX_CONSTANT:g}")
    return _Part(expression, 1, 0)


def _binary(operator: ast.operator, left: _Part, right: _Part) -> _Part:
    degree, growth = max(left.degree, right.degree), max(left.growth, right.growth)
    if isinstance(operator, ast.Pow):
        return _power(left, right)
    match operator:
        case ast.Add():
            expression = left.expression + right.expression
        case ast.Sub():
            expression = left.expression - right.expression
        case ast.Mult():
            expression = left.expression * right.expression
        case _:
            if right.expression.is_zero:
                raise _Refused("division by zero")
            expression = left.expression / right.expression
    if not expression.free_symbols:
        return _constant(expression)
    return _Part(expression, degree, growth)


def _power(base: _Part, exponent: _Part) -> _Part:
    if exponent.expression.free_symbols:
        if base.expression.free_symbols or not base.expression.is_positive:
            raise _Refused("an exponent with z in it needs a positive number as its base")
        return _call("exp", [_Part(exponent.expression * sympy.log(base.expression), exponent.degree, exponent.growth)])
    size = abs(float(exponent.expression))
    if size > MAX_DEGREE or base.degree * max(size, 1) > MAX_DEGREE:
        raise _Refused(f"powers above {MAX_DEGREE} in all are not taken")
    if base.expression.is_zero and not exponent.expression.is_positive:
        raise _Refused("zero to a power that is not positive")
    expression = base.expression**exponent.expression
    if not expression.free_symbols:
        return _constant(expression)
    return _Part(expression, base.degree * max(size, 1), base.growth)


def _call(name: str, arguments: list[_Part]) -> _Part:
    function = FUNCTIONS[name]
    if len(arguments) != function.arguments if function.arguments else len(arguments) < 2:
        wanted = f"{function.arguments} argument" if function.arguments else "two arguments or more"
        raise _Refused(f"{name} takes {wanted}, got {len(arguments)}")
    growth = max(argument.growth for argument in arguments)
    if growth + function.exponentiates > MAX_NESTED_GROWTH:
        raise _Refused(f"exponentials nested more than {MAX_NESTED_GROWTH} deep are not taken")
    expression = function.build(*[argument.expression for argument in arguments])
    if not expression.free_symbols:
        return _constant(expression)
    after = 0 if function.growth is None else max(growth + function.growth, 0)
    return _Part(expression, max(argument.degree for argument in arguments), after)


def _check_values(expression: sympy.Expr) -> None:
    for point in (*PROBES, 0.0, 1.0, -1.0):
        if math.isnan(evaluate_precisely(expression, MARGIN, 0, point)):
            raise _Refused(f"it is not a finite real number at z = {point:g}")
