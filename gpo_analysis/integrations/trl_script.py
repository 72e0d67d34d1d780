"""TRL's script for preference pairs with `GPOTrainer`: all its options, and those of `GPOConfig`.

Examples
--------
python -m gpo_analysis.integrations.trl_script --model_name_or_path DIR --dataset_name DIR --loss savage --beta 0.2
accelerate launch -m gpo_analysis.integrations.trl_script --config run.yaml --loss "log(1+exp(-z))"
"""

from __future__ import annotations

import sys
from typing import Any
from unittest import mock

import trl
from trl.scripts import dpo

from gpo_analysis.integrations.trl import GPOTrainer
from gpo_analysis.integrations.trl_config import GPOConfig


def with_formulas(words: list[str]) -> list[str]:
    """Words of a command line in which a loss that begins with a minus sign is not taken for an option.

    Examples
    --------
    >>> with_formulas(["--loss", "-log(sigmoid(z))", "--beta", "0.1"])
    ['--loss=-log(sigmoid(z))', '--beta', '0.1']
    """
    found = list(words)
    for at in reversed([k for k, word in enumerate(words[:-1]) if word == "--loss"]):
        if words[at + 1].startswith("-") and not words[at + 1].startswith("--"):
            found[at : at + 2] = [f"--loss={words[at + 1]}"]
    return found


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line as ``trl dpo`` does, and run its script with `GPOTrainer` in the place of DPOTrainer."""
    with mock.patch.object(trl, "DPOConfig", GPOConfig), mock.patch.object(trl, "DPOTrainer", GPOTrainer):
        parser = dpo.make_parser(prog="gpo_analysis.integrations.trl_script")
        words = sys.argv[1:] if arguments is None else arguments
        parts = parser.parse_args_and_config(with_formulas(words), fail_with_unknown_args=False)
        run: Any = dpo.main  # untyped
        run(*parts[:4])


if __name__ == "__main__":
    main()
