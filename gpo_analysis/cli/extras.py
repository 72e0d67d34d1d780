"""What a command says where a package is not installed that only some users need."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

OWN = ("gpo_analysis", "llm", "experiments", "figures")


@contextlib.contextmanager
def needs_extra(extra: str, name: str) -> Iterator[None]:
    """Say of a missing package in one line which extra brings it, and end the command.

    Parameters
    ----------
    extra : str
        Name of the extra, such as ``"experiments"``.
    name : str
        How the command is called.

    Raises
    ------
    SystemExit
        With the line (printed on standard error, exit code 1), where a package that is not this project's is missing.

    Examples
    --------
    >>> with needs_extra("torch", "gpo"):
    ...     raise ModuleNotFoundError("No module named 'torch'", name="torch")
    Traceback (most recent call last):
    SystemExit: gpo: torch is not installed; it comes with: pip install 'gpo-analysis[torch]'
    """
    try:
        yield
    except ModuleNotFoundError as error:
        top = (error.name or "").partition(".")[0]
        if top in ("", *OWN):
            raise
        line = f"{name}: {top} is not installed; it comes with: pip install 'gpo-analysis[{extra}]'"
        raise SystemExit(line) from None
