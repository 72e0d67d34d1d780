"""A loss that a user types, in z or in a and b, read by a whitelist and never evaluated as Python.

What is read has bounds that are counted while it is built (length, parts, degree, nesting of exponentials, alternatives
of max, size of constants), so that building it and working with it afterwards end soon, whatever was typed.
"""

from __future__ import annotations

import ast
import itertools
import math
import warnings
from dataclasses import dataclass
from typing import Any

import sympy

from gpo_analysis.calculus.arithmetic import NUMBERS
from gpo_analysis.calculus.jets import Unsupported, jet_function
from gpo_analysis.calculus.zeros import vanishes
from gpo_analysis.losses import compile_two
from gpo_analysis.losses.compile import PROBES, evaluate_precisely
from gpo_analysis.losses.margin_loss import MARGIN, MarginLoss
from gpo_analysis.losses.spelling import proposals, respelled
from gpo_analysis.losses.two_ratio import CHOSEN, REJECTED, Loss, TwoRatioLoss
from gpo_analysis.losses.words import ABS, CONSTANTS, FUNCTIONS, HINTS, MAX, MIN, MODULES, RELU, Function, Refused

MAX_LENGTH = 1000
MAX_NODES = 300
MAX_DEGREE = 64
MAX_NESTED_GROWTH = 2
MAX_CONSTANT = 1e100
#: |u| beyond which e^u of a constant is not worked out: it would be beyond MAX_CONSTANT.
MAX_EXPONENT = 231
#: Roots up to which numbers are taken: sympy looks for exact ones.
MAX_ROOT = 1000
#: |u(0)| up to which e^u is taken.
MAX_SHIFT = 1e6


@dataclass(frozen=True)
class _Part:
    """A subexpression with what bounds the work that it can cause."""

    expression: sympy.Expr
    degree: float  # of polynomials, through all functions; nested exponents multiply
    growth: int  # nesting of exponentials of z
    value: Any = None  # of a constant, an mpmath number

    @property
    def is_constant(self) -> bool:
        return self.value is not None


SYMBOLS = {symbol.name: symbol for symbol in (MARGIN, CHOSEN, REJECTED)}
ACCEPTED = (
    "accepted: the symbol z, or a and b for the two log-ratios, numbers, pi, e, the operators + - * / **, and the "
    "functions " + ", ".join(sorted(FUNCTIONS))
)


def parse_loss(text: str, name: str | None = None) -> Any:
    """Read a loss: of the margin in the symbol ``z``, or of the two log-ratios in ``a`` (chosen) and ``b`` (rejected).

    Parameters
    ----------
    text : str
        Such as ``"log(cosh(1-z))"`` or ``"-log(sigmoid(a)) - log(sigmoid(-b))"``. Numbers are read exactly: 0.1 is
        1/10. Other ways to write the same are read where they are unambiguous (``(1−z)²``, ``np.logaddexp(0, -z)``).
    name : str, optional
        Its name; by default the text itself.

    Returns
    -------
    MarginLoss or TwoRatioLoss
        The second where ``a`` or ``b`` stands in the text, also where that is a function of a − b.

    Raises
    ------
    ValueError
        If the text holds anything but what is accepted (z and a or b together, say), if it is too large to be worked
        with, or if it is not a finite real number for every real z (or a and b) from −1000 to 1000 where that was tried
        (overflow of a float is allowed).

    Examples
    --------
    >>> from gpo_analysis.losses import parse_loss
    >>> loss = parse_loss("log(1+exp(-z))", name="mine")
    >>> loss.expression, float(loss.derivative(0.0))
    (log(1 + exp(-z)), -0.5)
    >>> pair = parse_loss("-log(sigmoid(a)) - log(sigmoid(-b))")
    >>> type(pair).__name__, float(pair(0.0, 0.0).round(4))
    ('TwoRatioLoss', 1.3863)
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
        expression = _read(respelled(text))
    except Refused as refused:
        raise ValueError(f"cannot read {shown!r}: {refused}{_proposal(text)}; {ACCEPTED}") from None
    return _as_loss(name or text.strip(), expression, respelled(text))


def _as_loss(name: str, expression: sympy.Expr, text: str) -> Loss:
    kind = TwoRatioLoss if _names(ast.parse(text, mode="eval")) & {CHOSEN.name, REJECTED.name} else MarginLoss
    return kind(name, expression, reference="typed in")


def _names(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def _proposal(text: str) -> str:
    """ "; write …" with what was probably meant, where that can be read."""
    for proposed in proposals(text, {*FUNCTIONS, *CONSTANTS, *MODULES, *SYMBOLS}):
        try:
            _read(proposed)
        except Refused:
            continue
        return f"; write {proposed}"
    return ""


def _read(text: str) -> sympy.Expr:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # "2(z)" calls a number, it is refused below
            tree = ast.parse(text, mode="eval")
        if sum(1 for _ in ast.walk(tree)) > MAX_NODES:
            raise Refused(f"it has more than {MAX_NODES} parts")
        used = _names(tree)
        if MARGIN.name in used and used & {CHOSEN.name, REJECTED.name}:
            raise Refused(
                "a and b are the two log-ratios and z is their difference a - b: write it in z, or in a and b"
            )
        expression = _build(tree.body).expression
    except (SyntaxError, MemoryError, RecursionError, ValueError) as error:
        if "\\" in text:
            raise Refused("LaTeX is not taken") from None
        spoken = isinstance(error, SyntaxError | ValueError) and str(error)
        raise Refused(getattr(error, "msg", str(error)) if spoken else "nested too deeply") from None
    _check_values(expression)
    return expression


def _build(node: ast.expr) -> _Part:
    match node:
        case ast.Constant(value=bool()):
            pass
        case ast.Constant(value=int() | float() as number):
            return _constant(_number(number))
        case ast.Name(id=name) if name in SYMBOLS:
            return _Part(SYMBOLS[name], 1, 0)
        case ast.Name(id=name) if name in CONSTANTS:
            return _constant(CONSTANTS[name])
        case ast.Name(id=name):
            raise Refused(f"unknown name {name!r}, the margin is written z, the two log-ratios a and b")
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            part = _build(operand)
            return _Part(-part.expression, part.degree, part.growth, None if part.value is None else -part.value)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _build(operand)
        case ast.BinOp(
            left=left, op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div() | ast.Pow() as operator, right=right
        ):
            return _binary(operator, _build(left), _build(right))
        case ast.Call(func=function, args=arguments, keywords=[]) if _name(function) in FUNCTIONS:
            return _call(_name(function), [_build(argument) for argument in arguments])
        case ast.Call(func=ast.Name(id=name)) if name not in FUNCTIONS:
            raise Refused(f"unknown function {name!r}" + (f": {HINTS[name]}" if name in HINTS else ""))
        case ast.Call(func=ast.Attribute(attr=name) as function) if _name(function) and name in HINTS:
            raise Refused(f"unknown function {name!r}: {HINTS[name]}")
        case ast.IfExp():
            raise Refused("conditions are not allowed: write the branches with max, min, abs, as in max(0, 1 - z)")
        case _:
            pass
    raise Refused(f"{_shown(node)!r} is not allowed")


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


def _constant(expression: sympy.Expr) -> _Part:
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
        return _Part(sympy.S.Zero, 0, 0, NUMBERS.mpf(0))
    return _Part(expression, 0, 0, value)


def _at_zero(part: _Part) -> Any:
    """|u(0)|; 0 where it is not to be had by jets (a kink, a pole: what u does there is checked with the whole)."""
    try:
        line = part.expression.xreplace({CHOSEN: MARGIN, REJECTED: 3 * MARGIN})
        value = abs(part.value if part.is_constant else jet_function(line, MARGIN).at(0)[0])
    except Unsupported:
        return 0
    return 0 if NUMBERS.isnan(value) else value


def _binary(operator: ast.operator, left: _Part, right: _Part) -> _Part:
    if isinstance(operator, ast.Pow):
        return _power(left, right)
    degree, growth = left.degree + right.degree, max(left.growth, right.growth)
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
    return _Part(expression, degree, growth) if expression.free_symbols else _constant(expression)


def _power(base: _Part, exponent: _Part) -> _Part:
    if not exponent.is_constant:
        if not base.is_constant or base.value <= 0:
            raise Refused("an exponent with z in it needs a positive number as its base")
        if (
            not _at_zero(exponent) * abs(NUMBERS.log(base.value)) <= MAX_EXPONENT
        ):  # sympy works out 10**(99 + z) at once
            raise Refused(f"the constant factor of {str(base.expression)[:20]}**(…) is beyond ±{MAX_CONSTANT:g}")
        return _call("exp", [_Part(exponent.expression * sympy.log(base.expression), exponent.degree, exponent.growth)])
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
        return _constant(expression)
    return _Part(expression, base.degree * max(size, 1), base.growth)


def _call(name: str, arguments: list[_Part]) -> _Part:
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
        return _constant(expression)
    after = 0 if function.growth is None else max(growth + function.growth, 0)
    return _Part(expression, max(argument.degree for argument in arguments), after)


def _require_small_exponent(part: _Part) -> None:
    """Refuse e^u where u(0) is large, or where sympy would make roots and powers of numbers of e^{c log b}."""
    if not _at_zero(part) <= MAX_SHIFT:
        raise Refused(f"an exponent beyond ±{MAX_SHIFT:g} at z = 0 is not taken")
    for term in sympy.Add.make_args(part.expression):
        coefficient, rest = term.as_coeff_Mul()
        if isinstance(rest, sympy.log) and (coefficient.q > MAX_ROOT or abs(coefficient) > MAX_DEGREE):
            raise Refused(f"the factor exp({str(term)[:20]}) is not taken")


def _chosen(function: Function, arguments: list[_Part]) -> _Part:
    """max, min, relu or abs of constants, by their values."""
    if function is RELU:
        return arguments[0] if arguments[0].value > 0 else _constant(sympy.S.Zero)
    if function is ABS:
        return arguments[0] if arguments[0].value > 0 else _constant(-arguments[0].expression)
    return (min if function is MIN else max)(arguments, key=lambda argument: argument.value)


def _with_one_constant(function: Function, arguments: list[_Part]) -> list[_Part]:
    """The constants among the alternatives of max or min replaced by the one that counts."""
    constants = [argument for argument in arguments if argument.is_constant]
    others = [argument for argument in arguments if not argument.is_constant]
    return [*others, _chosen(function, constants)] if constants else others


def _check_values(expression: sympy.Expr) -> None:
    if expression.free_symbols & {CHOSEN, REJECTED}:
        _check_two(expression)
        return
    for point in (*PROBES, 0.0, 1.0, -1.0):
        if math.isnan(evaluate_precisely(expression, MARGIN, 0, point)):
            raise Refused(f"it is not a finite real number at z = {point:g}{_removable(expression, point)}")


def _check_two(expression: sympy.Expr) -> None:
    ends = (*compile_two.PROBES[::2], 0.0, 1.0, -1.0)
    for a, b in itertools.product(ends, ends):
        if math.isnan(compile_two.evaluate_precisely(expression, (CHOSEN, REJECTED), (0, 0), a, b)):
            raise Refused(f"it is not a finite real number at a = {a:g}, b = {b:g}")


def _removable(expression: sympy.Expr, point: float) -> str:
    """What is said of 0/0 with a limit: sinh(z)/z at 0."""
    beside = [evaluate_precisely(expression, MARGIN, 0, point + step) for step in (-1e-9, 1e-9, 1e-6)]
    if not all(math.isfinite(value) and abs(value - beside[0]) <= 1e-4 * (1 + abs(beside[0])) for value in beside):
        return ""
    return (
        f", where it is 0/0 with the limit {beside[0]:.6g}: f and its derivatives are computed at every z, so that a "
        "quotient whose denominator vanishes is not taken, though it has a limit there; write f without that division"
    )
