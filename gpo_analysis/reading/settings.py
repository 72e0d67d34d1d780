"""Settings that people write, in YAML or TOML: files of them, texts, and single values as the type that is wanted."""

from __future__ import annotations

import contextlib
import math
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from gpo_analysis.reading.values import in_short

_WORDS = {bool: "true or false", str: "a text", int: "a whole number", float: "a finite number"}
_MALFORMED = (ValueError, LookupError, AttributeError, TypeError, ArithmeticError, RecursionError)
"""What YAML's constructors and `tomllib` raise beside their own: of ``!!bool x``, 5,000 digits, a 31st of June."""


def settings_in(path: str | Path, what: str) -> dict[str, Any]:
    """The settings that a YAML or TOML file holds; an empty one holds none.

    Parameters
    ----------
    path : str or Path
        Ending in .yaml, .yml or .toml; UTF-8.
    what : str
        What the file is of, for messages.

    Raises
    ------
    ValueError
        Naming the file, for one of another kind, not UTF-8, malformed, or of anything but names with values.
    FileNotFoundError
        Where there is none.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"{file} is no file; accepted is a YAML or TOML file of {what}")
    kinds: dict[str, Callable[[str], Any]] = {".toml": tomllib.loads, ".yaml": yaml_of, ".yml": yaml_of}
    if file.suffix not in kinds:
        raise ValueError(f"{file}: accepted are files that end in .yaml, .yml or .toml")
    try:
        found = kinds[file.suffix](file.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not UTF-8 (byte {error.start}); accepted are {what} as UTF-8") from None
    except _MALFORMED as error:
        kind = "TOML" if file.suffix == ".toml" else "YAML"
        raise ValueError(f"{file}: malformed {kind} ({_line(error)})") from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ValueError(f"{file} holds {type(found).__name__}; accepted are {what}, each with its value")
    return {str(key): value for key, value in found.items()}


def yaml_of(text: str) -> Any:
    """What a text says in YAML's notation.

    Raises
    ------
    ValueError
        Of one line, whatever is wrong with it; also for a key that stands twice, of which YAML would take the last.

    Examples
    --------
    >>> yaml_of("[5, 0.1, a]")
    [5, 0.1, 'a']
    >>> yaml_of("2001-02-30")
    Traceback (most recent call last):
    ...
    ValueError: day is out of range for month
    """
    import yaml  # type: ignore[import-untyped]

    try:
        return yaml.load(text, Loader=_loader())
    except (yaml.YAMLError, *_MALFORMED) as error:
        raise ValueError(_line(error)) from None


@cache
def _loader() -> Any:
    import yaml

    class Strict(yaml.SafeLoader):  # type: ignore[misc]
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            once = set[str]()
            for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
                if isinstance(key.value, str):
                    if key.value in once:
                        line = key.start_mark.line + 1
                        raise ValueError(f"{in_short(key.value)} stands twice, again in line {line}")
                    once.add(key.value)
            found: dict[Any, Any] = super().construct_mapping(node, deep)
            return found

    return Strict


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def setting_of(kind: type, value: Any, where: str) -> Any:
    """One value as bool, str, int or float; a number may be a text, as which YAML reads 1e-5.

    Parameters
    ----------
    kind : type
    value : object
    where : str
        File and name, for the message.

    Raises
    ------
    ValueError
        Naming place and value, and what is accepted.

    Examples
    --------
    >>> setting_of(float, "1e-5", "run.yaml: lr"), setting_of(int, 2.0, "run.yaml: steps")
    (1e-05, 2)
    >>> setting_of(int, 2.5, "run.yaml: steps")
    Traceback (most recent call last):
    ...
    ValueError: run.yaml: steps is 2.5; accepted is a whole number
    """
    if kind in (bool, str) and isinstance(value, kind):
        return value
    if kind in (int, float) and not isinstance(value, bool):
        if kind is int and isinstance(value, str):
            with contextlib.suppress(ValueError):
                value = int(value)
        number = number_or_nan(value)
        if math.isfinite(number) and (kind is float or number == math.floor(number)):
            return value if kind is int and isinstance(value, int) else kind(number)  # beyond 2⁵³ a float is another
    raise ValueError(f"{where} is {in_short(value)}; accepted is {_WORDS.get(kind, str(kind))}")


def number_or_nan(value: Any) -> float:
    """The number that a value is, or is written as; NaN where it is none, or an integer that no float holds."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
