"""A fault as it was drawn and as it is put into a file: what trying faults needs of them, without what makes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Mutant:
    """One fault.

    Parameters
    ----------
    name : str
        File, function, operator and the fault's number among those: stays what it is while other functions change.
    file : str
        Relative to the root.
    operator : str
        mutmut's name.
    lines : tuple of int
        First and last line of the statement that holds it.
    inside : bool
        Whether it lies in a function (else it takes effect when the module is imported).
    change : tuple of (int, str, str)
        The character of the file at which it begins, the text that stands there, and the text that it becomes.
    """

    name: str
    file: str
    operator: str
    lines: tuple[int, int]
    inside: bool
    change: tuple[int, str, str]


def mutated_source(mutant: Mutant, root: Path) -> str:
    """The file's text with the fault in it.

    Raises
    ------
    LookupError
        Where the file is not (any more) what the fault was made for.
    """
    source = (root / mutant.file).read_text(encoding="utf-8")
    place, old, new = mutant.change
    if not source.startswith(old, place):
        raise LookupError(f"{mutant.name}: the file has changed since the fault was drawn")
    return source[:place] + new + source[place + len(old) :]
