"""The hash of the code: what goes in, what is left out, and that nothing that really gets imported is left out."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from gpo_analysis.provenance import code_files, code_hash, device, git_state, versions

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small project of the shape of this one."""
    files = {
        "gpo_analysis/__init__.py": "",
        "gpo_analysis/__init__.pyi": "from .tabular import solve as solve\n",
        "gpo_analysis/tabular/solve.py": "def solve(): return 1\n",
        "gpo_analysis/plotting/style.py": "x = 1\n",
        "gpo_analysis/cli/main.py": "x = 1\n",
        "gpo_analysis/datasets/table.csv": "1,2\n",
        "gpo_analysis/tabular/__pycache__/solve.pyc": "",
        "llm/sweep.py": "x = 1\n",
        "experiments/__init__.py": "",
        "experiments/__main__.py": "",
        "experiments/_seeds.py": "",
        "experiments/framework/cells.py": "",
        "experiments/one.py": "import gpo_analysis\n",
        "experiments/one_more.py": "",
        "experiments/parts/__init__.py": "",
        "experiments/parts/first.py": "def run():\n    from llm.sweep import x\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


LIBRARY = {"gpo_analysis/" + name for name in ("__init__.py", "__init__.pyi", "tabular/solve.py", "datasets/table.csv")}
SHARED = {"experiments/" + name for name in ("__init__.py", "__main__.py", "_seeds.py", "framework/cells.py")}


@pytest.mark.parametrize(
    ("module", "found"),
    [
        ("experiments.one", LIBRARY | SHARED | {"experiments/one.py"}),
        (
            "experiments.parts",
            LIBRARY | SHARED | {"experiments/parts/__init__.py", "experiments/parts/first.py", "llm/sweep.py"},
        ),
    ],
)
def test_the_library_and_the_experiment_go_in(tree: Path, module: str, found: set[str]) -> None:
    assert set(code_files(module, where=tree)) == found


@pytest.mark.parametrize("module", ["experiments.none", "experiments", "nothing.at.all", "experiments.framework"])
def test_an_unknown_module_is_refused(tree: Path, module: str) -> None:
    with pytest.raises(ValueError, match=f"no module '{module}'"):
        code_files(module, where=tree)


@pytest.mark.parametrize(
    ("edited", "changes"),
    [
        ("experiments/one.py", True),
        ("experiments/_seeds.py", True),
        ("experiments/framework/cells.py", True),
        ("experiments/framework/new.py", True),
        ("gpo_analysis/tabular/solve.py", True),
        ("gpo_analysis/tabular/new.py", True),
        ("gpo_analysis/datasets/table.csv", True),
        ("gpo_analysis/plotting/style.py", False),
        ("gpo_analysis/cli/main.py", False),
        ("gpo_analysis/tabular/__pycache__/solve.pyc", False),
        ("experiments/one_more.py", False),
        ("experiments/parts/first.py", False),
        ("llm/sweep.py", False),
    ],
)
def test_the_hash_changes_with_the_code_that_can_run_and_no_other(tree: Path, edited: str, changes: bool) -> None:
    before = code_hash("experiments.one", where=tree)
    assert code_hash("experiments.one", where=tree) == before
    with (tree / edited).open("a") as stream:
        stream.write("# edited\n")
    assert (code_hash("experiments.one", where=tree) != before) is changes


def test_a_renamed_file_changes_the_hash(tree: Path) -> None:
    before = code_hash("experiments.one", where=tree)
    (tree / "gpo_analysis/tabular/solve.py").rename(tree / "gpo_analysis/tabular/solved.py")
    assert code_hash("experiments.one", where=tree) != before


def test_line_endings_do_not_change_the_hash(tree: Path) -> None:
    before = code_hash("experiments.one", where=tree)
    path = tree / "gpo_analysis" / "tabular" / "solve.py"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert code_hash("experiments.one", where=tree) == before


@pytest.mark.parametrize("experiment", ["losses", "variants", "journals", "llm_equal_when_tuned"])
def test_everything_an_experiment_really_imports_goes_in(experiment: str) -> None:
    """Against Python itself: use the library as it does and look at sys.modules."""
    pytest.importorskip("experiments", reason="a wheel is the library alone")
    script = f"""
        import sys
        import gpo_analysis as gpo
        import experiments.{experiment} as module
        list(module.cells(module.PRESETS["quick"])) if "llm" not in "{experiment}" else None
        gpo.PreferenceProblem(gpo.bradley_terry([0.0, 1.0])).solve("hinge", 1.0), gpo.analyze("savage")
        packages = ("gpo_analysis", "experiments", "llm")
        print(*(m.__file__ for n, m in sys.modules.items() if n.split(".")[0] in packages))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = {Path(file) for file in done.stdout.split()}
    assert ROOT / "gpo_analysis" / "losses" / "__init__.py" in loaded
    assert len(loaded) > 50
    assert loaded <= set(code_files(f"experiments.{experiment}").values())


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
    assert (told["system"], told["machine"]) == (platform.system(), platform.machine())
    packages = ("numpy", "scipy", "sympy", "pandas", "pyarrow", "matplotlib", "joblib", "torch")
    here = [name for name in packages if importlib.util.find_spec(name)]
    assert {"numpy", "scipy", "sympy", "pandas"} <= set(here)
    for name in here:
        assert versions()[name] == importlib.metadata.version(name)


def test_a_processors_name_may_hold_a_colon(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "processor\t: 0\nmodel name\t: Maker: Model 7\nmodel name\t: another\n"
    monkeypatch.setattr(Path, "read_text", lambda self, encoding: text)
    assert device()["processor"] == "Maker: Model 7"


def test_asking_git_takes_no_lock_that_a_kill_would_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``git status`` writes the index anew where it can; killed meanwhile, it leaves index.lock to every later git."""
    seen = tmp_path / "seen"
    script = tmp_path / "git"
    script.write_text(f'#!/bin/sh\necho "$@" >> "{seen}"\necho 0123\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert git_state(tmp_path)["commit"] == "0123"
    assert all(line.startswith("--no-optional-locks ") for line in seen.read_text().splitlines())
