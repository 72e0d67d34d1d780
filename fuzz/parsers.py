"""What a program's own parser takes: its verbs, and the options of each, of argparse or click."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import click

from fuzz.commands import run_as_main
from gpo_analysis.cli import gpo


@dataclass(frozen=True)
class Option:
    """An option or a positional word: its names, and what its values are like."""

    names: tuple[str, ...]
    choices: tuple[str, ...] = ()
    kind: str = "text"  # text, int, float, flag
    several: bool = False
    required: bool = False
    hint: str = ""  # metavar and help, from which a file is guessed

    @property
    def file(self) -> bool:
        return bool(re.search(r"\b(file|dir|path|folder|model|csv|votes)\b", self.hint, re.IGNORECASE))


@dataclass(frozen=True)
class Verb:
    """A program with the words before its options."""

    program: str
    words: tuple[str, ...]
    options: tuple[Option, ...] = field(repr=False)


class _Seen(BaseException):
    """The parser of a program, on its way out of it."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser = parser


@cache
def verbs(program: str) -> tuple[Verb, ...]:
    """The verbs of a program with their options, as its own parser says."""
    if program == "gpo":
        return tuple(
            Verb("gpo", (name,), tuple(_of_click(one) for one in command.params))
            for name, command in gpo.commands.items()
        )
    module, *words = program.split()
    asked = argparse.ArgumentParser.parse_args

    def show(self: argparse.ArgumentParser, *_arguments: Any, **_more: Any) -> Any:
        raise _Seen(self)

    argparse.ArgumentParser.parse_args = show  # type: ignore[method-assign, assignment]
    before, sys.argv = sys.argv, [module, *words]
    try:
        run_as_main(module)
        raise ValueError(f"python -m {program} asks no parser")
    except _Seen as seen:
        return tuple(_of_parser(program, tuple(words), seen.parser))
    finally:
        argparse.ArgumentParser.parse_args, sys.argv = asked, before  # type: ignore[method-assign]


_KINDS = {"int": "int", "float": "float", "whole.<locals>.read": "int", "number.<locals>.read": "float"}


def _of_parser(program: str, words: tuple[str, ...], parser: argparse.ArgumentParser) -> Iterator[Verb]:
    options = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                if below.add_help:  # others are programs of their own
                    yield from _of_parser(program, (*words, name), below)
            return
        if isinstance(action, argparse._HelpAction | argparse._VersionAction) or action.dest == "traceback":
            continue
        kind = _KINDS.get(getattr(action.type, "__qualname__", ""), "text")
        if isinstance(action.default, int | float) and not isinstance(action.default, bool):
            kind = type(action.default).__name__
        options.append(
            Option(
                tuple(action.option_strings),
                tuple(map(str, action.choices or ())),
                "flag" if action.nargs == 0 else kind,
                action.nargs in ("+", "*"),
                action.required,
                f"{action.metavar} {action.dest} {action.help}",
            )
        )
    yield Verb(program, words, tuple(options))


def _of_click(one: click.Parameter) -> Option:
    names = tuple(one.opts) if isinstance(one, click.Option) else ()
    choices = tuple(map(str, one.type.choices)) if isinstance(one.type, click.Choice) else ()
    kind = {"whole number": "int", "number": "float", "integer": "int", "float": "float"}.get(one.type.name, "text")
    flag = isinstance(one, click.Option) and (one.is_flag or one.count)
    hint = f"{one.metavar or ''} {one.name} {one.type.name} {getattr(one, 'help', '')}"
    return Option(names, choices, "flag" if flag else kind, one.nargs != 1, one.required, hint)
