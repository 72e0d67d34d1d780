"""The same seed, the same bits: every experiment at a small size, run in several ways, and its tables compared.

    python -m fuzz.same_bits                                 all experiments, at the sizes of their tests
    python -m fuzz.same_bits --only losses taylor
    python -m fuzz.same_bits --machines --write              between kernels of other processors, measured

An experiment is run in one process, in two, in another folder (another working directory, other hashes of texts, the
experiments in reverse), and once more after it was killed when some of its cells were kept. The tables must be the same
bits; the exit code is 1 where they are not.

``--machines`` runs them as a processor without AVX2 and FMA, and one without AVX-512, would: OpenBLAS, numpy, torch and
the C library are told to take their kernels for it. Differences are no fault there; they are said column by column, and
``--write`` keeps them for ``python -m experiments compare``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

from experiments.framework.compare import MACHINES, Comparison, compare  # noqa: E402
from experiments.framework.discovery import get_experiments  # noqa: E402
from experiments.framework.runner import run_experiments  # noqa: E402
from fuzz.kept import Keeper, Tried, add_keep  # noqa: E402
from fuzz.small import NAMES, SMALL, made_up_data  # noqa: E402
from gpo_analysis.cli.arguments import Parser  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
OLDER = {
    "without AVX2 and FMA": {
        "OPENBLAS_CORETYPE": "Nehalem",
        "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4,-AVX512F,-AVX512VL,-AVX512BW",
        "ATEN_CPU_CAPABILITY": "default",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    },
    "without AVX-512": {
        "OPENBLAS_CORETYPE": "Haswell",
        "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW",
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    },
}
"""Processor -> what tells libraries to take its kernels."""


def run_small(names: Sequence[str], out: Path, jobs: int = 1) -> list[str]:
    """Run experiments at their small sizes; return a line for each that failed."""
    failed = []
    for name in names:
        (plan,) = run_experiments(get_experiments([name]), out=out, jobs=jobs, progress=False, changed=SMALL[name])
        if plan.status != "complete":
            failed.append(f"{name}: {plan.status}: {plan.why}")
    return failed


def run_killed(names: Sequence[str], out: Path, seed: int) -> list[str]:
    """Kill each experiment (SIGKILL) when a cell, drawn at random, is about to be kept; then run it again."""
    chance = random.Random(seed)
    killed = []
    for name in names:
        experiment = get_experiments([name])[0]
        module = experiment.load()
        total = len(list(module.cells(module.Config(**SMALL[name]))))
        last = chance.randrange(1, total + 1)
        child = os.fork()
        if child == 0:
            _die_at_cell(last)
            run_small([name], out)
            os._exit(0)
        killed.append(os.waitpid(child, 0)[1] == signal.SIGKILL)
    failed = [f"{name}: was not killed" for name, died in zip(names, killed, strict=True) if not died]
    return failed + run_small(names, out)


def _die_at_cell(last: int) -> None:
    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event == "os.rename" and str(arguments[1]).endswith(".cell"):
            count += 1
            if count == last:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def elsewhere(names: Sequence[str], out: Path, data: Path, how: str, **more: str) -> list[str]:
    """Run them in a process of its own; return what it says went wrong."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "GPO_SAME_BITS_DATA": str(data), **more}
    command = [sys.executable, "-m", "fuzz.same_bits", "--as", how, "--out", str(out), "--only", *names]
    done = subprocess.run(command, cwd=data, env=environment, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line]
    return lines if done.returncode in (0, 1) else [*lines, *done.stderr.strip().splitlines()[-3:]]


WAYS: dict[str, tuple[str, dict[str, str]]] = {
    "two processes": ("two", {}),
    "another folder": ("reversed", {"PYTHONHASHSEED": "4711"}),
    "killed": ("killed", {}),
}


def compared(names: Sequence[str], folder: Path, ways: dict[str, tuple[str, dict[str, str]]]) -> dict[str, Any]:
    """Run ``names`` once plainly and once in each way; return lines of what failed, and the comparisons by way."""
    with made_up_data() as data:
        copy = Path(shutil.copytree(data, folder / "data, once more"))
        plain = folder / "plain"
        failed = elsewhere(names, plain, data, "one", PYTHONHASHSEED="0")
        found = {}
        for way, (how, more) in ways.items():
            out = folder / way / "records"
            failed += [
                f"{way}: {line}" for line in elsewhere(names, out, copy if how == "reversed" else data, how, **more)
            ]
            found[way] = compare(plain, out) if plain.is_dir() and out.is_dir() else []
    return {"failed": failed, "found": found}


def written(found: dict[str, list[Comparison]]) -> None:
    """Keep the columns that differ between kernels, with their largest absolute and relative differences."""
    columns: dict[str, dict[str, float]] = (
        json.loads(MACHINES.read_text(encoding="utf-8"))["columns"] if MACHINES.exists() else {}
    )
    for one in (one for several in found.values() for one in several):
        kept = columns.setdefault(one.name, {})
        for column in one.columns:
            if column.differing and column.absolute < float("inf"):
                sizes = [float(f"{size:.1e}") for size in (column.absolute, column.relative)]
                kept[column.name] = [max(pair) for pair in zip(sizes, kept.get(column.name, sizes), strict=True)]
    document = {"made_by": "python -m fuzz.same_bits --machines --write", "columns": dict(sorted(columns.items()))}
    MACHINES.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Run and compare; return 1 where bits differ that must not."""
    parser = Parser(prog="python -m fuzz.same_bits", description=str(__doc__).partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=NAMES, default=list(NAMES), metavar="NAME", help="experiments")
    parser.add_argument("--machines", action="store_true", help="between kernels of other processors")
    parser.add_argument("--write", action="store_true", help="keep what --machines finds for experiments compare")
    parser.add_argument("--way", choices=tuple(WAYS), action="append", help="only this one; may be repeated")
    add_keep(parser)
    parser.add_argument("--as", dest="how", choices=("one", "two", "reversed", "killed"), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.how:
        return _part(options)
    started = time.perf_counter()
    ways = (
        {way: ("one", more) for way, more in OLDER.items()}
        if options.machines
        else {way: WAYS[way] for way in options.way or WAYS}
    )
    keeper = Keeper(
        None if options.machines else options.keep, "fuzz.same_bits", "Every experiment, run in other ways."
    )
    with tempfile.TemporaryDirectory(prefix="same-bits-") as folder:
        result = compared(options.only, Path(folder), ways)
    for line in result["failed"]:
        print(f"failed: {line}", file=sys.stderr)
    for way, found in result["found"].items():
        differing = [one for one in found if not one.identical]
        print(f"{way}: {len(found) - len(differing)} of {len(found)} experiments bit for bit", flush=True)
        for one in differing:
            worst = [f"{c.name} {c.relative:.1e} ({c.differing} of {c.rows})" for c in one.columns if c.differing]
            print(f"    {one.name}: {'; '.join([*one.problems, *worst])}")
    if options.machines and options.write:
        written(result["found"])
    print(f"{len(options.only)} experiments, {time.perf_counter() - started:.0f} s", file=sys.stderr)
    for way, found in result["found"].items():
        rows = [Tried(one.name, way, 1, {"differs": int(not one.identical)}, {}) for one in found]
        keeper.keep(way, rows, {"way": way, "experiments": options.only, "failed": result["failed"]})
    differs = any(not one.identical for found in result["found"].values() for one in found)
    return int(bool(result["failed"]) or (differs and not options.machines))


def _part(options: argparse.Namespace) -> int:
    """One way, in this process; what failed is printed."""
    data = Path(os.environ["GPO_SAME_BITS_DATA"])
    os.environ.update(GPO_LLM=str(data / "llm"), GPO_DATA=str(data))
    names = options.only[::-1] if options.how == "reversed" else options.only
    if options.how == "killed":
        failed = run_killed(names, options.out, 0)
    else:
        failed = run_small(names, options.out, 2 if options.how == "two" else 1)
    print("\n".join(failed))
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
