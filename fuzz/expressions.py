"""Texts of losses, generated at random, given to the parser: what it raises, and how long it takes.

    python -m fuzz.expressions --count 20000 --seed 0

Half of the texts follow the grammar (three in four as code, one as LaTeX) with numbers of every size and functions
nested at will, some with a definition before or a value after them, a quarter are such texts with characters changed,
and a quarter are made of the parser's own words in any order. Counted are exceptions other than ValueError, texts that
took more than a second of processor time, and losses that are another when what is printed of them is read; a text
still unread after ten seconds is ended with its process. All counts are to be 0: the exit status says so.
"""

from __future__ import annotations

import random
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import sympy

from fuzz.kept import Keeper, Tried, add_keep
from gpo_analysis.cli.arguments import Parser, whole
from gpo_analysis.losses import Loss
from gpo_analysis.losses.parse import parse_loss
from gpo_analysis.losses.words import CONSTANTS, FUNCTIONS

NUMBERS = (
    *("0", "1", "2", "3", "10", "0.5", "0.1", "1e-6", "1e6", "1e16", "1e100", "1e-100", "1e-300", "1e300", "1e400"),
    *("9" * 30, "9" * 900, "0." + "0" * 50 + "1", "64", "65", "1/3", "0.333333333333", "123456789/987654321"),
)
OPERATORS = ("+", "-", "*", "/", "**", "^")
NAMES = (*FUNCTIONS, *CONSTANTS, "z", "z", "z")
AROUND = ("{}", "f(z) = {}", "lambda x: {}", "{} with c=2", "{}, c=1/3", "{}_+", "${}$", "x ↦ {}", "mine: f(z) = {}")
WORDS = (
    *(
        *NAMES,
        *NUMBERS,
        *OPERATORS,
        "(",
        ")",
        ",",
        " ",
        "|",
        "²",
        "−",
        "σ",
        "{",
        "}",
        "np.",
        "if",
        "else",
        "½",
        "τ",
        "c",
    ),
    *("\\log", "\\frac", "\\left", "\\right", "\\sigma", "\\sqrt", "^{", "_", "_+", "[", "]", "\\max", "\\beta", "\\,"),
    *(" with ", "c=2", "=", "f(x) =", "lambda x:", ".relu()", ".clamp(min=0)", "a", "b", "x", "√"),
)
ALLOWED = 1.0
"""Seconds of processor time that reading one text may take."""
ENDED = 10
_LONGEST = 400
_PRINTED = 900


@dataclass
class Findings:
    """What the parser did with the texts."""

    read: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    raised: list[tuple[str, str]] = field(default_factory=list)
    slow: list[tuple[str, float]] = field(default_factory=list)
    slowest: float = 0.0
    changed: list[tuple[str, str]] = field(default_factory=list)
    beyond: int = 0


def expression(generator: random.Random, depth: int) -> str:
    """A text that follows the grammar, nested at most so deep."""
    draw = generator.random()
    if depth == 0 or draw < 0.15:
        return "z" if generator.random() < 0.6 else generator.choice(NUMBERS)
    if draw < 0.55:
        left, right = expression(generator, depth - 1), expression(generator, depth - 1)
        return f"({left}){generator.choice(OPERATORS)}({right})"
    if draw < 0.6:
        return f"-({expression(generator, depth - 1)})"
    name = generator.choice(tuple(FUNCTIONS))
    wanted = FUNCTIONS[name].arguments
    count = wanted if wanted and generator.random() < 0.97 else generator.choice((1, 2, 2, 3, 4, 9, 17))
    return f"{name}({','.join(expression(generator, depth - 1) for _ in range(count))})"


def latex(generator: random.Random, depth: int) -> str:
    """A formula as it stands in a paper, nested at most so deep."""
    draw = generator.random()
    if depth == 0 or draw < 0.15:
        return "z" if generator.random() < 0.6 else generator.choice(("1", "2", "12", "0.5", "c", "\\tau"))
    inner = latex(generator, depth - 1)
    if draw < 0.5:
        other = latex(generator, depth - 1)
        form = generator.choice(
            ("{}+{}", "{}-{}", "{}{}", "{} \\cdot {}", "\\frac{{{}}}{{{}}}", "{}/{}", "\\max\\{{{},{}\\}}")
        )
        return form.format(inner, other)
    forms = (
        *("\\log({})", "\\log {}", "\\left({}\\right)", "e^{{-{}}}", "({})^2", "({})_+", "\\sigma({})", "|{}|"),
        *(
            "\\sqrt{{{}}}",
            "\\tanh^2({})",
            "\\operatorname{{softplus}}({})",
            "\\exp\\left[{}\\right]",
            "{{{}}}",
            "\\ln {}^2",
        ),
    )
    return generator.choice(forms).format(inner)


def damaged(generator: random.Random, text: str) -> str:
    """The text with a few of its characters left out, doubled or changed."""
    letters = list(text)
    for _ in range(generator.randint(1, 4)):
        if not letters:
            break
        place = generator.randrange(len(letters))
        letters[place] = generator.choice(("", letters[place] * 2, generator.choice(WORDS)))
    return "".join(letters)


def texts(count: int, seed: int) -> list[str]:
    """Distinct texts, the same for the same seed."""
    generator = random.Random(seed)
    found: dict[str, None] = {}
    while len(found) < count:
        draw = generator.random()
        text = (latex if generator.random() < 0.25 else expression)(generator, generator.randint(1, 5))
        if generator.random() < 0.2:
            text = generator.choice(AROUND).format(text)
        if draw > 0.75:
            text = "".join(generator.choice(WORDS) for _ in range(generator.randint(1, 12)))
        elif draw > 0.5:
            text = damaged(generator, text)
        if len(text) <= _LONGEST or draw < 0.02:
            found[text] = None
    return list(found)


def attack(found: Findings, text: str) -> None:
    """Read one text and note what came of it."""
    began = time.process_time()
    try:
        loss = parse_loss(text)
        found.read += 1
    except ValueError as error:
        found.refused[str(error).partition("; accepted")[0].rpartition(": ")[2][:40]] += 1
    except Exception:
        found.raised.append((text, traceback.format_exc(limit=-3)))
    else:
        _read_back(found, text, loss)
    seconds = time.process_time() - began
    found.slowest = max(found.slowest, seconds)
    if seconds > ALLOWED:
        found.slow.append((text, seconds))


def same_loss(one: Loss, other: Loss) -> bool:
    """Whether two losses are one expression or, where sympy has multiplied one out, agree to 30 digits at points."""
    left, right = one.expression, other.expression
    if left == right:
        return True
    points = [sympy.Rational(k, 7) for k in (-9, -2, 3, 11)]
    symbols = sorted(left.free_symbols | right.free_symbols, key=str)
    for shift in range(len(points)):
        at = {symbol: points[(shift + k) % len(points)] for k, symbol in enumerate(symbols)}
        difference = sympy.N(left.xreplace(at) - right.xreplace(at), 30)
        if not abs(difference) <= sympy.Rational(1, 10**28) * (1 + abs(sympy.N(right.xreplace(at), 30))):
            return False
    return True


def _read_back(found: Findings, text: str, loss: Loss) -> None:
    """Whether what is printed is the same loss; what is too long to be read is left."""
    printed = str(loss.expression)
    if len(printed) > _PRINTED:
        return
    try:
        if not same_loss(parse_loss(printed), loss):
            found.changed.append((text, printed))
    except ValueError:
        found.beyond += 1


def main(arguments: list[str] | None = None) -> int:
    """Run the attack; 1 where anything was found."""
    parser = Parser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--count", type=whole(1), default=20_000, help="distinct texts")
    parser.add_argument("--seed", type=whole(0), default=0)
    add_keep(parser)
    options = parser.parse_args(arguments)
    keeper = Keeper(options.keep, "fuzz.expressions", "Texts of losses, given to the parser.")
    found, current = Findings(), [""]

    def ended(*_: Any) -> None:
        print(f"still unread after {ENDED} s of processor time: {current[0]!r}", file=sys.stderr)
        sys.exit(2)

    signal.signal(signal.SIGXCPU, ended)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    for text in texts(options.count, options.seed):
        current[0] = text
        soft = int(time.process_time()) + ENDED
        if hard == resource.RLIM_INFINITY or soft < hard:  # else a limit given from outside ends it first
            resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))
        attack(found, text)
    refused = sum(found.refused.values())
    faults = {"raised": len(found.raised), "slow": len(found.slow), "changed": len(found.changed)}
    ends = {"read": found.read, "refused": refused}
    row = Tried("parser of losses", "texts", options.count, faults, ends)
    keeper.keep("", [row], {"count": options.count, "seed": options.seed, "slowest": round(found.slowest, 2)})
    print(f"{options.count} texts: {found.read} read, {refused} refused; the slowest took {found.slowest:.2f} s")
    print(f"{len(found.raised)} raised something other than ValueError, {len(found.slow)} took over {ALLOWED:g} s")
    print(
        f"{len(found.changed)} are another loss when what is printed is read, and {found.beyond} beyond a bound "
        "of what is read"
    )
    for text, printed in found.changed[:10]:
        print(f"  {text!r}\n    {printed[:300]}")
    for text, trace in found.raised[:10]:
        print(f"  {text!r}\n{trace}")
    for text, seconds in found.slow[:10]:
        print(f"  {seconds:.2f} s: {text!r}")
    return int(bool(found.raised or found.slow or found.changed))


if __name__ == "__main__":
    sys.exit(main())
