"""Study A on one GPU, in one call: check of the device, the study within a budget, one archive to carry home.

    python -m benchmarks.llm_optimum_gpu --out "$OUT" --budget-seconds 430 --commit HASH

The check trains a few policies for 20 steps on the processor and on the GPU, in float32 and in tf32, and ends with an
error where they differ by more than rounding explains. The archive ``optimum.tar.gz`` holds the study but for πref's
weights; unpacked, ``python -m llm optimum --preset gpu --budget-seconds 0 --out FOLDER`` makes its tables, on any
machine. With ``--device cpu --preset tiny`` the same goes through on a processor.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import torch

from gpo_analysis.cli.arguments import Parser
from llm.forests.problem import make_problem, make_references
from llm.optimum.config import OptimumConfig, preset
from llm.optimum.study import run_study
from llm.optimum.training import PolicyCell, train_piece

#: Largest difference of log π/πref after 20 steps, over the largest of them: (float32, tf32).
ALLOWED = (0.02, 0.25)


def check_device(device: str) -> tuple[float, float]:
    """Largest difference of h from the processor's, over the largest h, in float32 and in tf32."""
    config = dataclasses.replace(preset("tiny"), steps=20, learning_rate=5e-4)
    problem = make_problem(config, 0, make_references(config, [0])[0])
    cells = [PolicyCell(loss, 0.8, 0.8, 0) for loss in ("logistic", "squared", "exponential", "savage")]
    expected = train_piece(problem, cells, config).log_ratio
    found = []
    for precision in ("highest", "high"):
        torch.set_float32_matmul_precision(precision)
        moved = train_piece(problem, cells, dataclasses.replace(config, device=device)).log_ratio
        found.append(float(abs(moved - expected).max() / abs(expected).max()))
    torch.set_float32_matmul_precision("highest")
    print(f"largest |h| {abs(expected).max():.3f} nats; {found[0]:.1e} of it off in float32, {found[1]:.1e} in tf32")
    return found[0], found[1]


def archive(study: Path, out: Path) -> Path:
    """Pack the study, but for πref's weights, beside its place and move it there whole."""
    part = out / "optimum.tar.gz.part"
    with tarfile.open(part, mode="w:gz") as packed:
        for path in sorted(study.rglob("*")):
            if path.is_file() and path.suffix != ".safetensors":
                packed.add(path, path.relative_to(study.parent))
    return part.replace(out / "optimum.tar.gz")


def main(arguments: list[str] | None = None) -> int:
    """Check, train, pack."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where the archive goes")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()), help="where the study is made")
    parser.add_argument("--preset", default="gpu")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--budget-seconds", type=float, default=430.0, help="of the study, after the check")
    parser.add_argument("--seeds", type=int, nargs="+")
    parser.add_argument("--stack", type=int, help="policies trained together, where the preset's do not fit")
    parser.add_argument("--commit")
    given = parser.parse_args(arguments)
    start = time.perf_counter()
    print(f"torch {torch.__version__}, {_name(given.device)}, {torch.get_num_threads()} threads")
    differences = check_device(given.device)
    if any(found > allowed for found, allowed in zip(differences, ALLOWED, strict=True)):
        print(f"error: more than the {ALLOWED} allowed; nothing was trained", file=sys.stderr)
        return 1
    print(f"checked after {time.perf_counter() - start:.1f} s", flush=True)
    config: OptimumConfig = dataclasses.replace(preset(given.preset), device=given.device)
    if given.stack is not None:
        config = dataclasses.replace(config, stack=given.stack)
    study = given.work / f"optimum-{given.preset}"

    def say(line: str) -> None:
        print(f"{time.perf_counter() - start:6.1f} s  {line}", flush=True)
        if ".sealed" in line:
            archive(study, given.out)

    run_study(
        config,
        study,
        seeds=given.seeds,
        budget_seconds=given.budget_seconds,
        commit=given.commit,
        tables=False,
        say=say,
    )
    packed = archive(study, given.out)
    say(f"{packed.name}, {packed.stat().st_size / 1e6:.1f} MB; peak memory {_peak(given.device):.1f} GB")
    return 0


def _name(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else "processor"


def _peak(device: str) -> float:
    return torch.cuda.max_memory_allocated() / 1e9 if device == "cuda" else 0.0


if __name__ == "__main__":
    sys.exit(main())
