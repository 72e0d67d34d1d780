"""The hash of the code: what it follows, what it leaves out, and that it follows what really gets imported."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from gpo_analysis.provenance import code_hash, code_modules, device, git_state, versions

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small project with a facade that loads lazily, as this one has."""
    checking = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from lib.never import x\n"
    files = {
        "lib/__init__.py": "import lazy_loader\n__getattr__, _, _ = lazy_loader.attach_stub(__name__, __file__)\n",
        "lib/__init__.pyi": "from .a import f as f\nfrom .b import g as g\nfrom . import plotting as plotting\n",
        "lib/a.py": "import numpy\ndef f():\n    from lib import deep\n    return deep.d()\n",
        "lib/b.py": "def g(): return 2\n",
        "lib/deep.py": checking + "def d(): return 1\n",
        "lib/never.py": "x = 1\n",
        "lib/plotting/__init__.py": "from lib.never import x\n",
        "lib/sub/__init__.py": "from .inner import i\n",
        "lib/sub/inner.py": "from ..b import g\ni = 1\n",
        "lib/data/table.csv": "1,2\n",
        "exp/__init__.py": "",
        "exp/one.py": "import lib\ndef run(): return lib.f()\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def modules(tree: Path, source: str) -> set[str]:
    (tree / "exp" / "one.py").write_text(textwrap.dedent(source))
    return set(code_modules("exp.one", packages=("lib", "exp", "absent"), excluded=("lib.plotting",), where=tree))


BASE = {"exp", "exp.one"}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import numpy", set()),
        ("import lib as l\nl.f()", {"lib", "lib.a", "lib.deep"}),
        ("import lib\nlib.g", {"lib", "lib.b"}),
        ("from lib import g", {"lib", "lib.b"}),
        ("def run():\n    from lib.b import g", {"lib", "lib.b"}),
        ("import lib.sub.inner", {"lib", "lib.sub", "lib.sub.inner", "lib.b"}),
        ("import lib\nlib.sub.i", {"lib", "lib.sub", "lib.sub.inner", "lib.b"}),
        ("import lib\ngetattr(lib, 'f')", {"lib", "lib.a", "lib.deep", "lib.b"}),
        ("from lib import *", {"lib", "lib.a", "lib.deep", "lib.b"}),
        ("import lib.plotting", {"lib"}),
        ("import importlib\nimportlib.import_module('lib.b')", {"lib", "lib.b"}),
        (
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import lib.a\nelse:\n    import lib.b",
            {"lib", "lib.b"},
        ),
        ("import typing\nif typing.TYPE_CHECKING:\n    import lib.a", set()),
        ("if 1 > 0:\n    import lib.b", {"lib", "lib.b"}),
        ("from . import two", set()),
        ("from exp import one", set()),
        ("import absent.thing", set()),
        ("x = 'no.such.module'", set()),
    ],
)
def test_imports_are_followed(tree: Path, source: str, found: set[str]) -> None:
    assert modules(tree, source) == BASE | found


def test_an_unknown_module_is_refused(tree: Path) -> None:
    with pytest.raises(ValueError, match=r"no module 'exp\.none'"):
        code_modules("exp.none", packages=("lib", "exp"), where=tree)


@pytest.mark.parametrize(
    ("edited", "changes"),
    [
        ("exp/one.py", True),
        ("lib/a.py", True),
        ("lib/deep.py", True),
        ("lib/__init__.py", True),
        ("lib/data/table.csv", True),
        ("lib/b.py", False),
        ("lib/never.py", False),
        ("lib/plotting/__init__.py", False),
    ],
)
def test_the_hash_changes_with_the_code_that_can_run_and_no_other(tree: Path, edited: str, changes: bool) -> None:
    def digest() -> str:
        return code_hash("exp.one", packages=("lib", "exp"), excluded=("lib.plotting",), where=tree)

    before = digest()
    assert digest() == before
    with (tree / edited).open("a") as stream:
        stream.write("# edited\n")
    assert (digest() != before) is changes


def test_line_endings_do_not_change_the_hash(tree: Path) -> None:
    before = code_hash("exp.one", packages=("lib", "exp"), where=tree)
    path = tree / "lib" / "a.py"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert code_hash("exp.one", packages=("lib", "exp"), where=tree) == before


@pytest.mark.parametrize("experiment", ["losses", "variants", "journals"])
def test_everything_an_experiment_really_imports_is_followed(experiment: str) -> None:
    """Against Python itself: run a cell and look at sys.modules."""
    script = f"""
        import sys, importlib
        module = importlib.import_module("experiments.{experiment}")
        config = module.PRESETS["quick"]
        module.run(module.cells(config)[0])
        print(*sorted(n for n in sys.modules if n.split(".")[0] in ("gpo_analysis", "experiments")))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "gpo_analysis.losses" in loaded
    assert loaded <= set(code_modules(f"experiments.{experiment}"))


def test_git_state_of_a_repository(tmp_path: Path) -> None:
    assert git_state(tmp_path) == {"commit": None, "dirty": None}

    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    git("init", "-q")
    assert git_state(tmp_path)["commit"] is None
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-q", "-m", "one")
    state = git_state(tmp_path)
    assert isinstance(state["commit"], str)
    assert len(state["commit"]) == 40
    assert state["dirty"] is False
    (tmp_path / "b").write_text("2")
    assert git_state(tmp_path)["dirty"] is True


def test_git_state_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(tmp_path) == {"commit": None, "dirty": None}


def test_versions_and_device_are_plain() -> None:
    assert versions()["python"] == sys.version.split()[0]
    assert all(isinstance(item, str) for item in versions().values())
    told = device()
    assert told["cores"] is None or int(str(told["cores"])) >= 1
    assert told["processor"]
