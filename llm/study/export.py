"""Policies of a finished study as models: loaded, and written in the format of Hugging Face.

``python -m llm export STUDY`` names the cells; ``python -m llm export STUDY CELL --out DIR`` writes one.
"""

from __future__ import annotations

import difflib
import os
import tempfile
from pathlib import Path
from typing import Any

from gpo_analysis.files import file_digest, remove_stale
from llm.policy.models import LoraSettings, add_lora, load_model, save_model
from llm.storage.reports import FILE, read_document
from llm.sweep.export import load_cell
from llm.training.cells import SweepCell


def study_cells(study: str | os.PathLike[str]) -> dict[SweepCell, tuple[str, tuple[int, ...]]]:
    """Return the cells of a study's finished stacks, with status and exported steps.

    Raises
    ------
    FileNotFoundError
        Where the folder holds no sweep.
    """
    found: dict[SweepCell, tuple[str, tuple[int, ...]]] = {}
    for path in sorted(Path(study).glob("sweep/stacks/*")):
        document = read_document(path / FILE)
        if document is not None:
            report = document["report"]
            for cell, status in zip(report["cells"], report["statuses"], strict=True):
                found[SweepCell(**cell)] = (str(status), tuple(report["steps"]))
    if not found:
        raise FileNotFoundError(f"{study} holds no sweep with a finished stack; accepted is the --out of an llm run")
    return found


def find_cell(study: str | os.PathLike[str], name: str) -> SweepCell:
    """Return the cell of a name (`SweepCell.name`) or key.

    Raises
    ------
    ValueError
        Where there is none, naming those that are nearest.
    """
    cells = list(study_cells(study))
    for cell in cells:
        if name in (cell.name, cell.key):
            return cell
    names = [cell.name for cell in cells]
    near = difflib.get_close_matches(name, names, n=5, cutoff=0.3) or names[:5]
    raise ValueError(f"cell {name!r} is none of the {len(names)} of {study}; the nearest are {', '.join(near)}")


def load_study_policy(study: str | os.PathLike[str], name: str, *, step: int | None = None) -> tuple[Any, Any]:
    """Return a policy of a study and its tokenizer.

    Parameters
    ----------
    study : path
        The study's folder.
    name : str
        Of the cell.
    step : int, optional
        One of the exported steps; the last unless given.

    Raises
    ------
    ValueError
        For a cell or a step that the study does not have.
    """
    root = Path(study)
    cell = find_cell(root, name)
    steps = study_cells(root)[cell][1]
    if step is not None and step not in steps:
        raise ValueError(f"no policy of {name} after step {step}; accepted are {', '.join(map(str, steps))}")
    reference, tokenizer = load_model(_reference(root))
    lora = _lora(root)
    base = reference if lora is None else add_lora(reference, lora)
    return load_cell(base, root / "sweep", cell, step=step), tokenizer


def export_cell(
    study: str | os.PathLike[str], name: str, out: str | os.PathLike[str], *, step: int | None = None
) -> Path:
    """Write a policy in the format of Hugging Face, adapters over the study's πref where it has them; return where.

    Parameters
    ----------
    study, name, step : as of `load_study_policy`
    out : path
        A folder that is not there yet, or holds this very policy already: it is then left as it is.
    """
    folder = Path(out)
    taken = folder.exists() and any(folder.iterdir())
    if taken and not [*folder.glob("*config.json")]:
        raise ValueError(f"{folder} is not empty; give a folder of its own")
    model, tokenizer = load_study_policy(study, name, step=step)
    if hasattr(model, "peft_config"):
        for settings in model.peft_config.values():
            settings.base_model_name_or_path = str(_reference(Path(study)).resolve())
    if not taken:
        save_model(model, tokenizer, folder)
        return folder
    remove_stale(folder.parent)  # what a run left that was killed when the policy was in its place already
    with tempfile.TemporaryDirectory() as temporary:
        save_model(model, tokenizer, Path(temporary, "policy"))
        if _digests(folder) != _digests(Path(temporary, "policy")):
            raise ValueError(f"{folder} is not empty: it holds another policy; give a folder of its own")
    return folder


def _digests(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in folder.rglob("*") if path.is_file()}


def _reference(root: Path) -> Path:
    found = root / "sft" / "model"
    if not (found / "config.json").is_file():
        raise FileNotFoundError(f"{found} is not there; a study's policies start from it")
    return found


def _lora(root: Path) -> LoraSettings | None:
    """The adapters that the study's configuration has, if any."""
    import json

    path = root / "run.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there: finish the study, which then says how its policies were made")
    given = json.loads(path.read_text(encoding="utf-8"))["config"]["policy"]["lora"]
    return None if given is None else LoraSettings(**{**given, "targets": tuple(given["targets"])})
