"""The explorer's view: widgets beside a picture, in a page or a notebook, by Panel; it computes nothing."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Mapping
from math import log10
from pathlib import Path
from typing import Any

from gpo_analysis.explore import words
from gpo_analysis.explore.drawing import figure, panels
from gpo_analysis.explore.fields import FieldError, betas_of, faults, mixtures_of, training_of
from gpo_analysis.explore.picture import as_bokeh
from gpo_analysis.explore.script import script
from gpo_analysis.explore.state import State
from gpo_analysis.explore.tables import notes, table
from gpo_analysis.explore.uploads import read_bytes
from gpo_analysis.losses.catalogue import list_losses
from gpo_analysis.losses.lookup import get_margin_loss
from gpo_analysis.preferences import Comparisons

_TEXTS = (
    "amount", "rewards", "cycle", "annotators", "matrix", "mu", "reference", "order", "rate", "steps",
    "modes", "scale", "weights", "mean", "width",
)  # fmt: skip


def load_panel() -> Any:
    """Panel, or an error that names the extra."""
    try:
        import panel
    except ModuleNotFoundError as error:
        if error.name != "panel":
            raise
        raise ModuleNotFoundError(
            "panel is not installed; it comes with: pip install 'gpo-analysis[explore]'", name="panel"
        ) from None
    return panel


class Explorer:
    """Change f, β, μ, πref and the preferences, and see what follows.

    It shows itself in a notebook; :func:`gpo_analysis.explore.server.serve` shows it in a browser. Needs the extra
    ``explore``.

    Parameters
    ----------
    state : State, optional
        What stands in the fields at first.
    files : mapping of str to Comparisons, optional
        Comparisons that can be chosen, by name: the path by which the exported Python is to read them.
    remarks : sequence of str
        Lines to say at first.

    Raises
    ------
    ModuleNotFoundError
        Without Panel, naming the extra.

    Examples
    --------
    >>> shown = Explorer(State(losses=("dpo", "ipo"), view="link"))  # doctest: +SKIP
    """

    def __init__(
        self, state: State | None = None, files: Mapping[str, Comparisons] | None = None, remarks: tuple[str, ...] = ()
    ) -> None:
        self._pn = load_panel()
        self.state = State() if state is None else state
        self.files = dict(files or {})
        self.remarks = remarks
        self.faults: dict[str, str] = {}
        self.notes: list[str] = []
        self._listeners: list[Callable[[State], None]] = []
        self._setting = False
        self._unread = ""  # what is wrong with an uploaded file
        self._make()
        self._write()
        self._show()

    def __repr__(self) -> str:
        return f"Explorer({self.state!r})"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        if not self._pn.extension._loaded:  # else the caller said how: panel.extension(inline=True) fetches nothing
            self._pn.extension()
        return self.layout._repr_mimebundle_(include, exclude)

    def on_change(self, listener: Callable[[State], None]) -> None:
        """Call a function with the state whenever it changes."""
        self._listeners.append(listener)

    def load(self, state: State) -> None:
        """Put a state into the fields."""
        self.state = state
        self._write()
        self._show()

    # -- widgets ---------------------------------------------------------------------------------------------------

    def _make(self) -> None:
        pn = self._pn
        kinds = {"Bradley–Terry rewards": "rewards", "… with a cycle": "cycle", "several annotators": "annotators"}
        kinds |= {"my own matrix": "matrix", "a file of comparisons": "file"}
        wide = {"sizing_mode": "stretch_width"}
        self.view = pn.widgets.RadioButtonGroup(
            options={name: key for key, name in words.VIEW_NAMES.items()}, color="primary", variant="outline"
        )
        self.chosen = pn.widgets.MultiChoice(label="Losses by name", options=list_losses(), solid=False, **wide)
        self.typed = pn.widgets.TextInput(label=words.LABELS["losses"], placeholder=words.EXAMPLES["losses"], **wide)
        self.by = pn.widgets.RadioButtonGroup(options={"same β": "beta", "same strength βκ": "strength"})
        self.texts = {
            name: pn.widgets.TextInput(label=words.LABELS[name], placeholder=words.EXAMPLES.get(name, ""), **wide)
            for name in _TEXTS
        }
        self.amount = pn.widgets.IntSlider(label="… or drag", start=-30, end=20, show_value=False, **wide)
        self.kind = pn.widgets.Select(options=kinds, **wide)
        self.file = pn.widgets.Select(label=words.LABELS["file"], options=["", *self.files], **wide)
        self.upload = pn.widgets.FileInput(accept=".csv,.tsv,.json,.jsonl,.ndjson,.gz,.parquet,.txt")
        self.optimizer = pn.widgets.Select(
            options={"gradient descent": "gd", "Adam": "adam", "gradient flow": "flow"}, **wide
        )
        self.step = pn.widgets.IntSlider(label="Step shown", start=0, end=400, step=8, **wide)
        self.shift = pn.widgets.FloatSlider(label="Shift c shown", start=-10, end=10, step=0.05, **wide)
        self.movers = pn.Column(**wide)
        self.errors = {
            name: pn.pane.HTML("", stylesheets=[words.STYLE], margin=0, **wide) for name in (*_TEXTS, "losses", "file")
        }
        self.plot = pn.pane.Bokeh(sizing_mode="stretch_width", min_height=420)
        self.about, self.facts = pn.pane.HTML("", **wide), pn.pane.HTML("", **wide)
        self.remark = pn.pane.HTML("", stylesheets=[words.STYLE], **wide)
        self._groups()
        downloads = [self._download(*each) for each in (
            ("Figure (PNG)", "png", self.png), ("Figure (SVG)", "svg", self.svg), ("Data (CSV)", "csv", self.csv),
            ("The Python that makes it", "py", self.python),
        )]  # fmt: skip
        left = pn.Column(*self.groups.values(), width=330)
        right = pn.Column(
            self.view, self.about, self.remark, self.plot, pn.Row(*downloads), self.facts, sizing_mode="stretch_width"
        )
        self.downloads = downloads
        intro = pn.pane.HTML(words.INTRODUCTION, sizing_mode="stretch_width")
        self.layout = pn.Column(intro, pn.Row(left, right, sizing_mode="stretch_width"), sizing_mode="stretch_width")
        for widget in (self.view, self.chosen, self.typed, self.by, self.kind, self.file, self.optimizer):
            widget.param.watch(self._changed, "value")
        for widget in self.texts.values():
            widget.param.watch(self._changed, "value")
        self.amount.param.watch(self._dragged, "value")
        self.step.param.watch(self._changed, "value")
        self.shift.param.watch(self._changed, "value")
        self.upload.param.watch(self._uploaded, "value")

    def _groups(self) -> None:
        pn, text = self._pn, self._text

        def group(title: str, *parts: Any) -> Any:
            return pn.Column(pn.pane.HTML(f"<b>{title}</b>"), *parts, sizing_mode="stretch_width")

        self.inputs = {
            "rewards": text("rewards"),
            "cycle": text("cycle"),
            "annotators": text("annotators"),
            "matrix": text("matrix"),
            "file": pn.Column(self.file, self.upload, self.errors["file"], sizing_mode="stretch_width"),
            "mu": text("mu"),
        }
        self.groups = {
            "losses": group("Losses f", self.chosen, self.typed, self.errors["losses"]),
            "order": group("Taylor polynomial", text("order")),
            "beta": group("How much to regularize: all losses have the", self.by, text("amount"), self.amount),
            "preferences": group("Preferences", self.kind, *self.inputs.values(), text("reference")),
            "training": group("Training", self.optimizer, text("rate"), text("steps"), self.step),
            "mixture": group(
                "Mixture", text("modes"), self.movers, text("scale"), text("weights"), text("mean"), text("width"),
                self.shift,
            ),
        }  # fmt: skip

    def _text(self, name: str) -> Any:
        return self._pn.Column(self.texts[name], self.errors[name], sizing_mode="stretch_width")

    def _download(self, label: str, suffix: str, make: Callable[[], Any]) -> Any:
        return self._pn.widgets.FileDownload(
            callback=make, filename=f"gpo-explore.{suffix}", label=label, color="default", width=190
        )

    # -- fields to state and back ------------------------------------------------------------------------------------

    def _read(self) -> State:
        """The state of the widgets."""
        typed = tuple(part.strip() for part in self.typed.value.split(";") if part.strip())
        return self.state.with_(
            losses=(*self.chosen.value, *typed),
            view=self.view.value,
            by=self.by.value,
            preferences=self.kind.value,
            file=self.file.value or "",
            optimizer=self.optimizer.value,
            step=str(self.step.value),
            shift=f"{self.shift.value:g}",
            **{name: widget.value for name, widget in self.texts.items()},
        )

    def _write(self) -> None:
        """Put the state into the widgets."""
        state, self._setting = self.state, True
        named: list[str] = []
        typed: list[str] = []
        for text in state.losses:
            try:
                name = get_margin_loss(text).name
            except ValueError:
                name = text
            (named if name in self.chosen.options else typed).append(name)
        self.chosen.value, self.typed.value = list(dict.fromkeys(named)), "; ".join(typed)
        self.view.value, self.by.value, self.kind.value = state.view, state.by, state.preferences
        self.file.options = list(dict.fromkeys(["", *self.files, state.file]))
        self.file.value, self.optimizer.value = state.file, state.optimizer
        for name, widget in self.texts.items():
            widget.value = getattr(state, name)
        self._setting = False
        self._follow()

    def _follow(self) -> None:
        """Sliders go where the texts say; what cannot be read leaves them."""
        state, self._setting = self.state, True
        wrong = faults(state, self.files)
        if "amount" not in wrong:
            tenth = round(10 * log10(float(state.amount)))
            self.amount.value = min(max(tenth, self.amount.start), self.amount.end)
        if not {"rate", "steps", "step"} & wrong.keys():
            _, steps, every = training_of(state)
            self.step.param.update(step=every, end=steps, value=min(int(float(state.step)), steps))
        if not {"modes", "weights", "scale", "mean", "width", "shift"} & wrong.keys():
            means = mixtures_of(state)[0].means
            if len(self.movers) != len(means):
                self.movers[:] = [self._mover(k) for k in range(len(means))]
            end = max(10.0, 2.0 * float(abs(means).max()))
            for mover, mean in zip(self.movers, means, strict=True):
                mover.param.update(start=-end, end=end, value=float(mean))
            shift = float(state.shift)
            self.shift.param.update(start=min(-end, shift), end=max(end, shift), value=shift)
        self._setting = False

    def _mover(self, k: int) -> Any:
        mover = self._pn.widgets.FloatSlider(label=f"Component {k + 1}", step=0.05, sizing_mode="stretch_width")
        mover.param.watch(self._moved, "value")
        return mover

    # -- what people do ----------------------------------------------------------------------------------------------

    def _changed(self, _event: Any) -> None:
        if self._setting:
            return
        self._unread, self.remarks = "", ()
        self.state = self._read()
        self._follow()
        self._show()

    def _dragged(self, _event: Any) -> None:
        if not self._setting:
            self.texts["amount"].value = f"{10 ** (self.amount.value / 10):.3g}"

    def _moved(self, _event: Any) -> None:
        if not self._setting:
            self.texts["modes"].value = ", ".join(f"{mover.value:g}" for mover in self.movers)

    def _uploaded(self, _event: Any) -> None:
        if self._setting or not self.upload.value:
            return
        name = re.sub(r"[^\w.-]+", "_", Path(self.upload.filename or "comparisons.csv").name)
        try:
            self.files[name] = read_bytes(self.upload.value, name)
        except ValueError as error:
            self._unread = str(error)
            self._show()
            return
        self._unread = ""
        self.load(self.state.with_(preferences="file", file=name, reference=""))

    # -- what is shown -------------------------------------------------------------------------------------------------

    def _show(self) -> None:
        state = self.state
        self.faults = faults(state, self.files)
        if self._unread:
            self.faults["file"] = self._unread
        for name, pane in self.errors.items():
            pane.object = words.fault_html(self.faults.get(name, ""))
        needs = words.NEEDS[state.view]
        for name, group in self.groups.items():
            group.visible = name in needs
        used = {state.preferences} | ({"rewards"} if state.preferences == "cycle" else set())
        used |= {"mu"} if state.preferences != "file" else set()
        for name, part in self.inputs.items():
            part.visible = name in used
        self.about.object = words.ABOUT[state.view]
        self.notes = list(self.remarks)
        try:
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                rows = table(state, self.files)
                self.plot.object = as_bokeh(panels(state, self.files, rows))
                self.notes += notes(state, self.files)
            self.notes += [str(one.message) for one in warned]
            self.facts.object = words.facts_html(state, self._betas()) if "losses" in needs else ""
            wrong = False
        except FieldError as error:
            self.notes.append("The picture is the last one that could be drawn: see the message in red on the left.")
            wrong = error.field not in self.errors
            if wrong:
                self.notes.append(str(error))
        except ValueError as error:
            self.notes.append(f"The picture is the last one that could be drawn: {error}")
        self.remark.object = words.notes_html(self.notes)
        for download in self.downloads:
            suffix = download.filename.rpartition(".")[2]
            download.filename = f"gpo-{state.view}.{suffix}"
        for listener in self._listeners:
            listener(state)

    def _betas(self) -> dict[str, float]:
        try:
            return betas_of(self.state)[0]
        except FieldError:
            return {}

    # -- downloads -----------------------------------------------------------------------------------------------------

    def csv(self) -> io.BytesIO:
        """The view's numbers."""
        return io.BytesIO(table(self.state, self.files).to_csv(index=False).encode())

    def python(self) -> io.BytesIO:
        """The script that prints them."""
        return io.BytesIO(script(self.state, self.files).encode())

    def png(self) -> io.BytesIO:
        """The figure as pixels."""
        return self._figure("png")

    def svg(self) -> io.BytesIO:
        """The figure as lines."""
        return self._figure("svg")

    def _figure(self, suffix: str) -> io.BytesIO:
        out = io.BytesIO()
        figure(self.state, self.files).savefig(out, format=suffix, dpi=200)
        out.seek(0)
        return out
