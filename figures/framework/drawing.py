"""Find the figures, draw one from records, write it as PNG and PDF with its caption."""

from __future__ import annotations

import difflib
import importlib
import io
import json
import logging
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import figures
from gpo_analysis.plotting import figure_style
from gpo_analysis.records import Record, remove_stale, write_whole
from gpo_analysis.runs import latest_record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FORMATS: dict[str, dict[str, Any]] = {
    "png": {"metadata": {"Software": None}},  # the same bytes from the same record
    "pdf": {"metadata": {"CreationDate": None, "Producer": None, "Creator": None}},
}


logging.getLogger("fontTools").setLevel(logging.ERROR)  # it remarks on the date of matplotlib's own font


class UnknownFigure(ValueError):
    """No figure of that name; the message names the nearest."""


@dataclass(frozen=True)
class FigureModule:
    """A figure module, found by name."""

    name: str
    module_name: str

    def load(self) -> Any:
        """Import the module and check that it has every part of a figure."""
        module = importlib.import_module(self.module_name)
        missing = [part for part in ("EXPERIMENTS", "draw") if not hasattr(module, part)]
        if not (hasattr(module, "CAPTION") or hasattr(module, "caption")):
            missing.append("CAPTION")
        if missing:
            raise ValueError(f"{self.module_name} lacks {', '.join(missing)}")
        return module


@dataclass(frozen=True)
class Drawn:
    """A figure on disk, as its sidecar file tells it.

    Parameters
    ----------
    name
        Name of the figure.
    caption
        What stands under it, and is its alternative text.
    sources
        Experiment -> key of the record it shows.
    committed
        Whether these are committed results rather than fresh records.
    """

    name: str
    caption: str
    sources: dict[str, str]
    committed: bool = False


def find_figures() -> tuple[FigureModule, ...]:
    """Return every figure, by name."""
    found = [
        FigureModule(info.name.replace("_", "-"), f"figures.{info.name}")
        for info in pkgutil.iter_modules(figures.__path__)
        if not info.ispkg and not info.name.startswith("_")
    ]
    return tuple(sorted(found, key=lambda figure: figure.name))


def get_figures(names: list[str]) -> tuple[FigureModule, ...]:
    """Return the named figures, each once.

    Raises
    ------
    UnknownFigure
        For the first unknown name, with the nearest known one.
    """
    known = {figure.name: figure for figure in find_figures()}
    for name in names:
        if name.replace("_", "-") not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]!r}?" if near else f"accepted are {', '.join(known)}"
            raise UnknownFigure(f"no figure {name!r}; {hint}")
    return tuple({name: known[name.replace("_", "-")] for name in names}.values())


def draw_figure(figure: FigureModule, records: Path, out: Path, *, committed: bool = False) -> list[Path]:
    """Draw one figure and write ``<name>.png``, ``.pdf``, ``.txt`` (caption) and ``.json`` (caption and sources).

    Where ``records`` are committed results, the image and its caption say so, with commit and device.

    Raises
    ------
    RecordError
        Where a record is missing or damaged; the message says what to run.
    OSError
        Where the files cannot be written; each is written whole or not at all.
    """
    module = figure.load()
    found = {name: latest_record(records, name) for name in module.EXPERIMENTS}
    with figure_style():
        drawing = module.draw(found)
        if committed:
            _stamp(drawing, found)
        images = {kind: _rendered(drawing, kind) for kind in _FORMATS}
    caption = caption_of(module, found)
    if committed:
        caption = f"{' '.join(origin(item.meta) for item in found.values())} {caption}"
    told = {
        "figure": figure.name,
        "caption": caption,
        "sources": {name: item.key for name, item in found.items()},
        "committed": committed,
    }
    files = {
        "txt": (caption + "\n").encode(),
        "json": (json.dumps(told, indent=1, ensure_ascii=False) + "\n").encode(),
        **images,
    }
    remove_stale(out)
    paths = {kind: out / f"{figure.name}.{kind}" for kind in files}
    for kind, data in files.items():
        write_whole(paths[kind], data, out)
    return [paths["png"], paths["pdf"]]


def caption_of(module: Any, records: Mapping[str, Record]) -> str:
    """Return a figure's caption as one line."""
    text = module.caption(records) if hasattr(module, "caption") else module.CAPTION
    return " ".join(str(text).split())


def read_drawn(out: Path, name: str) -> Drawn | None:
    """Return what the sidecar of a drawn figure says, or None where it was not drawn."""
    try:
        told = json.loads((out / f"{name}.json").read_text(encoding="utf-8"))
        drawn = Drawn(told["figure"], told["caption"], dict(told["sources"]), bool(told.get("committed", False)))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return drawn if (out / f"{name}.png").is_file() else None


def origin(meta: Mapping[str, Any]) -> str:
    """Return what is to be said of a committed result: preset, commit, device, versions and time.

    Examples
    --------
    >>> origin({"preset": "paper", "git": {"commit": "0123456789ab"}, "device": {"processor": "P"}, "finished": "now"})
    'Committed result: preset paper, commit 0123456789, P, finished now.'
    """
    parts = [f"preset {meta.get('preset', 'unknown')}", commit_of(meta), device_of(meta)]
    versions = meta.get("versions") or {}
    told = ", ".join(f"{name} {versions[name]}" for name in ("python", "numpy", "scipy", "torch") if name in versions)
    parts += [told] if told else []
    return f"Committed result: {', '.join(parts)}, finished {meta.get('finished', 'at an unknown time')}."


def commit_of(meta: Mapping[str, Any]) -> str:
    """Return the commit of a record in words."""
    git = meta.get("git") or {}
    changed = " with uncommitted changes" if git.get("dirty") else ""
    return f"commit {str(git['commit'])[:10]}{changed}" if git.get("commit") else "no commit"


def device_of(meta: Mapping[str, Any]) -> str:
    """Return the device of a record in words."""
    device = meta.get("device") or {}
    return str(device.get("gpu") or device.get("processor") or "device unknown")


def _stamp(figure: Figure, records: Mapping[str, Record]) -> None:
    """Write below the image that it shows committed results."""
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    commits = ", ".join(
        sorted({f"{item.meta.get('preset', '?')}, {commit_of(item.meta)}" for item in records.values()})
    )
    figure.text(0.995, 0.0, f"committed result: {commits}", ha="right", va="bottom", fontsize=6, color="0.35")
    engine = figure.get_layout_engine()
    if isinstance(engine, ConstrainedLayoutEngine):
        engine.set(rect=(0.0, 0.04, 1.0, 0.96))  # room for the line


def _rendered(figure: Figure, kind: str) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, **_FORMATS[kind])
    return buffer.getvalue()
