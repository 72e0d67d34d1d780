"""Options of the verbs that read comparisons: which columns, which separator, what depends on what."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpo_analysis.formula_words import check_loss_text

if TYPE_CHECKING:
    from gpo_analysis.preferences.options import ReadOptions

_OPTIONS = (
    click.option("--across-prompts/--within-prompts", "across_prompts", default=None,
                 help="A name is one item whatever the prompt (models), or one under each (responses); by the layout."),
    click.option("--columns", multiple=True, metavar="NAME=OWN",
                 help="The file's own name of a column: winner=preferred, prompt=question (again for more)."),
    click.option("--ignore", multiple=True, metavar="COLUMN", help="A column that only looks as if it counted."),
    click.option("--separator", help="Of CSV: one character, or tab, comma, semicolon, bar; found by default."),
    click.option("--implicit-prompts/--no-implicit-prompts", "implicit_prompts", default=None,
                 help="The common beginning of chosen and rejected is the prompt; by default of dialogues."),
)  # fmt: skip
columns_option = click.option(
    "--columns", multiple=True, metavar="NAME=OWN",
    help="The log's own name of a column: policy_chosen=pi_w, loss=train_objective (again for more).",
)  # fmt: skip
_SEPARATORS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "bar": "|", "pipe": "|", "space": " "}


def check_at_once(file: Path | None = None, losses: Iterable[str] = ()) -> None:
    """Refuse what can be refused before the library is loaded: a file that is not there, a word that is no loss.

    Raises
    ------
    OSError
        Where there is no such file; ``-`` is standard input.
    ValueError
        For an unknown name of a loss.
    """
    for name in losses:
        check_loss_text(name)
    if file is not None and str(file) != "-":
        file.stat()


def reading_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of reading comparisons."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def columns_of(pairs: Iterable[str], example: str = "winner=preferred") -> dict[str, str] | None:
    """What ``--columns`` says, None where it says nothing.

    Raises
    ------
    ValueError
        For what is no NAME=OWN, and a NAME that is given twice.

    Examples
    --------
    >>> columns_of(("policy_chosen=pi_w",))
    {'policy_chosen': 'pi_w'}
    """
    columns: dict[str, str] = {}
    for pair in pairs:
        known, is_pair, own = pair.partition("=")
        if not is_pair or not known.strip() or not own.strip():
            raise ValueError(f"--columns is {pair!r:.60}; accepted is NAME=OWN, such as {example}")
        name = known.strip().lower()
        if columns.setdefault(name, own.strip()) != own.strip():
            raise ValueError(f"--columns names {name!r:.60} twice, as {columns[name]!r:.60} and as {own.strip()!r:.60}")
    return columns or None


def options_of(given: Mapping[str, Any]) -> ReadOptions:
    """As the reader takes them.

    Raises
    ------
    ValueError
        For what is no NAME=OWN, and a separator of more than one character.

    Examples
    --------
    >>> options_of({"columns": ("winner=preferred",), "separator": "tab"})
    {'columns': {'winner': 'preferred'}, 'separator': '\\t'}
    """
    found: ReadOptions = {}
    columns = columns_of(given.get("columns") or ())
    if columns:
        found["columns"] = columns
    if given.get("separator"):
        separator = _SEPARATORS.get(given["separator"].lower(), given["separator"])
        if len(separator) != 1 or separator in '"\r\n':
            raise ValueError(
                f"--separator is {separator!r:.40}; accepted is one character, or tab, comma, semicolon, bar"
            )
        found["separator"] = separator
    if given.get("ignore"):
        found["ignore"] = given["ignore"]
    for name in ("across_prompts", "implicit_prompts"):
        if given.get(name) is not None:
            found[name] = given[name]
    return found
