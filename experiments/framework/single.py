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
    from matplotlib.figure import Figure


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

    def plot(self, ax: None = None) -> Figure:  # type: ignore[override]
        """Its figure, from this record. The figure is found by its name, as records are by figures.

        Raises
        ------
        ValueError
            For a figure of several experiments, and for axes: a figure of several panels makes its own.
        """
        from gpo_analysis.plotting import figure_style

        if ax is not None:
            raise ValueError(f"figure {self.figure} makes axes of its own; give no ax")
        module = figure_module(self.figure)
        others = [name for name in module.EXPERIMENTS if name != self.record.name]
        if others:
            raise ValueError(f"figure {self.figure} is of several experiments, {', '.join(others)} besides this one")
        with figure_style():
            return module.draw({self.record.name: self.record})

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
