"""Small faults of a file: mutmut's operators, at every place that is not left out, in an order drawn once.

The operators are mutmut's (`mutmut.mutation.mutators`): numbers n → n + 1, one arithmetic, comparison or logical
operator for another, ``not`` dropped, ``in`` for ``not in``, True for False, keyword arguments dropped, ``a = b`` to
``a = None``, ``a += b`` to ``a = b``, both arms of a conditional expression, ``break`` and ``continue``, string
methods, strings ``"a"`` → ``"XXaXX"`` and in capitals. Its runner is not used: it leaves out decorated functions (every
property, every cached function), whatever stands outside functions (tables of coefficients, defaults of fields), and
chooses tests by function. cosmic-ray has eleven faults for each ``+`` (most of them a TypeError at once, which any test
notices), none for arguments and strings, and runs all tests for each.

Left out, before anything is drawn, for no test should fix it or none can see it:

- annotations, imports, ``if TYPE_CHECKING:``, overloads, bodies of protocols, first arguments of ``cast``, ``TypeVar``;
- text for people: docstrings, strings with a space between letters, strings within ``raise``, ``warnings.warn`` and
  ``help=``, ``stacklevel=``, and the message of an exception as a whole (that and when it is raised stays in);
- the style of pictures (``showing/style.py``: widths, sizes, colours);
- decorators (most faults in one end the import), ``__all__``, ``if __name__ == "__main__":``;
- ``strict=`` of ``zip`` and capitals in names of encodings, which change nothing where the program is right;
- mutmut's None for every argument, and dropping a positional one: half of all faults, a TypeError wherever the line
  runs, so that they measure which lines run and would lift the score.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from pathlib import Path

import libcst as cst
import libcst.matchers as m
from libcst._nodes.internal import CodegenState
from libcst.metadata import MetadataWrapper, PositionProvider, WhitespaceInclusivePositionProvider
from mutmut.mutation.mutators import mutation_operators, operator_arg_removal

from mutation.faults import Mutant

PROSE = re.compile(r"[^\W\d]\S* +\S*[^\W\d]")
ENCODINGS = {"utf-8", "utf8", "ascii", "latin-1", "utf-8-sig", "utf-16"}
INDENT = "    "
LEFT_OUT = m.Annotation() | m.Decorator() | m.Import() | m.ImportFrom()
LOOKS = {"gpo_analysis/showing/style.py"}
TYPES = m.Call(func=m.Name("cast") | m.Name("TypeVar") | m.Name("ParamSpec") | m.Name("NewType"))
WARNING = m.Call(func=m.Name("warn") | m.Attribute(attr=m.Name("warn")))


class _Visitor(cst.CSTVisitor):
    METADATA_DEPENDENCIES = (PositionProvider, WhitespaceInclusivePositionProvider)

    def __init__(self, source: str) -> None:
        super().__init__()
        self.found: list[tuple[str, str, tuple[int, int], bool, tuple[int, str, str]]] = []
        self._source = source
        self._starts = [0, *(place.end() for place in re.finditer("\n", source))]
        self._indent: list[str] = []
        self._names: list[str] = []
        self._functions = 0
        self._statements: list[tuple[int, int]] = []
        self._text = 0  # within a raise or a warning
        self._heads: list[tuple[int, int]] = []  # of functions whose defaults are being visited

    def on_visit(self, node: cst.CSTNode) -> bool:
        if self._left_out(node):
            return False
        if isinstance(node, cst.BaseStatement):
            self._statements.append(self._span(node))
        if isinstance(node, cst.FunctionDef | cst.ClassDef):
            self._names.append(node.name.value)
        if isinstance(node, cst.FunctionDef | cst.Lambda):
            self._functions += 1
            self._heads.append(self._whole(node))
        if isinstance(node, cst.Parameters):  # defaults matter where the function is called
            self._statements.append(self._heads[-1])
        if isinstance(node, cst.IndentedBlock):
            self._indent.append(INDENT if node.indent is None else node.indent)
        if _speaks(node):
            self._text += 1
        self._collect(node)
        if isinstance(node, cst.Match):  # whose cases stand in no block
            self._indent.append(INDENT if node.indent is None else node.indent)
        return True

    def on_leave(self, original_node: cst.CSTNode) -> None:
        if self._left_out(original_node):
            return
        if isinstance(original_node, cst.BaseStatement):
            self._statements.pop()
        if isinstance(original_node, cst.FunctionDef | cst.ClassDef):
            self._names.pop()
        if isinstance(original_node, cst.FunctionDef | cst.Lambda):
            self._functions -= 1
            self._heads.pop()
        if isinstance(original_node, cst.Parameters):
            self._statements.pop()
        if isinstance(original_node, cst.IndentedBlock | cst.Match):
            self._indent.pop()
        if _speaks(original_node):
            self._text -= 1

    def _whole(self, node: cst.CSTNode) -> tuple[int, int]:
        position = self.get_metadata(PositionProvider, node)
        return position.start.line, position.end.line

    def _span(self, node: cst.CSTNode) -> tuple[int, int]:
        """Lines of a statement; of one with a body, of its head."""
        first, last = self._whole(node)
        body = getattr(node, "body", None)
        if isinstance(body, cst.IndentedBlock):
            last = max(first, self._whole(body.body[0])[0] - 1)
        return first, last

    def _left_out(self, node: cst.CSTNode) -> bool:
        if m.matches(node, LEFT_OUT) or m.matches(node, TYPES):
            return True
        if isinstance(node, cst.SimpleStatementLine):  # docstrings, __all__
            return m.matches(node, m.SimpleStatementLine(body=[m.Expr(m.SimpleString() | m.ConcatenatedString())])) or (
                m.matches(node, m.SimpleStatementLine(body=[m.Assign(targets=[m.AssignTarget(m.Name("__all__"))])]))
            )
        if isinstance(node, cst.If):
            return m.matches(node.test, m.Name("TYPE_CHECKING") | m.Attribute(attr=m.Name("TYPE_CHECKING"))) or (
                m.matches(node.test, m.Comparison(left=m.Name("__name__")))
            )
        if isinstance(node, cst.FunctionDef):
            return any(m.matches(one, m.Decorator(m.Name("overload"))) for one in node.decorators)
        if isinstance(node, cst.ClassDef):
            return any(
                m.matches(one.value, m.Name("Protocol") | m.Subscript(value=m.Name("Protocol"))) for one in node.bases
            )
        if isinstance(node, cst.Arg) and node.keyword is not None:
            return node.keyword.value in ("strict", "stacklevel", "help")
        return False

    def _collect(self, node: cst.CSTNode) -> None:
        if isinstance(node, cst.BaseString) and (self._text or _prose(node)):
            return
        for kind, operator in mutation_operators:
            if isinstance(node, kind):
                for mutated in operator(node):
                    if operator is operator_arg_removal and not _drops_keyword(node, mutated):
                        continue
                    if not self._empty(node, mutated):
                        name = operator.__name__.removeprefix("operator_")
                        place = ".".join(self._names) or "module"
                        change = self._change(node, mutated)
                        self.found.append((place, name, self._statements[-1], self._functions > 0, change))

    def _change(self, node: cst.CSTNode, mutated: cst.CSTNode) -> tuple[int, str, str]:
        """Where the text changes, what stands there, and what will."""
        start = self.get_metadata(WhitespaceInclusivePositionProvider, node).start
        place, old = self._starts[start.line - 1] + start.column, self._code(node)
        if not self._source.startswith(old, place):
            raise ValueError(f"line {start.line}: {old!r:.60} does not stand there")
        return place, old, self._code(mutated)

    def _code(self, node: cst.CSTNode) -> str:
        state = CodegenState(INDENT, "\n", indent_tokens=list(self._indent))
        node._codegen(state)
        return "".join(state.tokens)

    def _empty(self, node: cst.CSTNode, mutated: cst.CSTNode) -> bool:
        """Whether a fault only touches what is left out."""
        if isinstance(node, cst.SimpleString) and isinstance(mutated, cst.SimpleString):
            return node.value.strip("\"'").lower() in ENCODINGS and "XX" not in mutated.value
        if isinstance(node, cst.Call) and isinstance(mutated, cst.Call):
            kept = {id(arg) for arg in mutated.args}
            gone = [arg for arg in node.args if id(arg) not in kept]
            return any(self._left_out(arg) or (self._text > 0 and _is_text(arg.value)) for arg in gone)
        return False


def _drops_keyword(node: cst.CSTNode, mutated: cst.CSTNode) -> bool:
    """Whether a call merely lacks one of its keyword arguments."""
    assert isinstance(node, cst.Call)
    assert isinstance(mutated, cst.Call)
    kept = {id(arg) for arg in mutated.args}
    gone = [arg for arg in node.args if id(arg) not in kept]
    return len(mutated.args) < len(node.args) and all(arg.keyword is not None for arg in gone)


def _speaks(node: cst.CSTNode) -> bool:
    return isinstance(node, cst.Raise) or m.matches(node, WARNING)


def _is_text(value: cst.BaseExpression) -> bool:
    if isinstance(value, cst.BinaryOperation):
        return _is_text(value.left) or _is_text(value.right)
    return isinstance(value, cst.BaseString) or m.matches(value, m.Call(func=m.Attribute(attr=m.Name("join"))))


def _prose(node: cst.BaseString) -> bool:
    return isinstance(node, cst.SimpleString) and PROSE.search(node.raw_value) is not None


def mutants_of(file: str, root: Path) -> list[Mutant]:
    """Every fault that a file may be given."""
    if file in LOOKS:
        return []
    source = (root / file).read_text(encoding="utf-8")
    visitor = _Visitor(source)
    MetadataWrapper(cst.parse_module(source)).visit(visitor)
    seen: Counter[tuple[str, str]] = Counter()
    found = []
    for place, operator, lines, inside, change in visitor.found:
        seen[place, operator] += 1
        found.append(
            Mutant(f"{file}::{place}::{operator}::{seen[place, operator]}", file, operator, lines, inside, change)
        )
    return found


def drawn(mutants: list[Mutant], seed: int) -> list[Mutant]:
    """All of them in an order that the seed decides; a sample is a beginning of it."""
    return sorted(mutants, key=lambda mutant: hashlib.sha256(f"{seed} {mutant.name}".encode()).digest())
