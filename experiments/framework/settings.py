"""The fields of an experiment's configuration: what they mean, and other values for them, typed and checked."""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from experiments.framework.discovery import Experiment
from gpo_analysis.reading.settings import number_or_nan, yaml_of
from gpo_analysis.reading.values import in_short


class BadSetting(ValueError):
    """A field that is not there, or a value that it cannot have; the message says what is accepted."""


@dataclass(frozen=True)
class Setting:
    """A field of a configuration.

    Attributes
    ----------
    name, kind, meaning : str
        ``kind`` is its type as written, ``meaning`` the docstring's.
    values : dict of str to object
        Its value in each preset.
    """

    name: str
    kind: str
    meaning: str
    values: dict[str, Any]


def settings_of(experiment: Experiment) -> list[Setting]:
    """The fields of an experiment's configuration, in order.

    Examples
    --------
    >>> from experiments.framework.discovery import get_experiments
    >>> [setting.name for setting in settings_of(get_experiments(["beta-sweep"])[0])][:2]
    ['low', 'high']
    """
    module = experiment.load()
    meanings = _meanings(module.Config.__doc__ or "")
    return [
        Setting(
            field.name, str(field.type), meanings.get(field.name, ""),
            {preset: getattr(one, field.name) for preset, one in module.PRESETS.items()},
        )
        for field in dataclasses.fields(module.Config)
    ]  # fmt: skip


def _meanings(docstring: str) -> dict[str, str]:
    """What the Parameters section of a docstring says of each name; several names of a line share it."""
    found: dict[str, str] = {}
    names: list[str] = []
    for line in docstring.splitlines():
        head = re.match(r"\s*([a-z_][\w, ]*) : ", line)
        if head:
            names = [name.strip() for name in head.group(1).split(",")]
        elif names and line.strip():
            for name in names:
                found[name] = f"{found.get(name, '')} {line.strip()}".strip()
        else:
            names = []
    return found


def read_assignments(words: Iterable[str]) -> dict[str, Any]:
    """``name=value`` for each word, the value in YAML's notation: 5, 0.1, true, text, [a, "b c"].

    Raises
    ------
    BadSetting
        For a word without ``=``, a value that cannot be read, or a name that is given twice.

    Examples
    --------
    >>> read_assignments(["seeds=5", 'losses=[logistic, "log(cosh(1-z))"]'])
    {'seeds': 5, 'losses': ['logistic', 'log(cosh(1-z))']}
    """
    found: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        name = name.strip()
        if not equals or not name:
            raise BadSetting(f"--set {word!r}; accepted is NAME=VALUE")
        if name in found:
            raise BadSetting(f"--set {name} is given twice")
        try:
            found[name] = yaml_of(text)
        except ValueError as error:
            raise BadSetting(
                f'--set {name}: {in_short(text)} cannot be read ({error}); accepted are 5, 0.1, [a, "b"]'
            ) from None
    return found


def with_settings(config: Any, values: Mapping[str, Any], experiment: str = "the experiment") -> Any:
    """The configuration with other values, each of its field's type.

    Parameters
    ----------
    config : dataclass
    values : mapping of str to object
        Lists stand for tuples; a loss is a name or an expression in z.
    experiment : str
        Its name, for messages.

    Raises
    ------
    BadSetting
        For a name that is no field (with the nearest), or a value of another type, or one that the configuration
        refuses.

    Examples
    --------
    >>> from experiments.beta_sweep import Config
    >>> with_settings(Config(), {"points": 5}).points
    5
    >>> with_settings(Config(), {"pionts": 5})
    Traceback (most recent call last):
        ...
    experiments.framework.settings.BadSetting: the experiment has no field 'pionts'; did you mean 'points'?
    """
    from gpo_analysis.losses.lookup import get_margin_loss

    kinds = typing.get_type_hints(type(config))
    known = [field.name for field in dataclasses.fields(config)]
    new: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}"
            raise BadSetting(f"{experiment} has no field {name!r}; {hint}")
        new[name] = _typed(value, kinds[name], name)
        if name in ("loss", "losses"):
            for loss in (new[name],) if isinstance(new[name], str) else new[name]:
                try:
                    get_margin_loss(loss)
                except ValueError as error:
                    raise BadSetting(f"{name}: {error}") from None
    try:
        return dataclasses.replace(config, **new)
    except (TypeError, ValueError) as error:
        raise BadSetting(f"{experiment}: {error}") from None


def _typed(value: Any, kind: Any, name: str) -> Any:
    """``value`` as the annotation ``kind`` wants it."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        for part in parts:
            try:
                return _typed(value, part, name)
            except BadSetting:
                continue
        raise BadSetting(f"{name} is {in_short(value)}; accepted is {_shown(kind)}")
    if origin is typing.Literal:
        if value in parts:
            return value
        raise BadSetting(f"{name} is {in_short(value)}; accepted are {', '.join(map(repr, parts))}")
    if origin is tuple:
        return _tuple(value, kind, parts, name)
    if kind is type(None) and value is None:
        return None
    if kind is bool and isinstance(value, bool):
        return value
    if kind is str and isinstance(value, str):
        return value
    if kind is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if kind is float and not isinstance(value, bool):
        number = number_or_nan(value)  # YAML reads 1e-3 as text
        if not math.isnan(number):
            return number
    raise BadSetting(f"{name} is {in_short(value)}; accepted is {_shown(kind)}")


def _tuple(value: Any, kind: Any, parts: tuple[Any, ...], name: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise BadSetting(f"{name} is {in_short(value)}; accepted is {_shown(kind)}, written [first, second]")
    if len(parts) == 2 and parts[1] is Ellipsis:
        if not value:
            raise BadSetting(f"{name} is empty; accepted are one or more of {_shown(parts[0])}")
        return tuple(_typed(item, parts[0], name) for item in value)
    if len(value) != len(parts):
        raise BadSetting(f"{name} has {len(value)} values; accepted are {len(parts)} ({_shown(kind)})")
    return tuple(_typed(item, part, name) for item, part in zip(value, parts, strict=True))


def _shown(kind: Any) -> str:
    """A type as it is written."""
    return kind.__name__ if isinstance(kind, type) and not typing.get_args(kind) else str(kind).replace("typing.", "")
