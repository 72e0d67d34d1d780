"""Without an extra: one line that names it, for every verb and object that needs one."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

#: Python that cannot find some packages, as where their extra is not installed, and then runs a command or a line.
WITHOUT = """
import runpy, sys
missing = set(sys.argv[1].split(","))

class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Nothing())
if sys.argv[2] == "-c":
    exec(sys.argv[3])
else:
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""
BETA = ("gpo_analysis.cli", "beta", "0.1", "--from", "trl:ipo", "--to", "gpo:ipo")


@pytest.mark.parametrize(
    ("missing", "call", "extra"),
    [
        ("panel,bokeh", ("gpo_analysis.cli", "explore", "--no-browser"), "explore"),
        ("panel,bokeh", ("-c", "import gpo_analysis as gpo; gpo.explore.Explorer()"), "explore"),
        ("torch", ("gpo_analysis.cli", "conventions", "--table"), "trl"),
        ("torch", ("-c", "from gpo_analysis.integrations.trl import GPOTrainer"), "trl"),
        ("pyarrow", (*BETA, "--out", "never-written.parquet"), "experiments"),
        ("torch", ("llm", "plan"), "llm"),
        ("dask,distributed", ("experiments", "run", "losses", "--scheduler", "x"), "dask"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[1][:40],
)
def test_one_line_names_the_extra(missing: str, call: tuple[str, ...], extra: str) -> None:
    if call[0] != "-c" and importlib.util.find_spec(call[0]) is None:
        pytest.skip(f"{call[0]} is not here: a wheel is the library alone")
    command = [sys.executable, "-c", WITHOUT, missing, *call]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=3600, check=False)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert f"gpo-analysis[{extra}]" in last
    assert any(name in last.lower() for name in missing.split(","))
    if call[0] != "-c":
        assert len(done.stderr.strip().splitlines()) == 1, "a command says it in one line"


def test_what_needs_no_extra_runs_without_any() -> None:
    none = "torch,trl,transformers,panel,bokeh,pyarrow,ortools,dask,distributed,tqdm,joblib,yaml,tensorboard"
    run = "import gpo_analysis as gpo; print(gpo.PreferenceProblem(gpo.bradley_terry([0.0, 1.0])).fit('hinge').status)"
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, none, "-c", run], capture_output=True, text=True, timeout=3600, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "optimum\n", "")
