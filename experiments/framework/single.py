"""One experiment from Python: run it with any field changed, look at its table, its checks and its figure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.framework.discovery import figure_module, get_experiments
from experiments.framework.runner import run_experiments
from gpo_analysis.records import Record
from gpo_analysis.showing import Shown

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure, SubFigure


@dataclass(frozen=True, eq=False)
class Outcome(Shown):
    """What an experiment came to. It shows itself as its summary and verdicts.

    Attributes
    ----------
    record : Record
        Configuration, table and provenance, as written to disk.
    figure : str
        The figure that is drawn from it.
    """

    record: Record
    figure: str

    @property
    def table(self) -> pd.DataFrame:
        """The rows."""
        return self.record.table

    @property
    def checks(self) -> pd.DataFrame:
        """A row a claim: verdict, predicted, computed, low, high (95 %)."""
        import pandas as pd

        columns = ["claim", "verdict", "predicted", "computed", "low", "high"]
        return pd.DataFrame([{name: check.get(name) for name in columns} for check in self.record.meta["checks"]])

    def plot(  # type: ignore[override]
        self, ax: None = None, *, figure: Figure | SubFigure | None = None, size: tuple[float, float] | None = None
    ) -> Figure | SubFigure:
        """Its figure, from this record. The figure is found by its name, as records are by figures.

        Parameters
        ----------
        ax : None
            Not taken, as there are several panels: ``figure=`` is what puts them beside other things.
        figure : Figure or SubFigure, optional
            Where the panels are made, such as a part of ``pyplot.figure(layout="constrained").subfigures(1, 2)``; a new
            figure by default.
        size : tuple of two floats, optional
            Width and height of a new figure, in inches.

        Raises
        ------
        ValueError
            For a figure of several experiments, for axes, and for a size beside a figure.
        """
        from gpo_analysis.plotting import figure_style
        from gpo_analysis.showing.style import drawing_in

        if ax is not None:
            raise ValueError(
                f"figure {self.figure} has panels of its own and takes no ax; accepted is figure=, a matplotlib figure "
                "or a part of one (pyplot.figure(layout='constrained').subfigures(1, 2)[0])"
            )
        if figure is not None and (size is not None or not hasattr(figure, "subplots")):
            what = "size goes with a new figure only" if size is not None else f"figure is a {type(figure).__name__}"
            raise ValueError(f"{what}; accepted is figure=, a matplotlib Figure or SubFigure, or size=(width, height)")
        module = figure_module(self.figure)
        others = [name for name in module.EXPERIMENTS if name != self.record.name]
        if others:
            raise ValueError(f"figure {self.figure} is of several experiments, {', '.join(others)} besides this one")
        with figure_style(), drawing_in(figure):
            drawn: Figure | SubFigure = module.draw({self.record.name: self.record})
            if size is not None:
                drawn.set_size_inches(*size)  # type: ignore[union-attr]
            return drawn

    def __repr__(self) -> str:
        counts = self.checks["verdict"].value_counts()
        verdicts = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
        return f"{self.record.name}: {len(self.table)} rows; {verdicts}\n{self.record.meta.get('summary', '')}".rstrip()

    def _facts(self) -> list[tuple[str, Any]]:
        counts = self.checks["verdict"].value_counts()
        verdicts = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
        return [("experiment", self.record.name), ("rows", len(self.table)), ("claims", verdicts)]

    def _notes(self) -> list[str]:
        return [str(line) for line in [self.record.meta.get("summary", "")] if line]

    def to_frame(self) -> pd.DataFrame:
        """A row a claim: :attr:`checks`; :attr:`table` has the rows computed."""
        return self.checks


def run(
    name: str,
    *,
    preset: str = "quick",
    out: str | Path = "out/records",
    jobs: int = 1,
    progress: bool = False,
    **fields: Any,
) -> Outcome:
    """Run one experiment, or take its record where there is one of the same configuration and code.

    Parameters
    ----------
    name : str
        Such as ``"beta-or-f"``.
    preset : {"quick", "paper"}
    out : path
        Folder of records.
    jobs : int
        Processes.
    progress : bool
        Show a bar.
    **fields : object
        Other values for fields of its configuration; ``python -m experiments describe NAME`` lists them.

    Raises
    ------
    ValueError
        For an unknown experiment, field or value, naming the nearest.
    RuntimeError
        Where it failed or could not run, with the reason.

    Examples
    --------
    >>> import tempfile, experiments
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     outcome = experiments.run("losses", out=folder)
    >>> outcome.record.name, bool((outcome.checks["verdict"] == "holds").all())
    ('losses', True)
    """  # fmt: skip
    chosen = get_experiments([name])
    call = f"experiments.run({name!r})"
    (plan,) = run_experiments(
        chosen, preset=preset, out=Path(out), jobs=jobs, progress=progress, what=call, changed=fields
    )
    if plan.status != "complete" or plan.record is None:
        raise RuntimeError(f"{name} {plan.status}: {plan.why}")
    return Outcome(plan.record, chosen[0].load().FIGURE)
