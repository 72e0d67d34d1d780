"""What was probably meant by a text that cannot be read: texts to propose, from the mildest change to the boldest."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gpo_analysis.losses.words import CONSTANTS, FUNCTIONS, MARGINS, MODULES

_NAME = re.compile(r"(?<![\w.])[^\W\d]\w*")
_BETA = r"(?:self\.)?beta"
_MARGIN = r"(?:z|(?:self\.)?[A-Za-z]\w*)"
_SCALED = re.compile(rf"\b{_BETA}\s*\*\s*(?!beta\b){_MARGIN}\b(?!\s*[(.])|(?<![\w.)]){_MARGIN}\s*\*\s*{_BETA}\b")
_BARE_ARGUMENT = re.compile(r"\b(log|exp|sigmoid|tanh|softplus|relu|sqrt|abs|max|min)\s+(-?\w+(?:\([^()]*\))?)")
_REDUCED = re.compile(r"\.(?:mean|sum|item)\(\s*\)$")
_FEW = 6


def proposals(text: str, given: dict[str, str]) -> Iterator[str]:
    """Texts that may have been meant; the caller tries whether they can be read.

    Parameters
    ----------
    text : str
        The formula in the parser's spelling, as far as it could be brought to it.
    given : dict of str to str
        The parameters that have values.

    Examples
    --------
    >>> next(proposals("log(1+exp(-x))", {}))
    'log(1+exp(-z))'
    >>> next(proposals("c*exp(-z)", {}))
    'c*exp(-z) with c=1'
    """
    seen = {text}
    for change in (_closed, _whole, _without_beta, _rounded, _called, _multiplied, _in_z, _other_names):
        changed = change(text, given)
        if len(changed) > 2 * len(text) + 20:
            continue
        text = changed
        for candidate in (text, _with_values(text, given)):
            if candidate not in seen:
                seen.add(candidate)
                yield candidate
    final = _with_values(text, given)
    if final not in seen:
        yield final


def strangers(text: str, given: dict[str, str]) -> list[str]:
    """The names of a text that are neither symbols nor known, each once."""
    known = {*FUNCTIONS, *CONSTANTS, *MODULES, *given, "z", "a", "b"}
    called = set(re.findall(r"([^\W\d]\w*)\s*\(", text))
    names = dict.fromkeys(_NAME.findall(text))
    return [name for name in names if name not in known and name not in called]


def _with_values(text: str, given: dict[str, str]) -> str:
    """With a value for what may be a parameter, where there is a margin besides."""
    free = strangers(text, given)
    values = {**given, **dict.fromkeys(free, "1")}
    if not values or len(free) > _FEW or not set(_NAME.findall(text)) & {"z", "a", "b"}:
        return text
    return f"{text} with " + ", ".join(f"{name.rstrip('_')}={value}" for name, value in values.items())


def _closed(text: str, given: dict[str, str]) -> str:
    missing = text.count("(") - text.count(")")
    if 0 < missing <= 3:
        return text + ")" * missing
    return text[:missing] if -3 <= missing < 0 and text.endswith(")" * -missing) else text


def _whole(text: str, given: dict[str, str]) -> str:
    return _REDUCED.sub("", text)


def _without_beta(text: str, given: dict[str, str]) -> str:
    """βρ, β(h_w − h_l) and β logits are z; a β before a difference of log-ratios is in these already."""
    text = re.sub(rf"\b{_BETA}\s*\*\s*(?=\(\s*[^\W\d]\w*\s*-\s*[^\W\d]\w*\s*\))", "", text)
    return _SCALED.sub("z", text).replace("self.beta", "beta")


def _rounded(text: str, given: dict[str, str]) -> str:
    """Square brackets and braces as round ones."""
    return text.translate(str.maketrans("[]{}", "()()")) if "," not in text else text


def _called(text: str, given: dict[str, str]) -> str:
    """A function with its argument in brackets: log z."""
    text = re.sub(r"√\s*(\w+)", r"sqrt(\1)", text)
    return _BARE_ARGUMENT.sub(r"\1(\2)", _BARE_ARGUMENT.sub(r"\1(\2)", text))


def _multiplied(text: str, given: dict[str, str]) -> str:
    """Products that are not written: (1-z)(1-z), z exp(-z), cz."""
    text = re.sub(r"(\)|\b[zab]|\b\d)\s*(?=\(|[zab]\b)", r"\1*", text)
    text = re.sub(r"(\)|\w)\s+(?=[\w(])(?!(?:if|else|for|in|is|and|or|not)\b)(?<!\bif )", r"\1*", text)
    return re.sub(r"(?<![\w.])([A-Za-z])([zab])\b(?!\()", r"\1*\2", text)


def _in_z(text: str, given: dict[str, str]) -> str:
    """The one strange name as the margin, where there is none; of several the one that is often its name."""
    free = strangers(text, given)
    if set(_NAME.findall(text)) & {"z", "a", "b"} or not free or text.strip().isidentifier():
        return text
    likely = free if len(free) == 1 else [name for name in free if name in MARGINS]
    return re.sub(rf"(?<![\w.]){re.escape(likely[0])}\b(?!\()", "z", text) if len(likely) == 1 else text


def _other_names(text: str, given: dict[str, str]) -> str:
    """Parameters that must not be called so: a and b beside z, β."""
    names = set(_NAME.findall(text))
    wrong = [name for name in ("a", "b", "beta") if name in names and ("z" in names or name == "beta")]
    free = [name for name in ("c", "k", "d", "s") if name not in names]
    for name, other in zip(wrong, free, strict=False):
        text = re.sub(rf"(?<![\w.]){name}\b(?!\()", other, text)
    return text
