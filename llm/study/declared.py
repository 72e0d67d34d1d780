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
import math
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"{file} is no file; accepted is a YAML or TOML file that declares a study")
    found = _parsed(file)
    if not isinstance(found, dict):
        raise ValueError(f"{file} holds {type(found).__name__}; accepted are fields of a study")
    values = {str(key): value for key, value in found.items()}
    base, data = values.pop("preset", "cpu"), values.pop("data", None)
    if data is not None and not isinstance(data, str):
        raise ValueError(f"{file}: data is {data!r}; accepted is a folder")
    config = preset(base) if isinstance(base, str) else preset(str(base))
    return _changed(dataclasses.replace(config, name=file.stem), values, str(file)), data


def _parsed(file: Path) -> Any:
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".toml":
        try:
            return tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{file}: malformed TOML ({error})") from None
    if file.suffix in (".yaml", ".yml"):
        import yaml  # type: ignore[import-untyped]

        try:
            return yaml.safe_load(text) or {}
        except yaml.YAMLError as error:
            raise ValueError(f"{file}: malformed YAML ({' '.join(str(error).split())})") from None
    raise ValueError(f"{file}: accepted are files that end in .yaml, .yml or .toml")


def _changed(config: Any, values: Mapping[str, Any], where: str) -> Any:
    """A dataclass with some fields replaced, those of its parts too."""
    kinds = typing.get_type_hints(type(config))
    known = [f.name for f in dataclasses.fields(config)]
    changes: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"{where}: unknown field {name!r}{hint} (accepted are {', '.join(known)})")
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
            raise ValueError(f"{where} is {value!r:.60}; accepted are fields with their values")
        assert isinstance(kind, type)
        return _changed(before if before is not None else kind(), value, where)
    if typing.get_origin(kind) is tuple:
        items = list(value) if isinstance(value, list | tuple) else [value]
        one = typing.get_args(kind)[0]
        return tuple(_value(one, None, item, where) for item in items)
    return _plain(kind, value, where)


def _plain(kind: Any, value: Any, where: str) -> Any:
    words = {bool: "true or false", str: "a text", int: "a whole number", float: "a finite number"}
    if kind in (bool, str) and isinstance(value, kind):
        return value
    if kind in (int, float) and not isinstance(value, bool):
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if math.isfinite(number) and (kind is float or number == math.floor(number)):
            return kind(number)
    raise ValueError(f"{where} is {value!r:.60}; accepted is {words.get(kind, str(kind))}")
