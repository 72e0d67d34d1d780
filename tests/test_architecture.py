"""The shape of the tree: this one keeps the rules, each rule finds a planted violation; what an import may load."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.architecture import (
    ROOT,
    RULES,
    Tree,
    arrows_upward,
    circles,
    clocks,
    computed_imports,
    drawing_in_experiments,
    exports_of_modules,
    figures_reach_beyond_records,
    part_of,
    redeclared_arrays,
    relative_imports,
    too_long,
    torch_beyond_its_rooms,
    untyped_parameters,
)


@cache
def this_tree() -> Tree:
    return Tree.of(ROOT)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_this_tree_keeps(rule: Callable[[Tree], Iterator[str]]) -> None:
    found = list(rule(this_tree()))
    assert not found, "\n".join(found)


def test_the_rules_see_the_whole_tree() -> None:
    assert len(this_tree().modules) > 250
    parts = {part_of(name)[1] for name in this_tree().modules}
    assert parts >= {"gpo_analysis.calculus", "llm.study", "figures", "fuzz", "benchmarks", "tests"}
    assert "gpo_analysis.records" in this_tree().edges["gpo_analysis.runs"]


LONG = "x = 1\n" * 401
DOCUMENTED = '''
def f(a, b):
    """Sum.

    Parameters
    ----------
    a : int
        A number
        of two lines.
    b : int

    Returns
    -------
    int
    """
'''


@pytest.mark.parametrize(
    ("rule", "files", "found"),
    [
        (arrows_upward, {"gpo_analysis/losses/a.py": "import gpo_analysis.solvers.b"}, "losses.a imports"),
        (arrows_upward, {"gpo_analysis/losses/a.py": "def f():\n    from gpo_analysis.solvers import b"}, "solvers.b"),
        (arrows_upward, {"gpo_analysis/losses/a.py": "def f():\n    import gpo_analysis as gpo"}, "gpo_analysis"),
        (arrows_upward, {"gpo_analysis/losses/a.py": "from gpo_analysis import solve"}, "solvers.b"),
        (arrows_upward, {"gpo_analysis/tabular/a.py": "import gpo_analysis.gaussian.g"}, "gaussian.g"),
        (
            arrows_upward,
            {"gpo_analysis/losses/a.py": "if TYPE_CHECKING:\n    from gpo_analysis.solvers.b import B"},
            "solvers.b",
        ),
        (
            arrows_upward,
            {"gpo_analysis/losses/a.py": "import importlib\nimportlib.import_module('gpo_analysis.solvers.b')"},
            "solvers.b",
        ),
        (arrows_upward, {"llm/data/a.py": "def f():\n    import experiments.e"}, "experiments.e"),
        (figures_reach_beyond_records, {"figures/f.py": "import gpo_analysis.solvers.b"}, "figures.f imports"),
        (figures_reach_beyond_records, {"figures/f.py": "from gpo_analysis import solve"}, "figures.f imports"),
        (
            circles,
            {
                "gpo_analysis/solvers/c.py": "import gpo_analysis.solvers.d",
                "gpo_analysis/solvers/d.py": "def f():\n    from gpo_analysis.solvers import e",
                "gpo_analysis/solvers/e.py": "if TYPE_CHECKING:\n    from gpo_analysis.solvers.c import C",
            },
            "gpo_analysis.solvers.c ↔ gpo_analysis.solvers.d ↔ gpo_analysis.solvers.e",
        ),
        (
            circles,
            {
                "llm/data/c.py": "__import__('llm.data.d')",
                "llm/data/d.py": "from .c import x",
            },
            "llm.data.c ↔ llm.data.d",
        ),
        (clocks, {"gpo_analysis/solvers/c.py": "def f():\n    import time"}, "imports time"),
        (clocks, {"gpo_analysis/solvers/c.py": "from time import perf_counter"}, "imports time.perf_counter"),
        (clocks, {"gpo_analysis/solvers/c.py": "import threading as t\nt.Timer(1, f)"}, "uses Timer"),
        (clocks, {"gpo_analysis/solvers/c.py": "a.pythonapi.PyThreadState_SetAsyncExc(1)"}, "SetAsyncExc"),
        (clocks, {"gpo_analysis/solvers/c.py": "from sympy.utilities.timeutils import timed\nq.get(timeout=3)"}, ":2"),
        (clocks, {"gpo_analysis/calculus/c.py": "from sympy.core.timeout import x"}, "sympy.core.timeout"),
        (computed_imports, {"gpo_analysis/solvers/c.py": "import importlib\nimportlib.import_module(x)"}, ":2"),
        (drawing_in_experiments, {"experiments/d.py": "def f():\n    from matplotlib import pyplot"}, "experiments.d"),
        (exports_of_modules, {"llm/data/c.py": "__all__ = []"}, "llm.data.c declares __all__"),
        (redeclared_arrays, {"gpo_analysis/solvers/c.py": "FloatArray = NDArray[np.float64]"}, "FloatArray"),
        (redeclared_arrays, {"llm/data/c.py": "IntArray: TypeAlias = NDArray[np.int64]"}, "IntArray"),
        (relative_imports, {"gpo_analysis/solvers/c.py": "def f():\n    from . import b"}, ":2"),
        (too_long, {"figures/f.py": LONG}, "401 lines"),
        (too_long, {"fuzz/f.py": LONG}, "fuzz.f has 401 lines"),
        (too_long, {"benchmarks/b.py": LONG}, "benchmarks.b has 401 lines"),
        (too_long, {"tests/llm/test_f.py": LONG}, "tests.llm.test_f has 401 lines"),
        (arrows_upward, {"fuzz/f.py": "from tests.t import x", "tests/t.py": ""}, "fuzz.f imports tests.t"),
        (too_long, {"figures/f.py": '"""Long. Because it is. It has 400 lines and more."""\n' + LONG}, "402 lines"),
        (untyped_parameters, {"llm/data/c.py": DOCUMENTED.replace("b : int", "b")}, "llm.data.c: b"),
        (torch_beyond_its_rooms, {"gpo_analysis/solvers/c.py": "def f():\n    import torch.nn"}, "solvers.c"),
    ],
)
def test_a_rule_finds_what_is_put_in(
    tmp_path: Path, rule: Callable[[Tree], Iterator[str]], files: dict[str, str], found: str
) -> None:
    sound = {
        "gpo_analysis/__init__.py": "__version__ = '1'",
        "gpo_analysis/__init__.pyi": "from . import solvers as solvers\nfrom .solvers.b import solve as solve",
        "gpo_analysis/arrays.py": "FloatArray = NDArray[np.float64]",
        "gpo_analysis/files.py": "import time",
        "gpo_analysis/records.py": "",
        "gpo_analysis/losses/__init__.py": "from gpo_analysis import __version__\n__all__ = []",
        "gpo_analysis/solvers/b.py": "import gpo_analysis.losses\nimport threading",
        "gpo_analysis/gaussian/g.py": DOCUMENTED,
        "experiments/e.py": "import gpo_analysis as gpo",
        "figures/long.py": '"""A figure. It has more than 400 lines because it is long."""\n' + LONG,
        "figures/short.py": "from gpo_analysis.records import x",
    }
    for name, text in sound.items():
        write(tmp_path / name, text)
    assert not [line for other in RULES for line in other(Tree.of(tmp_path))]
    for name, text in files.items():
        write(tmp_path / name, text)
    lines = list(rule(Tree.of(tmp_path)))
    assert lines
    assert found in lines[-1]


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


HEAVY = ("torch", "matplotlib", "pandas", "sympy", "scipy")


def loaded_after(code: str) -> set[str]:
    shown = f"{code}\nimport sys; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded_after("import gpo_analysis") == set()
    assert loaded_after("import gpo_analysis as gpo; dir(gpo); gpo.__version__") == set()


def test_nothing_but_torch_use_loads_torch() -> None:
    code = "import gpo_analysis as gpo; gpo.get_loss('dpo')(0.0); gpo.bradley_terry([0.0, 1.0]); gpo.analyze('dpo')"
    assert "torch" not in loaded_after(code)
    assert "matplotlib" not in loaded_after(code)


def test_every_public_name_is_there_and_documented() -> None:
    import gpo_analysis as gpo

    assert len(gpo.__all__) > 20
    for name in gpo.__all__:
        public = getattr(gpo, name)
        assert public.__doc__, name
        if inspect.isfunction(public):
            assert "Parameters" in public.__doc__ or not inspect.signature(public).parameters, name
        assert ">>>" in public.__doc__ or inspect.ismodule(public) or not callable(public), f"{name} has no example"
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        gpo.nothing_of_the_kind  # noqa: B018
