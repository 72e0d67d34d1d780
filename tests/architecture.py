"""Rules of the tree: which way imports point, what may stand in which file; `test_architecture` applies them.

A rule is a function of a `Tree`, the parsed files of some folders, and returns one line a violation. It is applied to
this repository and to small trees written for the purpose, in which it must find what was put in. Imports count
wherever they stand: at the top, in a function, under ``TYPE_CHECKING``, or as the dotted name of a module in a string
(``importlib.import_module("llm.data.types")``).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("gpo_analysis", "llm", "experiments", "figures", "fuzz", "mutation", "benchmarks", "tests")

#: Who may import whom: a part may import those of the lines above its own, and itself. Parts of one line stand side by
#: side and do not import each other. The longest name that fits a module decides which part it belongs to.
ORDER = (
    ("gpo_analysis.arrays", "gpo_analysis.loss_names"),
    ("gpo_analysis.formula_words", "gpo_analysis.diagnosis_words"),
    ("gpo_analysis.convention_names",),
    (
        "gpo_analysis.locks",
        "gpo_analysis.provenance",
        "gpo_analysis.reading",
        "gpo_analysis.signals",
        "gpo_analysis.progress",
    ),
    ("gpo_analysis.tables", "gpo_analysis.showing"),
    ("gpo_analysis.statistics", "gpo_analysis.files"),
    ("gpo_analysis.calculus", "gpo_analysis.records"),
    ("gpo_analysis.losses", "gpo_analysis.runs"),
    ("gpo_analysis.preferences", "gpo_analysis.relative_entropy"),
    ("gpo_analysis.divergences", "gpo_analysis.datasets"),
    ("gpo_analysis.analysis",),
    ("gpo_analysis.solvers",),
    ("gpo_analysis.tabular", "gpo_analysis.gaussian"),
    ("gpo_analysis.training",),
    ("gpo_analysis.estimation",),
    ("gpo_analysis.integrations", "gpo_analysis.plotting", "gpo_analysis.advice"),
    ("gpo_analysis.ranking", "gpo_analysis.explore"),
    ("gpo_analysis.cli",),
    ("gpo_analysis",),  # the facade, which loads all of these lazily
    ("llm.budget", "llm.commands", "llm.devices", "llm.storage"),
    ("llm.data",),
    ("llm.policy",),
    ("llm.rewards",),
    ("llm.training",),
    ("llm.sweep",),
    ("llm.evaluation",),
    ("llm.forests",),
    ("llm.study", "llm.optimum", "llm.predicted", "llm.tuned", "llm.own"),
    ("llm.gpu", "llm.real"),
    ("llm",),
    ("experiments",),
    ("figures",),
    ("fuzz", "mutation", "benchmarks"),
    ("tests",),
)
#: Parts of the library that write files or talk to the outside; all others compute, and have no clock.
WITH_CLOCKS = {
    "gpo_analysis.files",
    "gpo_analysis.provenance",
    "gpo_analysis.records",
    "gpo_analysis.runs",
    "gpo_analysis.signals",
}
CLOCKS = {"time", "datetime", "signal", "resource", "timeit", "sched", "ctypes", "asyncio", "_thread", "faulthandler"}
CLOCK_NAMES = {"Timer", "PyThreadState_SetAsyncExc", "setitimer", "alarm", "setrlimit", "process_time"}
#: Where modules are found by listing a folder, so that no source names them.
DISCOVERY = {
    "experiments.framework.cells",
    "experiments.framework.claims",
    "experiments.framework.discovery",
    "figures.framework.drawing",
}
MOST_LINES = 400


@dataclass(frozen=True)
class Module:
    """One parsed file."""

    name: str
    path: Path
    package: str

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return list(ast.walk(self.syntax))

    @cached_property
    def syntax(self) -> ast.Module:
        return ast.parse(self.text)

    @cached_property
    def calls(self) -> list[ast.Call]:
        return [node for node in self.nodes if isinstance(node, ast.Call)]

    @cached_property
    def imported(self) -> list[tuple[str, str | None]]:
        """Module and name of every import statement (name None for ``import module``), relative ones resolved."""
        found: list[tuple[str, str | None]] = []
        for node in self.nodes:
            if isinstance(node, ast.Import):
                found += [(alias.name, None) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                parts = self.package.split(".") if node.level else []
                parts = parts[: len(parts) - max(node.level - 1, 0)] + ([node.module] if node.module else [])
                found += [(".".join(parts), alias.name) for alias in node.names]
        return found

    @cached_property
    def outer_when_run(self) -> set[str]:
        """Top-level packages that are imported when the module runs, not for annotations alone."""
        types = {
            id(inner)
            for node in self.nodes
            if isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}
            for statement in node.body
            for inner in ast.walk(statement)
        }
        run = [node for node in self.nodes if id(node) not in types]
        names = [alias.name for node in run if isinstance(node, ast.Import) for alias in node.names]
        names += [node.module or "" for node in run if isinstance(node, ast.ImportFrom) and not node.level]
        return {name.partition(".")[0] for name in names}


@dataclass(frozen=True)
class Tree:
    """The modules of a folder's packages, by dotted name."""

    modules: dict[str, Module]

    @staticmethod
    def of(root: Path, folders: tuple[str, ...] = FOLDERS) -> Tree:
        found = {}
        for folder in folders:
            for path in sorted((root / folder).rglob("*.py")):
                parts = path.relative_to(root).with_suffix("").parts
                package = ".".join(parts[:-1])
                name = package if parts[-1] == "__init__" else ".".join(parts)
                found[name] = Module(name, path, package)
        return Tree(found)

    @cached_property
    def edges(self) -> dict[str, set[str]]:
        """Which modules of the tree each module imports, in whatever way."""
        return {name: self._edges(module) - {name} for name, module in self.modules.items()}

    def _edges(self, module: Module) -> set[str]:
        found = set()
        for base, name in module.imported:
            if base == "gpo_analysis" and base in self.modules:
                found |= self._behind_the_facade(name)
            elif name is not None and f"{base}.{name}" in self.modules:
                found.add(f"{base}.{name}")
            elif base in self.modules:
                found.add(base)
        strings = (node.value for node in module.nodes if isinstance(node, ast.Constant))
        return found | {text for text in strings if isinstance(text, str) and "." in text and text in self.modules}

    @cached_property
    def _facade(self) -> dict[str, str]:
        """Which module each name of the facade is from."""
        facade = self.modules["gpo_analysis"].path.with_suffix(".pyi")
        stub = ast.parse(facade.read_text(encoding="utf-8") if facade.is_file() else "")
        return {
            alias.name: f"gpo_analysis.{node.module or alias.name}"
            for node in stub.body
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }

    def _behind_the_facade(self, name: str | None) -> set[str]:
        """Return what ``from gpo_analysis import name`` loads; ``import gpo_analysis`` alone may load all of it."""
        if name is None:
            return {"gpo_analysis"}
        target = self._facade.get(name, f"gpo_analysis.{name}")
        return {target} & set(self.modules)  # what is not behind it, as __version__, stands in the package itself


@cache
def part_of(name: str) -> tuple[int, str]:
    """Return the line of `ORDER` and the part that a module belongs to."""
    fitting = [
        (len(part), line, part)
        for line, parts in enumerate(ORDER)
        for part in parts
        if name == part or name.startswith(part + ".")
    ]
    if not fitting or (max(fitting)[2] in {"gpo_analysis", "llm"} and name.count(".") and "__main__" not in name):
        raise AssertionError(f"{name} has no place in the order of packages; give it one in {Path(__file__).name}")
    _, line, part = max(fitting)
    return line, part


def arrows_upward(tree: Tree) -> Iterator[str]:
    for name, targets in tree.edges.items():
        line, part = part_of(name)
        for target in sorted(targets):
            other_line, other = part_of(target)
            if other != part and other_line >= line:
                yield f"{name} imports {target}"


def figures_reach_beyond_records(tree: Tree) -> Iterator[str]:
    terminal = tuple(f"gpo_analysis.cli.{part}" for part in ("streams", "extras", "arguments"))  # a command's manners
    written = ("gpo_analysis.files", "gpo_analysis.records", "gpo_analysis.runs")
    allowed = (*written, "gpo_analysis.plotting", "gpo_analysis.tables", "figures", *terminal)
    for name, targets in tree.edges.items():
        if part_of(name)[1] == "figures":
            yield from (f"{name} imports {target}" for target in sorted(targets) if not target.startswith(allowed))


def circles(tree: Tree) -> Iterator[str]:
    """Every set of modules that import each other, found by Tarjan's algorithm."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []

    def visit(name: str) -> Iterator[str]:
        number[name] = low[name] = len(number)
        stack.append(name)
        for target in sorted(tree.edges[name]):
            if target not in number:
                yield from visit(target)
                low[name] = min(low[name], low[target])
            elif target in stack:
                low[name] = min(low[name], number[target])
        if low[name] == number[name]:
            members = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(members) > 1:
                yield " ↔ ".join(sorted(members))

    for name in tree.modules:
        if name not in number:
            yield from visit(name)


def clocks(tree: Tree) -> Iterator[str]:
    for name, module in tree.modules.items():
        if not name.startswith("gpo_analysis") or part_of(name)[1] in WITH_CLOCKS:
            continue
        for base, imported in module.imported:
            if base.partition(".")[0] in CLOCKS or imported in CLOCK_NAMES or "timeout" in f"{base}.{imported}":
                yield f"{name} imports {base}" + (f".{imported}" if imported else "")
        for node in module.nodes:
            if isinstance(node, ast.Attribute) and node.attr in CLOCK_NAMES | {"perf_counter", "monotonic"}:
                yield f"{name}:{node.lineno} uses {node.attr}"
        for call in module.calls:
            if any(keyword.arg == "timeout" for keyword in call.keywords):
                yield f"{name}:{call.lineno} gives a timeout"


def too_long(tree: Tree) -> Iterator[str]:
    """Files of more than 400 lines whose docstring has no sentence with ``400 lines`` and ``because``."""
    for name, module in tree.modules.items():
        lines = len(module.text.splitlines())
        docstring = " ".join((ast.get_docstring(module.syntax) or "").split())
        if lines > MOST_LINES and not any(
            "400 lines" in sentence and "because" in sentence for sentence in re.split(r"(?<=\.)\s", docstring)
        ):
            yield f"{name} has {lines} lines"


def relative_imports(tree: Tree) -> Iterator[str]:
    for name, module in tree.modules.items():
        for node in module.nodes:
            if isinstance(node, ast.ImportFrom) and node.level:
                yield f"{name}:{node.lineno} imports relatively"


def exports_of_modules(tree: Tree) -> Iterator[str]:
    """``__all__`` elsewhere than in a package's ``__init__``, which says what is public."""
    for name, module in tree.modules.items():
        for node in module.syntax.body:
            if isinstance(node, ast.Assign) and "__all__" in map(ast.unparse, node.targets) and name != module.package:
                yield f"{name} declares __all__"


def redeclared_arrays(tree: Tree) -> Iterator[str]:
    for name, module in tree.modules.items():
        for node in module.nodes if name != "gpo_analysis.arrays" else ():
            targets = node.targets if isinstance(node, ast.Assign) else []
            targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
            for target in targets:
                if isinstance(target, ast.Name) and re.fullmatch(r"_?(Float|Int|Bool)Array", target.id):
                    yield f"{name}:{target.lineno} declares {target.id}"


def untyped_parameters(tree: Tree) -> Iterator[str]:
    """Lines under ``Parameters`` and ``Attributes`` of a docstring that name something without its type."""
    for name, module in tree.modules.items():
        for node in module.nodes:
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                lines = (ast.get_docstring(node) or "").splitlines()
                rules = [at for at, line in enumerate(lines) if re.fullmatch(r"-{3,}", line)]
                for rule, end in zip(rules, [*(at - 1 for at in rules[1:]), len(lines)], strict=False):
                    if lines[rule - 1] in {"Parameters", "Attributes"}:
                        entries = [line for line in lines[rule + 1 : end] if line and not line.startswith(" ")]
                        yield from (f"{name}: {line}" for line in entries if not re.search(r"\S : \S", line))


def torch_beyond_its_rooms(tree: Tree) -> Iterator[str]:
    """Files that load torch when they run; a type may be named under ``TYPE_CHECKING`` anywhere."""
    for name, module in tree.modules.items():
        if not name.startswith("gpo_analysis") or name == "gpo_analysis.losses.torch_backend":
            continue
        if part_of(name)[1] != "gpo_analysis.integrations" and "torch" in module.outer_when_run:
            yield f"{name} imports torch"


def computed_imports(tree: Tree) -> Iterator[str]:
    """Imports whose module no source names, which no rule could follow; tests may, since they may import everything."""
    for name, module in tree.modules.items():
        for call in module.calls if part_of(name)[1] != "tests" else ():
            function = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            constant = call.args and isinstance(call.args[0], ast.Constant)
            if function in {"import_module", "__import__"} and not constant and name not in DISCOVERY:
                yield f"{name}:{call.lineno} imports a module by a computed name"


def drawing_in_experiments(tree: Tree) -> Iterator[str]:
    for name, module in tree.modules.items():
        if name.startswith("experiments") and "matplotlib" in module.outer_when_run:
            yield f"{name} imports matplotlib"


RULES: tuple[Callable[[Tree], Iterator[str]], ...] = (
    arrows_upward,
    circles,
    clocks,
    computed_imports,
    drawing_in_experiments,
    exports_of_modules,
    figures_reach_beyond_records,
    redeclared_arrays,
    relative_imports,
    too_long,
    torch_beyond_its_rooms,
    untyped_parameters,
)
