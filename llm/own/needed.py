"""What a run needs, checked in milliseconds: the packages of its options and its files, before anything is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from llm.commands import EXTRA, absent
from llm.own.config import AUTO, TuningConfig

BASE = ("torch", "transformers", "accelerate", "datasets", "trl", "safetensors")
TRACKERS = {
    "tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow", "comet_ml": "comet_ml", "clearml": "clearml",
    "dvclive": "dvclive", "swanlab": "swanlab", "trackio": "trackio", "codecarbon": "codecarbon", "neptune": "neptune",
    "dagshub": "dagshub", "flyte": "flytekit", "azure_ml": "azureml",
}  # fmt: skip
"""Trackers by transformers' names, each with the module it needs."""
_OF_EXTRA = (*BASE, "peft", "tensorboard")


def refuse_missing(config: TuningConfig) -> None:
    """Say at once all that these options need and is not installed.

    Raises
    ------
    ModuleNotFoundError
        Naming every missing package with the option that asks for it, and how each comes.
    """
    lack = absent(dict(_packages(config)))
    if not lack:
        return
    named = ", ".join(f"{module} (for {what})" if what else module for module, what in lack.items())
    ways = [f"pip install '{EXTRA}' brings {_those(lack)}"] if any(m in _OF_EXTRA for m in lack) else []
    others = [module for module in lack if module not in _OF_EXTRA]
    ways += [f"pip install {' '.join(others)}"] if others else []
    if any("--report-to" in what for what in lack.values()):
        ways.append("or leave --report-to out (no tracker is needed)")
    raise ModuleNotFoundError(f"not installed: {named}; {'; '.join(ways)}", name=next(iter(lack)))


def _those(lack: dict[str, str]) -> str:
    brought = [module for module in lack if module in _OF_EXTRA]
    if len(brought) == len(lack):
        return "it" if len(lack) == 1 else "them"
    return ", ".join(brought)


def _packages(config: TuningConfig) -> Iterator[tuple[str, str]]:
    yield from ((module, "") for module in BASE)
    if config.lora:
        yield "peft", f"--lora {config.lora}"
    for name in config.report_to:
        if name in TRACKERS:
            yield TRACKERS[name], f"--report-to {name}"


def trackers(config: TuningConfig) -> list[str]:
    """The trackers of a run by transformers' names; of "auto" TensorBoard's, where it is installed."""
    found = [name for name in config.report_to if name not in ("none", AUTO)]
    if AUTO in config.report_to and not absent({"tensorboard": ""}):
        found.append("tensorboard")
    return found


def refuse_missing_files(config: TuningConfig) -> None:
    """Say at once that there is no such file of pairs, or no such folder with a model.

    Raises
    ------
    FileNotFoundError, ValueError
    """
    if not Path(config.pairs).is_file():
        raise FileNotFoundError(f"pairs: {config.pairs} is no file; accepted is a {config.help('pairs')}")
    source_of(config.model)


def source_of(model: str) -> str:
    """Where a model comes from: an absolute folder, or the name on a hub that was given.

    Raises
    ------
    FileNotFoundError
        For a path that holds no model.
    ValueError
        For a folder with an adapter.
    """
    folder = Path(model).expanduser()
    if (folder / "adapter_config.json").is_file():
        raise ValueError(
            f"{model} holds an adapter; accepted is a whole model: AutoPeftModelForCausalLM.from_pretrained(…)"
            ".merge_and_unload().save_pretrained(DIR) makes one of it"
        )
    if folder.exists() or model.startswith((".", "/", "~")) or model.count("/") > 1:
        if not (folder / "config.json").is_file():
            raise FileNotFoundError(f"{model} is no folder with a model: it has no config.json")
        return str(folder.resolve())
    return model
