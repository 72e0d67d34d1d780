"""The names of the losses, without their formulas: what can be said of a name before computer algebra is loaded."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Written:
    """A margin loss of the catalogue by its formula as it would be typed; nothing else has to name it.

    Attributes
    ----------
    formula, source : str
    convex : bool
        Whether it is convex on the whole line; tests try to refute this and the next two.
    kinks : tuple of str
        Where f or one of its first two derivatives jumps.
    bounded_below : bool
    aliases : tuple of str
    """

    formula: str
    source: str
    convex: bool
    kinks: tuple[str, ...] = ()
    bounded_below: bool = True
    aliases: tuple[str, ...] = ()


#: A loss is added by an entry here.
WRITTEN: dict[str, Written] = {
    "cell": Written(
        "log(1+exp(-z))/2 + exp(-z)/2",
        "combined exponential and logistic loss, Lu et al. 2024 (DiscoPOP), arXiv 2406.08414",
        convex=True,
    ),
}

#: Of a margin, in the catalogue's order, each with its aliases.
OF_MARGINS: dict[str, tuple[str, ...]] = {
    "logistic": ("dpo",),
    "hinge": ("slic",),
    "squared": ("ipo",),
    "exponential": (),
    "truncated_quadratic": (),
    "savage": (),
    **{name: loss.aliases for name, loss in WRITTEN.items()},
    "lrml": ("discopop",),
    "smoothed_logistic": ("cdpo", "smoothed_dpo"),
    "robust_logistic": ("rdpo", "robust_dpo"),
    "sba": (),
    "lsif": (),
    "kliep": (),
}
#: Of two log-ratios.
OF_TWO_RATIOS: dict[str, tuple[str, ...]] = {
    "nca_pair": ("nca",),
    "bco_pair": ("bco",),
    "sppo_hard": ("sppo",),
    "apo_zero": (),
    "apo_down": (),
    "sft": ("nll",),
    "kto": (),
    "cal_dpo": (),
    "dpop": ("smaug", "dpo_positive"),
    "rpo": ("dpo_nll",),
}
#: Taken too, at the ε of its paper.
EXO = ("exo_pair", "exo")
#: Statistics of a batch, no losses of a pair.
OF_BATCHES = ("aot", "aot_unpaired")

_LENGTHS = "a length or a policy without its reference"
NOT_HELD: dict[str, str] = {
    "simpo": "it is a margin loss of token means of log π, without πref (tabular.solve_sequences)",
    "sigmoid_norm": "it is the logistic loss of token means; in GPOTrainer it is 'logistic' with reduction='mean'",
    "orpo": "its odds are of token means of log π, without πref (tabular.orpo, for tabular.descend_sequences)",
    "alphapo": "its rewards are powers of token means of π, without πref (tabular.solve_sequences with alpha)",
    "wpo": "it is a weight exp(mean log π …) of each pair, held fixed in the gradient, on any of these losses",
    "ld_dpo": "it weighs tokens beyond the shorter response by α, in any of these losses (tabular.descend_sequences)",
}
"""Names that a finite world without lengths cannot hold, and why."""


def proper_names(names: dict[str, tuple[str, ...]]) -> dict[str, str]:
    """Every accepted name, aliases included, to the name proper."""
    return {alias: name for name, aliases in names.items() for alias in (name, *aliases)}


def normal_name(name: object) -> str:
    """A name in lower case with underscores; empty for what is no text."""
    return name.strip().lower().replace("-", "_").replace(" ", "_") if isinstance(name, str) else ""


def why_not_held(name: object) -> str | None:
    """Why a finite world without lengths cannot hold the loss of that name; None for other names."""
    reason = NOT_HELD.get(normal_name(name).replace("α", "alpha"))
    return None if reason is None else f"{name} needs {_LENGTHS}: {reason}"


def is_word(text: str) -> bool:
    """Whether a text can be nothing but a name: a word without a, b or z standing alone."""
    return bool(re.fullmatch(r"[A-Za-z][\w -]*", text) and not re.search(r"(?<![A-Za-z_])[abz](?![A-Za-z_])", text))


def why_unknown(name: object) -> str | None:
    """What is said of a name that no loss has, with the nearest; None for one that is known."""
    if not isinstance(name, str):
        return no_loss_text(name)
    key = normal_name(name)
    names = {**proper_names(OF_MARGINS), **proper_names(OF_TWO_RATIOS)}
    if key in names or key in EXO:
        return None
    if key in OF_BATCHES:
        return (
            f"{name} is a statistic of a batch, no loss of a pair: gpo_analysis.losses.get_batch_loss({key!r}) has it"
        )
    reason = why_not_held(name)
    if reason is not None:
        return f"unknown loss {name!r}: {reason}"
    words = [word for word in key.split("_") if word in names]  # "DPO loss"
    close = words or difflib.get_close_matches(key, names, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"unknown loss {name!r}{hint} (known: {some_of(names, 'gpo losses')})"


def no_loss_text(given: object) -> str:
    """What is said of something that is no text where a loss is meant.

    Examples
    --------
    >>> no_loss_text(3)
    'unknown loss 3: a loss is a name or a formula in z, as text, such as "log(1 + exp(-z))"'
    """
    text = 'a loss is a name or a formula in z, as text, such as "log(1 + exp(-z))"'
    if hasattr(given, "free_symbols"):
        return f"unknown loss {given!r:.80}, an expression of sympy: {text}; str(expression) is one where it is in z"
    if callable(given):
        return (
            f"unknown loss, a function: {text}, since its derivatives are taken of the formula; as text a function's "
            'body is read, too: "lambda z: (1 - z)**2", "np.logaddexp(0, -z)"'
        )
    return f"unknown loss {given!r:.80}: {text}"


def some_of(names: Iterable[str], command: str, most: int = 12) -> str:
    """Names for a message: all of a short list, of a long one the first and the command that lists all.

    Examples
    --------
    >>> some_of("abc", "gpo losses"), some_of("abc", "gpo losses", most=2)
    ('a, b, c', 'a, b … (all: gpo losses)')
    """
    names = list(names)
    return ", ".join(names) if len(names) <= most else f"{', '.join(names[:most])} … (all: {command})"


def check_loss_name(name: str) -> None:
    """Refuse a word that is no loss; what may be an expression passes.

    Raises
    ------
    ValueError

    Examples
    --------
    >>> check_loss_name("ipo"), check_loss_name("(1-z)**2")
    (None, None)
    >>> check_loss_name("hinje")
    Traceback (most recent call last):
    ...
    ValueError: unknown loss 'hinje'; did you mean 'hinge'? (known: logistic, dpo, ...); or an expression in z, or ...
    """
    unknown = why_unknown(name)
    if unknown is not None and is_word(name):
        raise ValueError(f"{unknown}; or an expression in z, or in a and b")
