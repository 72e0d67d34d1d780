"""The page of what the project is built on: range, version it was built with, and licence of each direct dependency."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

NAME = re.compile(r"[A-Za-z0-9_.-]+")
OWN = "gpo-analysis["


def declared(pyproject: Path) -> Iterator[tuple[str, str, str]]:
    """Distribution, range and who asks for it, from ``pyproject.toml``; the library first, then its extras."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    for who, wanted in [("library", project["dependencies"]), *project["optional-dependencies"].items()]:
        for requirement in wanted:
            if not requirement.startswith(OWN):
                name = NAME.match(requirement)
                assert name is not None, requirement
                yield name.group(), requirement[name.end() :], who


def licence(name: str) -> str:
    """What the distribution says of its licence, in one line; empty where it is not installed or says nothing."""
    try:
        said = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return ""
    if said.get("License-Expression"):
        return str(said["License-Expression"])
    classifiers = [
        line.rpartition(" :: ")[2] for line in said.get_all("Classifier") or () if line.startswith("License")
    ]
    first = (said.get("License") or "").strip().partition("\n")[0] or _first_line(name)
    return ", ".join(classifiers) or (first if len(first) < 60 else "its own text")


def _first_line(name: str) -> str:
    """Of the file of its licence, as older distributions have nothing else; empty where there is none."""
    for path in metadata.files(name) or ():
        if path.name.upper().startswith(("LICENSE", "LICENCE", "COPYING")):
            return next((line.strip() for line in path.read_text().splitlines() if line.strip()), "")
    return ""


def rows(pyproject: Path) -> list[list[object]]:
    """A row a distribution: name, range, version here, licence, and who asks for it."""
    found: dict[str, list[object]] = {}
    for name, versions, who in declared(pyproject):
        if name in found:
            found[name][4] = f"{found[name][4]}, {who}"
            continue
        try:
            here = metadata.version(name)
        except metadata.PackageNotFoundError:
            here = "not installed"
        found[name] = [name, versions, here, licence(name), who]
    return list(found.values())
