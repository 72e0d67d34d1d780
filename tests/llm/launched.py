"""What tests/llm/test_launched.py runs in two processes: the command line itself, several times in one launch.

    accelerate launch --multi_gpu --num_processes 2 tests/llm/launched.py COMMANDS

COMMANDS is a JSON file: a list of lists of words of ``python -m llm``. The word "FSDP" before them has accelerate
shard the model: it does so only where it believes to have GPUs, so that it is told so; torch shards on processors, too.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from accelerate import PartialState  # type: ignore[import-untyped]
from accelerate.state import AcceleratorState  # type: ignore[import-untyped]
from accelerate.utils import DistributedType  # type: ignore[import-untyped]

from llm.__main__ import main
from llm.devices import this_rank


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


if __name__ == "__main__":
    for words in json.loads(Path(sys.argv[1]).read_text()):
        AcceleratorState._reset_state()
        if words[0] == "FSDP":
            shard()
        if code := main(words[words[0] == "FSDP" :]):
            sys.exit(code)
