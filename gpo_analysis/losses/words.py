"""The words of a typed loss: functions, constants, names of modules that may stand before them; hints for others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sympy

#: Alternatives of one max or min, after nested ones are joined.
MAX_ALTERNATIVES = 8
MODULES = {
    *("np", "numpy", "jnp", "jax", "torch", "math", "Math", "F", "nn", "functional", "scipy", "special", "sp", "sympy"),
    *("tf", "tensorflow"),
}


class Refused(Exception):
    """Why a text is not accepted; the parser makes a ValueError of it, with the text and what is accepted."""


class Ambiguous(Refused):
    """A text that can mean two things; the message has both, and no other is proposed."""


@dataclass(frozen=True)
class Function:
    """A function of the whitelist.

    ``exponentiates`` says that computing it takes an exponential of the argument; ``arguments`` is how many it takes, 0
    for two or more.
    """

    build: Callable[..., sympy.Expr]
    exponentiates: bool = False
    arguments: int = 1


def _sigmoid(u: sympy.Expr) -> sympy.Expr:
    return 1 / (1 + sympy.exp(-u))


def _abs(u: sympy.Expr) -> sympy.Expr:
    """|u|, without the ||v|| that sympy leaves where u is a product."""
    found = sympy.Abs(u)
    twice = [one for one in found.atoms(sympy.Abs) if isinstance(one.args[0], sympy.Abs)]
    return found.xreplace({one: one.args[0] for one in twice})


def _choice(kind: Any) -> Callable[..., sympy.Expr]:
    """max or min as it is written: sympy's own comparison of the alternatives has no bound on its work."""

    def build(*arguments: sympy.Expr) -> sympy.Expr:
        flat = [part for u in arguments for part in (u.args if isinstance(u, kind) else (u,))]
        distinct = list(dict.fromkeys(flat))
        if len(distinct) > MAX_ALTERNATIVES:
            raise Refused(f"max and min of more than {MAX_ALTERNATIVES} alternatives are not taken")
        return distinct[0] if len(distinct) == 1 else kind(*distinct, evaluate=False)

    return build


MAX, MIN = Function(_choice(sympy.Max), arguments=0), Function(_choice(sympy.Min), arguments=0)
ABS, _LOG = Function(_abs), Function(sympy.log)
_SIGMOID = Function(_sigmoid, True)
_SOFTPLUS = Function(lambda u: sympy.log(1 + sympy.exp(u)), True)
_LOGSIGMOID = Function(lambda u: -sympy.log(1 + sympy.exp(-u)), True)
RELU = Function(lambda u: _choice(sympy.Max)(sympy.S.Zero, u))
_PHI = Function(lambda u: sympy.erfc(-u / sympy.sqrt(2)) / 2, True)
_ATAN = Function(sympy.atan)
_LOGADDEXP = Function(lambda u, v: sympy.log(sympy.exp(u) + sympy.exp(v)), True, 2)
FUNCTIONS: dict[str, Function] = {
    "exp": Function(sympy.exp, True),
    "expm1": Function(lambda u: sympy.exp(u) - 1, True),
    "sinh": Function(sympy.sinh, True),
    "cosh": Function(sympy.cosh, True),
    "log": _LOG,
    "ln": _LOG,
    "log2": Function(lambda u: sympy.log(u) / sympy.log(2)),
    "log10": Function(lambda u: sympy.log(u) / sympy.log(10)),
    "log1p": Function(lambda u: sympy.log(1 + u)),
    "sqrt": Function(sympy.sqrt),
    "square": Function(lambda u: u**2),
    "abs": ABS,
    "Abs": ABS,
    "fabs": ABS,
    "max": MAX,
    "Max": MAX,
    "maximum": MAX,
    "min": MIN,
    "Min": MIN,
    "minimum": MIN,
    "relu": RELU,
    "tanh": Function(sympy.tanh, True),
    "atan": _ATAN,
    "arctan": _ATAN,
    "erf": Function(sympy.erf, True),
    "erfc": Function(sympy.erfc, True),
    "sigmoid": _SIGMOID,
    "sigma": _SIGMOID,
    "expit": _SIGMOID,
    "softplus": _SOFTPLUS,
    "logsigmoid": _LOGSIGMOID,
    "log_sigmoid": _LOGSIGMOID,
    "log_expit": _LOGSIGMOID,
    "Phi": _PHI,
    "ndtr": _PHI,
    "logcosh": Function(lambda u: sympy.log(sympy.cosh(u)), True),
    "logaddexp": _LOGADDEXP,
}
CONSTANTS: dict[str, sympy.Expr] = {"pi": sympy.pi, "e": sympy.E, "E": sympy.E}
_BETA = (
    "β is no part of f: it stands in z = βρ and is given beside the loss (beta=, --beta); "
    "a factor of z is a parameter of another name"
)
_RHO = "ρ is the margin without β: f is written in z = βρ"
_POLICY = "f is written in z = βρ, or in a and b, the two log-ratios β log π/πref; policies do not stand in it"
#: Why names that stand in papers and trainers have no place in f.
REASONS = {
    "beta": _BETA, "rho": _RHO, "theta": _POLICY, "pi_theta": _POLICY, "pi_ref": _POLICY, "pi": _POLICY,
    "y_w": _POLICY, "y_l": _POLICY, "logits": _RHO, "margin": "the margin is written z", "rho_theta": _RHO,
}  # fmt: skip
#: What is said of a letter that has no value, beside that it needs one.
LETTERS = {"tau": "IPO's (ρ - 1/(2τ))^2 is (1 - z)^2 at β = 2τ, up to a factor"}
#: Names that stand for the margin where z does not; a parameter is seldom called so.
MARGINS = ("x", "t", "u", "v", "y", "m", "r", "s", "rho", "rho_theta", "margin", "logits", "delta", "diff", "Delta")
#: Functions read whatever their case: Log, ReLU, LogSigmoid.
LOWER = {name.lower(): name for name in reversed(FUNCTIONS)}
