"""A study that declares itself in a file: a preset's name and what differs from it.

    preset: cpu
    data: data/arxiv_titles          # a folder of records; the generated world where it is left out
    grid: {losses: [logistic, squared], strengths: [0.1, 1.0], seeds: [0, 1]}
    training: {steps: 400, evaluate_at: [100, 400]}
    policy: {source: out/model, lora: {rank: 8}}

in YAML, or the same in TOML. Keys are the fields of `llm.study.config.StudyConfig` and of its parts.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpo_analysis.reading import in_short, setting_of, settings_in
from llm.study.config import StudyConfig
from llm.study.presets import preset


def read_study(path: str | Path) -> tuple[StudyConfig, str | None]:
    """Return the configuration that a file declares, and its folder of records if it names one.

    Raises
    ------
    ValueError
        For a file of another kind, an unknown key (naming the nearest), or a value that is not accepted.
    FileNotFoundError
        Where there is no such file.
    """
    values = settings_in(path, "fields of a study")
    base, data = values.pop("preset", "cpu"), values.pop("data", None)
    if data is not None and not isinstance(data, str):
        raise ValueError(f"{path}: data is {in_short(data)}; accepted is a folder")
    try:
        config = preset(base if isinstance(base, str) else in_short(base))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return _changed(dataclasses.replace(config, name=Path(path).stem), values, str(path)), data


def _changed(config: Any, values: Mapping[str, Any], where: str) -> Any:
    """A dataclass with some fields replaced, those of its parts too."""
    kinds = typing.get_type_hints(type(config))
    known = [f.name for f in dataclasses.fields(config)]
    changes: dict[str, Any] = {}
    for name, value in ((str(key), value) for key, value in values.items()):
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"{where}: unknown field {in_short(name)}{hint} (accepted are {', '.join(known)})")
        changes[name] = _value(kinds[name], getattr(config, name), value, f"{where}: {name}")
    try:
        return dataclasses.replace(config, **changes)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _value(kind: Any, before: Any, value: Any, where: str) -> Any:
    """A value of a file as the field's type."""
    options = [kind]
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        options = list(typing.get_args(kind))
    if value is None and type(None) in options:
        return None
    kind = next(option for option in options if option is not type(None))
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, Mapping):
            raise ValueError(f"{where} is {in_short(value)}; accepted are fields with their values")
        assert isinstance(kind, type)
        return _changed(before if before is not None else kind(), value, where)
    if typing.get_origin(kind) is tuple:
        items = list(value) if isinstance(value, list | tuple) else [value]
        one, *rest = typing.get_args(kind)
        if rest != [...] and len(items) != 1 + len(rest):
            raise ValueError(f"{where} is {in_short(value)}; accepted are {1 + len(rest)} values")
        return tuple(_value(one, None, item, where) for item in items)
    return setting_of(kind, value, where)
