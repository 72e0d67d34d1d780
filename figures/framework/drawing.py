"""Find the figures, draw one from records, write it as PNG and PDF with its caption."""

from __future__ import annotations

import difflib
import importlib
import io
import json
import logging
import pkgutil
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import figures
from figures.framework.paper import PAPER_CLAIMS
from figures.framework.pictures import write_picture
from gpo_analysis.plotting import figure_style, loss_label
from gpo_analysis.records import Record
from gpo_analysis.runs import latest_record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FORMATS: dict[str, dict[str, Any]] = {
    "png": {"metadata": {"Software": None}},  # the same bytes from the same record
    "pdf": {"metadata": {"CreationDate": None, "Producer": None, "Creator": None}},
}


PAPER = "Tang et al. 2024, arXiv 2402.05749"
"""Whose claims and figures are meant."""
STAMP = 0.16
"""Inches below a figure of committed results or of changed settings, for the line that says so."""

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

    def about(self) -> dict[str, Any]:
        """The experiments that it shows, what it is in a line, and what of the paper it has ("" for nothing)."""
        module = self.load()
        names = list(module.EXPERIMENTS)
        about = [claim for claim in PAPER_CLAIMS if any(answer.experiment in names for answer in claim.answers)]
        numbers = [str(claim.number) for claim in about]
        claims = f"claim{'s' * (len(numbers) > 1)} {', '.join(numbers)}" if numbers else ""
        parts = [getattr(module, "PAPER", ""), claims]
        about = (module.__doc__ or "").strip().partition("\n")[0].rstrip(".")
        return {"experiments": names, "about": about, "paper": ", ".join(part for part in parts if part)}


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
    """Draw one figure and write ``<name>.png``, ``.pdf``, ``.txt`` (caption) and, last, ``.json`` (what it shows).

    The caption begins with what was found. Where ``records`` are committed results, the image and the end of its
    caption say so, with commit and device.

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
        words = _stamped(found, committed)
        if words:
            _stamp(drawing, words)
        images = {kind: _rendered(drawing, kind, STAMP if words else 0.0) for kind in _FORMATS}
    parts = [_changed_settings(found), *(finding(item.meta) for item in found.values()), caption_of(module, found)]
    if committed:
        parts += [origin(item.meta) for item in found.values()]
    caption = " ".join(part for part in parts if part)
    paths = write_picture(figure.name, images, caption, found, out, committed=committed)
    return [paths["png"], paths["pdf"]]


def caption_of(module: Any, records: Mapping[str, Record]) -> str:
    """Return a figure's caption as one line, with what it says of losses where the records have these.

    It ends with the whole of each formula that is too long for a legend.
    """
    text, losses = module.caption(records) if hasattr(module, "caption") else module.CAPTION, losses_of(records)
    return " ".join(f"{with_losses(str(text), losses)} {whole_formulas(losses)}".split())


def whole_formulas(losses: Collection[str]) -> str:
    """What the short labels of long formulas stand for, as a sentence; empty where none is shortened.

    Examples
    --------
    >>> whole_formulas({"squared", "log(1+exp(-z)) + 0.1*(z-1)**2 + 0.2*z**4"})
    'log(1+exp(-z … 0.2*z**4 is f(z) = log(1+exp(-z)) + 0.1*(z-1)**2 + 0.2*z**4.'
    """
    short = {name: loss_label(name).replace(r"\$", "$") for name in sorted(losses)}
    parts = [f"{label} is f(z) = {name}" for name, label in short.items() if "…" in label]
    return f"{'; '.join(parts)}." if parts else ""


def losses_of(records: Mapping[str, Record]) -> set[str]:
    """The losses that records are about, by configuration and tables; none where they do not say."""
    found: set[str] = set()
    for record in records.values():
        found |= {str(name) for name in record.config.get("losses", ())}
        columns = [name for name in ("loss", "first") if name in record.table.columns]
        found |= {str(name) for column in columns for name in record.table[column].dropna().unique()}
    return found


def with_losses(text: str, losses: Collection[str]) -> str:
    """A text whose parts ``[[hinge,savage|words]]`` are words where all these losses are there, and nothing elsewhere.

    Without losses, where it is not known which there are, all words stay.

    Examples
    --------
    >>> with_losses("over βκ[[hinge| (hinge: over β)]]", {"logistic", "hinge"})
    'over βκ (hinge: over β)'
    >>> with_losses("over βκ[[hinge| (hinge: over β)]]", {"exp(-z)"})
    'over βκ'
    """

    def kept(part: re.Match[str]) -> str:
        return part[2] if not losses or set(part[1].split(",")) <= set(losses) else ""

    return re.sub(r"\[\[([a-z_,]+)\|(.*?)\]\]", kept, text, flags=re.DOTALL)


def _changed_settings(records: Mapping[str, Record]) -> str:
    """A sentence on what of a record's settings is not its preset's; empty where nothing is."""
    parts = [
        f"{name}: preset {record.meta.get('preset')} with "
        + ", ".join(f"{field} = {json.dumps(value, ensure_ascii=False)}" for field, value in changed.items())
        for name, record in records.items()
        if (changed := record.meta.get("changed"))
    ]
    return f"Settings changed ({'; '.join(parts)})." if parts else ""


def finding(meta: Mapping[str, Any]) -> str:
    """Return the first sentence of a record's summary that says more than which runs there were; "" without one.

    Examples
    --------
    >>> finding({"summary": "Study small: 108 policies, 3 seed(s). The best rate is 0.699. More follows."})
    'The best rate is 0.699.'
    >>> finding({"summary": "Study small: mean win rates are 0.48 and 0.51. More."})
    'Mean win rates are 0.48 and 0.51.'
    >>> finding({})
    ''
    """
    for sentence in re.split(r"(?<=[.?!]) (?=\S)", " ".join(str(meta.get("summary") or "").split())):
        words = re.sub(r"^Study [^:]*: ", "", sentence)
        if words and not re.match(r"\d+ (?:policies|runs|checkpoints|domains)\b", words):
            return words[0].upper() + words[1:] if words != sentence else words
    return ""


def origin(meta: Mapping[str, Any]) -> str:
    """Return what is to be said of a committed result: preset, commit, device, versions and time.

    Examples
    --------
    >>> origin({"preset": "paper", "git": {"commit": "0123456789ab"}, "device": {"processor": "P"}, "finished": "now"})
    'Committed result: preset paper, commit 0123456789, P, finished now.'
    >>> study = {"git": {"commit": "abcdefabcdef"}, "device": {"processor": "G"}, "threads": 8, "finished": "before"}
    >>> origin({"preset": "paper", "study": study}).partition("; read with ")[0]
    'Committed result: trained at commit abcdefabcd, G, 8 threads, finished before'
    """
    study = meta.get("study")
    made = ""
    if study:
        made = f"trained at {commit_of(study)}, {device_of(study)}, {study.get('threads', '?')} threads, finished "
        made += f"{study.get('finished', 'at an unknown time')}; read with "
    parts = [f"preset {meta.get('preset', 'unknown')}", commit_of(meta), device_of(meta)]
    versions = meta.get("versions") or {}
    listed = ", ".join(f"{name} {versions[name]}" for name in ("python", "numpy", "scipy", "torch") if name in versions)
    parts += [listed] if listed else []
    return f"Committed result: {made}{', '.join(parts)}, finished {meta.get('finished', 'at an unknown time')}."


def commit_of(meta: Mapping[str, Any]) -> str:
    """Return the commit of a record in words."""
    git = meta.get("git") or {}
    changed = " with uncommitted changes" if git.get("dirty") else ""
    return f"commit {str(git['commit'])[:10]}{changed}" if git.get("commit") else "no commit"


def device_of(meta: Mapping[str, Any]) -> str:
    """Return the device of a record in words."""
    device = meta.get("device") or {}
    return str(device.get("gpu") or device.get("processor") or "device unknown")


def _stamped(records: Mapping[str, Record], committed: bool) -> str:
    """What the image itself says of its records: that they are committed, or of which settings; "" otherwise."""
    made = sorted(
        {
            f"{item.meta.get('preset', '?')}, {commit_of(item.meta.get('study') or item.meta)}"
            for item in records.values()
        }
    )
    fields = sorted({field for item in records.values() for field in item.meta.get("changed") or {}})
    parts = [f"committed result: {', '.join(made)}"] if committed else []
    parts += [f"settings changed: {', '.join(fields)}"] if fields else []
    return "; ".join(parts)


def _stamp(figure: Figure, text: str) -> None:
    """Write a line below the image, on the strip that ``_rendered`` adds."""
    low = -0.9 * STAMP / figure.get_figheight()
    words = figure.text(0.995, low, text, ha="right", va="bottom", fontsize=6, color="0.35")
    words.set_in_layout(False)
    figure.draw_without_rendering()  # the layout is found with the keys, and kept
    figure.set_layout_engine("none")
    for legend in figure.legends:  # else a key follows the strip down
        legend.set_bbox_to_anchor((0.0, 0.0, 1.0, 1.0), transform=figure.transFigure)


def _rendered(figure: Figure, kind: str, below: float) -> bytes:
    """The figure with a strip of so many inches below it."""
    from matplotlib.transforms import Bbox

    width, height = figure.get_size_inches()
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, bbox_inches=Bbox.from_extents(0.0, -below, width, height), **_FORMATS[kind])
    return buffer.getvalue()
