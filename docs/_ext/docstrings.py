"""Docstrings are read as text of the field: ``|z|`` and ``z*`` are formulas in them, no reStructuredText markup."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_CODE = re.compile(r"(``.+?``|:[a-z:]+:`.+?`|`[^`]+`_{0,2})")


def _as_text(line: str) -> str:
    """The line with bars, stars and final underscores escaped where no code and no role stands.

    Examples
    --------
    >>> _as_text("the log-ratio |z| of ``a*b``")
    'the log-ratio \\\\|z\\\\| of ``a*b``'
    """
    parts = _CODE.split(line)
    for i in range(0, len(parts), 2):
        parts[i] = re.sub(r"(?<!\\)([|*])", r"\\\1", parts[i])
        parts[i] = re.sub(r"(?<=[\w\]\)])_(?=\W|$)", r"\\_", parts[i])
    return "".join(parts)


def _escape(_app: Sphinx, _what: str, _name: str, _object: object, _options: object, lines: list[str]) -> None:
    """Change a docstring's lines in place; examples (``>>>``) and indented literal blocks stay as they are."""
    literal = None  # the indentation that ended with "::"
    example = False
    for i, line in enumerate(lines):
        bare = line.strip()
        depth = len(line) - len(line.lstrip())
        if not bare:
            example = False
            continue
        if bare.startswith(">>>"):
            example = True
        if literal is not None and depth <= literal:
            literal = None
        if literal is None and not example:
            if bare.endswith("::"):
                literal = depth
            lines[i] = _as_text(line)


def setup(app: Sphinx) -> dict[str, bool]:
    """Before numpydoc takes the docstring apart."""
    app.connect("autodoc-process-docstring", _escape, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
