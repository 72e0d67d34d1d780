"""``python -m llm train``: train a model on one's own preference pairs with any f(βρ).

Examples
--------
python -m llm train --model DIR --pairs pairs.jsonl --loss squared --beta 0.1 --out out/own
python -m llm train --model DIR --pairs pairs.jsonl --loss logistic squared "log(1+exp(-z))" --strength 0.05 0.2 --lora 16 --out out/sweep
python -m llm train --config run.yaml --lr 1e-5     (the command line wins)
"""  # noqa: E501

from __future__ import annotations

import argparse
import logging
import os
import sys
from dataclasses import fields
from typing import Any

from gpo_analysis.cli.arguments import Parser
from gpo_analysis.cli.streams import guarded
from llm.commands import ended
from llm.own.config import TuningConfig, read_config, typed
from llm.own.needed import refuse_missing, refuse_missing_files


def parser() -> argparse.ArgumentParser:
    """The options: a field of `TuningConfig` each."""
    made = Parser(
        prog="python -m llm train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )  # fmt: skip
    made.add_argument("--config", metavar="FILE", help="YAML or TOML file of options; the command line wins")
    for one in fields(TuningConfig):
        option, text = "--" + one.name.replace("_", "-"), str(one.metadata["help"]).replace("%", "%%")
        shown = {"default": argparse.SUPPRESS, "help": text, "dest": one.name}
        if isinstance(one.default, bool):
            made.add_argument(option, action="store_true", **shown)
        elif isinstance(one.default, tuple):
            made.add_argument(option, nargs="+", action="extend", metavar="VALUE", **shown)
        else:
            made.add_argument(option, metavar="VALUE", **shown)
    made.add_argument("--progress", action=argparse.BooleanOptionalAction, help="bars (default: where a person looks)")
    made.add_argument("--traceback", action="store_true", help="show where an error came from")
    return made


def configured(given: dict[str, Any]) -> TuningConfig:
    """The configuration of a command line and the file that it names."""
    options = dict(given)
    file = options.pop("config", None)
    from_file = {} if file is None else read_config(file)
    here = typed(options, "command line")
    for one, other in (("beta", "strength"), ("steps", "epochs")):
        for mine, theirs in ((one, other), (other, one)):
            if mine in here and theirs not in here:
                from_file.pop(theirs, None)  # the command line's way of saying it wins
    return TuningConfig(**{**from_file, **here})


def main(arguments: list[str]) -> int:
    """Run the command; an error is one line."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    given = vars(parser().parse_args(arguments))
    progress, traceback = given.pop("progress"), given.pop("traceback")
    shown = sys.stderr.isatty() if progress is None else progress

    def say(line: str) -> None:
        print(line, flush=True)

    def work() -> None:
        config = configured({name: value for name, value in given.items() if value is not None})
        refuse_missing(config)
        refuse_missing_files(config)
        if shown and os.environ.get("RANK", "0") == "0":
            say("loading PyTorch, transformers and TRL")
        logging.getLogger("transformers").setLevel(logging.ERROR)
        from transformers.utils import logging as theirs

        from llm.own.run import tune

        theirs.disable_progress_bar()
        tune(config, progress=shown, say=say)

    return ended(work, traceback, "llm train")


if __name__ == "__main__":
    sys.exit(guarded("llm train", lambda: main(sys.argv[1:])))
