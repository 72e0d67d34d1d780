"""Where a result comes from: the code that ran, its commit, the versions around it, and the device.

`code_hash` follows the imports of a module, as its source states them, through the packages of this project, so that
a result can be found again as long as nothing it used has changed, and no longer.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

__all__ = ["code_hash", "code_modules", "device", "git_state", "versions"]

PACKAGES = ("gpo_analysis", "experiments", "llm")
EXCLUDED = ("gpo_analysis.plotting", "gpo_analysis.cli", "gpo_analysis.records", "gpo_analysis.runs")
DISTRIBUTIONS = ("gpo-analysis", "numpy", "scipy", "sympy", "pandas", "pyarrow", "matplotlib", "joblib", "torch")


def versions() -> dict[str, str]:
    """Return the version of Python and of every installed package that results may depend on (none is imported).

    Examples
    --------
    >>> "python" in versions(), "numpy" in versions()
    (True, True)
    """
    found = {"python": platform.python_version()}
    for distribution in DISTRIBUTIONS:
        try:
            found[distribution] = importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def git_state(folder: str | os.PathLike[str]) -> dict[str, str | bool | None]:
    """Return the commit checked out around ``folder`` and whether files differ from it.

    Returns
    -------
    dict
        ``commit`` (40 hexadecimal digits) and ``dirty``; both None where there is no git or no commit.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return {"commit": None, "dirty": None}
    changed = _git(folder, "status", "--porcelain")
    return {"commit": commit, "dirty": None if changed is None else bool(changed)}


def device() -> dict[str, str | int | None]:
    """Return what the computation ran on: processor, cores and system."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "system": platform.system(),
    }


def code_hash(
    module: str, *, packages: Sequence[str] = PACKAGES, excluded: Sequence[str] = EXCLUDED, where: Path | None = None
) -> str:
    """Return 16 hexadecimal digits that change when code that ``module`` can run changes.

    The sources of `code_modules` go in, byte for byte, with the data files (anything but Python) of the packages they
    belong to. Versions of other people's packages do not.
    """
    sources = _Sources(tuple(packages), tuple(excluded), where)
    digest = hashlib.sha256()
    for name in _closure(module, sources):
        file = sources.file(name)
        assert file is not None  # the closure holds modules with a file only
        digest.update(f"{name}\0".encode() + file.read_bytes().replace(b"\r\n", b"\n") + b"\0")
    for label, file in sources.data_files():
        digest.update(f"{label}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def code_modules(
    module: str, *, packages: Sequence[str] = PACKAGES, excluded: Sequence[str] = EXCLUDED, where: Path | None = None
) -> tuple[str, ...]:
    """Return the modules of this project that ``module`` can import, itself and their parent packages included.

    Parameters
    ----------
    module
        Dotted name, such as ``"experiments.losses"``.
    packages
        Top-level packages to follow; imports of anything else are not followed.
    excluded
        Modules (with all below them) whose code cannot change a table: drawing, the command line, records.
    where
        Folder that holds the packages; where Python finds them by default.

    Notes
    -----
    Imports are read from the source, those inside functions and names of modules in strings included; only blocks
    under ``TYPE_CHECKING`` are left out, as they never run. A package with a stub ``__init__.pyi`` is taken to load
    its names lazily: ``import package as p`` followed by ``p.name`` leads to the module that the stub names, and any
    other use of ``p`` to all of them.

    Raises
    ------
    ValueError
        If there is no such module.
    """
    return _closure(module, _Sources(tuple(packages), tuple(excluded), where))


def _closure(module: str, sources: _Sources) -> tuple[str, ...]:
    if sources.file(module) is None:
        raise ValueError(f"no module {module!r} in {', '.join(sources.packages)}")
    found: set[str] = set()
    todo = [module]
    while todo:
        name = todo.pop()
        if name in found or sources.file(name) is None:
            continue
        parent = name.rpartition(".")[0]
        todo += [parent] if parent else []  # importing a.b runs a/__init__.py
        if not sources.is_excluded(name):
            found.add(name)
            todo += _imports(name, sources)
    return tuple(sorted(found))


@dataclass(frozen=True)
class _Sources:
    """The files of the packages that are followed."""

    packages: tuple[str, ...]
    excluded: tuple[str, ...]
    where: Path | None = field(default=None)

    @cached_property
    def roots(self) -> dict[str, Path]:
        """Folder of every package that exists."""
        roots = {}
        for package in self.packages:
            if self.where is not None:
                folder = self.where / package
            else:
                spec = importlib.util.find_spec(package)
                if spec is None or spec.origin is None:
                    continue
                folder = Path(spec.origin).parent
            if (folder / "__init__.py").is_file():
                roots[package] = folder
        return roots

    def is_excluded(self, name: str) -> bool:
        return any(name == prefix or name.startswith(prefix + ".") for prefix in self.excluded)

    def file(self, name: str) -> Path | None:
        """Return the source file of the module ``name``, or None."""
        top, *rest = name.split(".")
        if top not in self.roots or not all(part.isidentifier() for part in rest):
            return None
        base = self.roots[top].joinpath(*rest)
        candidates = [base / "__init__.py"] + ([base.with_suffix(".py")] if rest else [])
        return next((file for file in candidates if file.is_file()), None)

    def stub(self, name: str) -> dict[str, str] | None:
        """Return name -> module for a package that loads its names lazily, or None for any other module."""
        file = self.file(name)
        if file is None or file.name != "__init__.py" or not file.with_suffix(".pyi").is_file():
            return None
        tree = ast.parse(file.with_suffix(".pyi").read_bytes())
        names: dict[str, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                base = _base(node, name, is_package=True)
                for alias in node.names:
                    below = f"{base}.{alias.name}"
                    names[alias.asname or alias.name] = below if self.file(below) else base
        return names

    def data_files(self) -> Iterator[tuple[str, Path]]:
        """Yield label and path of the files beside the code that a run may read."""
        for package, root in sorted(self.roots.items()):
            for file in sorted(root.rglob("*")):
                relative = file.relative_to(root)
                parts = [package, *relative.parts]
                hidden = any(part.startswith(".") or part == "__pycache__" for part in parts)
                code = file.suffix in (".py", ".pyi", ".pyc", ".md") or file.name == "py.typed"
                if file.is_file() and not (hidden or code or self.is_excluded(".".join(parts))):
                    yield "/".join(parts), file


def _imports(name: str, sources: _Sources) -> list[str]:
    """Return the modules that the source of ``name`` imports, lazily loaded names resolved."""
    file = sources.file(name)
    assert file is not None  # callers ask for modules with a file only
    tree = _without_type_checking(ast.parse(file.read_bytes(), filename=str(file)))
    found: list[str] = []
    facades: dict[str, str] = {}  # local name -> package that loads lazily
    attributes: list[tuple[str, str]] = []
    bare: set[str] = set()
    seen_as_base: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found.append(alias.name)
                target = alias.name if alias.asname else alias.name.split(".")[0]
                if sources.stub(target) is not None:
                    facades[alias.asname or target] = target
        elif isinstance(node, ast.ImportFrom):
            base = _base(node, name, is_package=file.name == "__init__.py")
            found.append(base)
            for alias in node.names:
                found += _resolve(base, alias.name, sources)
                below = f"{base}.{alias.name}"
                if sources.stub(below) is not None:
                    facades[alias.asname or alias.name] = below
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            attributes.append((node.value.id, node.attr))
            seen_as_base.add(id(node.value))
        elif isinstance(node, ast.Name) and id(node) not in seen_as_base:
            bare.add(node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and sources.file(node.value) is not None:
            found.append(node.value)  # importlib.import_module("package.module")
    for local, attribute in attributes:
        if local in facades:
            found += _resolve(facades[local], attribute, sources)
    for local in bare & set(facades):
        found += _resolve(facades[local], "*", sources)
    return found


def _resolve(base: str, name: str, sources: _Sources) -> list[str]:
    """Return the modules behind ``from base import name`` or ``base.name``."""
    if sources.file(f"{base}.{name}") is not None:
        return [f"{base}.{name}"]
    stub = sources.stub(base)
    if stub is None:
        return []
    if name == "*":
        return list(stub.values())
    return [stub[name]] if name in stub else []


def _base(node: ast.ImportFrom, name: str, *, is_package: bool) -> str:
    """Return the absolute module of ``from … import``, in the module ``name``."""
    if not node.level:
        return node.module or ""
    parts = name.split(".")
    keep = len(parts) - node.level + (1 if is_package else 0)
    return ".".join([*parts[: max(keep, 0)], *([node.module] if node.module else [])])


def _without_type_checking(tree: ast.Module) -> ast.Module:
    class Drop(ast.NodeTransformer):
        def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
            test = node.test
            flag = test.attr if isinstance(test, ast.Attribute) else test.id if isinstance(test, ast.Name) else None
            self.generic_visit(node)
            return node.orelse if flag == "TYPE_CHECKING" else node

    return ast.fix_missing_locations(Drop().visit(tree))  # type: ignore[no-any-return]


def _git(folder: str | os.PathLike[str], *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _processor() -> str:
    """Return the processor's name; Linux keeps it in /proc only."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
