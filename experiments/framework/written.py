"""What stands in an experiment's text: its fields and presets, without importing what its computation needs.

`python -m experiments list` and `describe` answer from this in a fraction of the time that the modules take to load.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import experiments

_OWN = "experiments"
_FUTURE = ast.ImportFrom("__future__", [ast.alias("annotations")], 0)


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


def part_of_module(module_name: str, *names: str) -> dict[str, Any]:
    """Objects of a module, made from the statements that they need and no others.

    Parameters
    ----------
    module_name : str
        What it takes from other modules of this package is made likewise; other packages are imported.
    *names : str
        What is wanted of it.

    Raises
    ------
    ValueError
        For a name that no statement at the top of the module makes.
    """
    return {name: _made(module_name, name) for name in names}


def _inherited(module_name: str, base: ast.Name) -> list[str]:
    return fields_written(module_name, base.id) if base.id in _statements(module_name) else []


@cache
def _made(module_name: str, name: str) -> Any:
    known = _statements(module_name)
    if name not in known:
        raise ValueError(f"{module_name} has no statement for {name}")
    wanted, open_names = {name}, [name]
    while open_names:
        for used in _used(known[open_names.pop()]):
            if used in known and used not in wanted:
                wanted.add(used)
                open_names.append(used)
    space: dict[str, Any] = {"__name__": __name__}  # dataclasses look for a module that is loaded
    body: list[ast.stmt] = []
    for one in wanted:
        statement = known[one]
        if isinstance(statement, ast.ImportFrom) and (statement.module or "").partition(".")[0] == _OWN:
            where, what = _origin(statement, one)
            if _file(f"{where}.{what}") is None:  # not a module of its own, which is imported
                space[one] = _made(where, what)
                continue
        if statement not in body:
            body.append(statement)
    body.sort(key=lambda statement: statement.lineno)
    exec(compile(ast.Module([ast.fix_missing_locations(_FUTURE), *body], []), module_name, "exec"), space)
    return space[name]


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


def _used(node: ast.AST) -> Iterator[str]:
    """Names that a statement needs when it runs, or what it makes is called: not those of annotations."""
    if isinstance(node, ast.Name):
        yield node.id
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns"):
            continue
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, ast.AST):
                yield from _used(one)


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
