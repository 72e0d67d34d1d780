"""The fields of an experiment, from its text: `python -m experiments list` names them without importing all modules."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import experiments


def fields_written(module_name: str, name: str = "Config") -> list[str]:
    """The fields of a module's configuration, those of its bases first.

    Parameters
    ----------
    module_name, name : str
        Of the module and of the class in it.

    Examples
    --------
    >>> fields_written("experiments.beta_sweep")[:2]
    ['low', 'high']
    """
    found = _statements(module_name).get(name)
    if isinstance(found, ast.ImportFrom):
        return fields_written(*_origin(found, name))
    if not isinstance(found, ast.ClassDef):
        return []
    inherited = [field for base in found.bases if isinstance(base, ast.Name) for field in _inherited(module_name, base)]
    own = [
        line.target.id for line in found.body if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)
    ]
    return list(dict.fromkeys([*inherited, *own]))


def _inherited(module_name: str, base: ast.Name) -> list[str]:
    return fields_written(module_name, base.id) if base.id in _statements(module_name) else []


@cache
def _statements(module_name: str) -> dict[str, ast.stmt]:
    """The last statement at the top of a module that makes each name."""
    path = _file(module_name)
    found: dict[str, ast.stmt] = {}
    for statement in () if path is None else ast.parse(path.read_bytes(), str(path)).body:
        for name in _names_made(statement):
            found[name] = statement
    return found


def _names_made(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.Import | ast.ImportFrom):
        yield from (alias.asname or alias.name.partition(".")[0] for alias in statement.names)
    elif isinstance(statement, ast.ClassDef | ast.FunctionDef):
        yield statement.name
    elif isinstance(statement, ast.Assign):
        yield from (one.id for target in statement.targets for one in ast.walk(target) if isinstance(one, ast.Name))
    elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        yield statement.target.id


def _origin(statement: ast.ImportFrom, name: str) -> tuple[str, str]:
    """Module and name there of what an import brings."""
    alias = next(alias for alias in statement.names if (alias.asname or alias.name) == name)
    return statement.module or "", alias.name


def _file(module_name: str) -> Path | None:
    """A module's text, found without importing the packages that it lies in; None of what is no module of this one."""
    _, *inner = module_name.split(".")
    for folder in map(Path, experiments.__path__):
        for path in (folder.joinpath(*inner, "__init__.py"), folder.joinpath(*inner).with_suffix(".py")):
            if path.is_file():
                return path
    return None
