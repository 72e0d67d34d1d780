"""What tests/llm/test_launched.py runs in two processes: the command line itself, several times in one launch.

    accelerate launch --multi_gpu --num_processes 2 tests/llm/launched.py COMMANDS

COMMANDS is a JSON file: a list of lists of words of ``python -m llm``, or "trainer" and a folder (`trained`), or
"spread" and a folder (`tests.llm.tiny_stacks.spread_over_ranks`). The word "FSDP" before them has accelerate shard the
model from then on: it does so only where it believes to have GPUs, so that it is told so; torch shards on processors,
too.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from accelerate import PartialState  # type: ignore[import-untyped]
from accelerate.state import AcceleratorState  # type: ignore[import-untyped]
from accelerate.utils import DistributedType  # type: ignore[import-untyped]

from gpo_analysis.integrations.trl_config import GPOConfig
from llm.__main__ import main
from llm.devices import this_rank
from tests.integrations.tiny_trl import PAIRS, gpo_trainer, make_trainer, pair_set
from tests.llm.tiny_stacks import spread_over_ranks

APART = ("runtime", "per_second", "num_tokens", "total_flos")  # the last two: computed, what fills up a batch included


def shard() -> None:
    """What ``accelerate launch --use_fsdp --fsdp_version 2`` sets, on processors."""
    this_rank("cpu")  # joins the processes by gloo
    PartialState._prepare_backend = lambda *_: ("gloo", DistributedType.MULTI_GPU)
    os.environ |= {
        "ACCELERATE_TORCH_DEVICE": "cpu", "ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2",
        "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP", "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
        "FSDP_RESHARD_AFTER_FORWARD": "true",
    }  # fmt: skip
    AcceleratorState._reset_state(reset_partial_state=True)


def trained(folder: Path) -> dict[str, float]:
    """What a GPOTrainer measures: pairs that divide neither into batches, nor into their parts, nor into processes."""
    rows = pair_set([PAIRS[i % 5] for i in range(11)])
    held_out = pair_set([PAIRS[i % 5] for i in (0, 1, 2, 3, 4, 1, 3)])
    world = this_rank("cpu").world
    trainer = make_trainer(
        gpo_trainer(), folder, config=GPOConfig, train_dataset=rows, eval_dataset=held_out,
        settings={
            "loss": "squared", "per_device_train_batch_size": 4 // world, "gradient_accumulation_steps": 2,
            "per_device_eval_batch_size": 4 // world, "max_steps": 4, "eval_strategy": "epoch", "kl_prompts": 5,
            "kl_max_new_tokens": 4, "pair_log": str(folder / "log.jsonl"), "pair_log_steps": 2, "logging_steps": 2,
            "eval_on_start": True,
        },
    )  # fmt: skip
    trainer.train()
    logs: dict[str, float] = {}
    for number, entry in enumerate(trainer.state.log_history):
        logs |= {f"{number} {name}": value for name, value in entry.items() if not name.endswith(APART)}
    if trainer.is_world_process_zero():
        (folder / "logs.json").write_text(json.dumps(logs))
    return logs


if __name__ == "__main__":
    for words in json.loads(Path(sys.argv[1]).read_text()):
        AcceleratorState._reset_state()
        if words[0] == "FSDP":
            shard()
            words = words[1:]
        if words[0] == "trainer":
            trained(Path(words[1]))
        elif words[0] == "spread":
            spread_over_ranks(Path(words[1]))
        elif code := main(words):
            sys.exit(code)
