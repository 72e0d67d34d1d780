"""What is approved: results of every kind, pages of the explorer, output of the command, charts, losses, defaults.

More than 400 lines because every command, chart and state of the page that is approved is a line of a table here.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import itertools
import json
import os
import pkgutil
import re
import warnings
from collections import Counter
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

import gpo_analysis
import gpo_analysis as gpo
from gpo_analysis import analysis, plotting
from gpo_analysis.explore.state import VIEWS
from gpo_analysis.losses import get_loss, list_losses, two_ratio_losses
from tests.approved.texts import dumped, table_of
from tests.approved.worlds import WORLDS
from tests.showing.results import EXAMPLES, example

Cases = dict[str, Callable[[], str]]


# -- results ---------------------------------------------------------------------------------------------------------


def of_result(name: str) -> str:
    """All that a result holds, says and draws."""
    result = example(name)
    lines = ["# held", *dumped(result), "# said", result.summary(), "# table", table_of(result.to_frame())]
    if hasattr(result, "to_dict"):
        lines += ["# document", *dumped(result.to_dict())]
    try:
        lines += ["# chart", *dumped(result._panel())]
    except ValueError as error:
        lines += [f"# no chart: {error}"]
    return re.sub(r"/tmp\S*/", "", "\n".join(lines))


# -- losses ----------------------------------------------------------------------------------------------------------

POINTS = np.array([-40.0, -2.5, -1.0, -0.3, 0.0, 0.4, 1.0, 1.7, 30.0])


def of_losses() -> str:
    """Every loss of the catalogue: what it is called, its formula, values and derivatives."""
    lines = []
    for name in (*QUICK, *two_ratio_losses()):
        loss: Any = get_loss(name)
        lines += [f"## {name}", str(loss), f"{type(loss).__name__} {loss.name}"]
        lines += dumped(loss)
        if name in list_losses():
            lines += [f"order {k}: {' '.join(f'{x:.9g}' for x in loss.derivative(POINTS, k))}" for k in range(3)]
        else:
            at = [(a, b) for a in (-2.0, -0.3, 0.7) for b in (-1.1, 0.0, 1.9)]
            lines += [" ".join(f"{float(loss(np.array([a]), np.array([b]))[0]):.9g}" for a, b in at)]
    return "\n".join(lines)


QUICK = [name for name in list_losses() if name != "lrml"]
TYPED = (
    "abs(z-1)+abs(z)", "max(0,1-z)**3", "log(1+exp(-z))+z**2/10", "sqrt(1+z**2)-z", "z**4-z", "exp(-z)+exp(-2*z)",
    "1/(1+exp(z))**3", "cosh(z)-z", "max(0,1-z,-2*z)", "atan(-z)", "erfc(z)", "max(0,1-z)+z**2/10",
    "1/(1+z**2)", "-tanh(z)", "max(0,1-z)**1.5", "min(1,max(0,1-z))", "z**2", "-z", "log(1+z**2)-z/2",
    "a**2 + (1-b)**2", "max(0,1-a)+max(0,1+b)",
)  # fmt: skip
CLOSED = ("logistic", "hinge", "squared", "exponential", "truncated_quadratic", "savage", "kliep", "abs(z-1)+abs(z)",
          "max(0,1-z,-2*z)", "cosh(z)-z")  # fmt: skip
SHARES = np.array([0.03, 0.2, 0.37, 0.5, 0.71, 0.95])


def of_analysis(name: str) -> str:
    """The document of an analysis and what it says."""
    found = gpo.analyze(name)
    return "\n".join([*dumped(found.to_dict()), found.summary(), found._repr_html_()])


def of_closed_forms(name: str) -> str:
    """Margins, least risks, conjugates and expansions of a loss, as formulas and as numbers."""
    loss = gpo.get_loss(name)
    made: dict[str, Callable[[], Any]] = {
        "margins": lambda: gpo.optimal_margin(name, SHARES),
        "risks": lambda: analysis.bayes_risk(loss, SHARES),
        "conjugate": lambda: analysis.conjugate(loss, -2 * SHARES),
        "closed margin": lambda: analysis.closed_link(loss),
        "closed risk": lambda: analysis.closed_bayes_risk(loss),
        "closed conjugate": lambda: analysis.closed_conjugate(loss),
        "calibration": lambda: analysis.calibration(loss),
        "taylor": lambda: gpo.taylor(name, order=5),
        "remainder": lambda: gpo.taylor_remainder_bound(name, 3, 0.5),
        "expansion": lambda: gpo.population_expansion(name).summary(),
    }
    lines = []
    for what, make in made.items():
        try:
            lines += [f"# {what}", *dumped(make())]
        except ValueError as error:
            lines.append(f"refused: {error}")
    return "\n".join(lines)


# -- defaults --------------------------------------------------------------------------------------------------------


def of_defaults() -> str:
    """Names and defaults of what functions and classes take that may be imported by name."""
    lines: set[str] = set()
    for found in pkgutil.walk_packages(gpo_analysis.__path__, "gpo_analysis."):
        if found.name.endswith("__main__") or ".integrations" in found.name or "._" in found.name:
            continue
        module = importlib.import_module(found.name)
        for name, one in vars(module).items():
            if name.startswith("_") or getattr(one, "__module__", "") != found.name:
                continue
            parts = [(name, one)] if callable(one) else []
            parts += [(f"{name}.{key}", part) for key, part in vars(one).items()] if inspect.isclass(one) else []
            lines |= {f"{found.name} {key}: {_defaults(part)}" for key, part in parts if "._" not in key}
    return "\n".join(sorted(line for line in lines if not line.endswith(": ")))


def _defaults(one: Any) -> str:
    try:
        parameters = inspect.signature(getattr(one, "__func__", one)).parameters.values()
    except (ValueError, TypeError):  # no function
        return ""
    given = [(item.name, item.default) for item in parameters if item.default not in (inspect.Parameter.empty, None)]
    shown = ((key, "…" if re.search(" at 0x|factory", repr(value)) else repr(value)) for key, value in given)
    return ", ".join(f"{key}={value}" for key, value in shown)


# -- the command -----------------------------------------------------------------------------------------------------

GAMES = "winner,loser,count\na,b,7\nb,a,3\nb,c,6\nc,b,5\na,c,8\nc,a,2\n"
PROMPTS = "prompt,winner,loser,count\np,a,b,3\np,b,a,1\nq,x,y,5\nq,y,x,2\nq,y,z,4\nq,z,y,3\n"
JUDGED = "model_a,model_b,winner,judge,tokens_a,tokens_b\n" + "".join(
    f"{a},{b},{'tie' if k % 5 == 0 else 'model_a' if (k % 3 > 0) == (a < b) else 'model_b'},j{k % 4},"
    f"{20 + 7 * k % 30},{35 - 5 * k % 20}\n"
    for k, (a, b) in enumerate(4 * list(itertools.permutations("uvwx", 2)))
)
LOG = (
    "step,policy_chosen,policy_rejected,reference_chosen,reference_rejected,chosen_length,rejected_length\n"
    + "".join(
        f"{k // 10},{-30 - 0.3 * k + k % 3},{-31 - 0.5 * k + k % 5},-30,-31,{10 + k % 4},{12 + k % 3}\n"
        for k in range(40)
    )
)
MEANS = json.dumps(
    {"log_history": [
        {"step": k, "loss": 0.69 - 0.01 * k, "rewards/chosen": 0.02 * k, "rewards/rejected": -0.03 * k,
         "rewards/margins": 0.05 * k, "rewards/accuracies": 0.5 + 0.02 * k, "logps/chosen": -30 + k}
        for k in range(1, 7)
    ]}
)  # fmt: skip
AUDIT = "margin,loss\n" + "".join(f"{m},{np.logaddexp(0, -m):.12f}\n" for m in np.linspace(-2.5, 4.0, 50))
FILES = {
    "games.csv": GAMES, "prompts.csv": PROMPTS, "judged.csv": JUDGED, "log.csv": LOG, "trainer_state.json": MEANS,
    "audit.csv": AUDIT,
}  # fmt: skip
BARE = ("--noise", "0")
COMMANDS: dict[str, tuple[str, ...]] = {
    "analyze": ("analyze", "hinge"),
    "analyze json": ("analyze", "exp(-2*z)", "--json"),
    "analyze parameter": ("analyze", "c*exp(-z)", "--param", "c=2"),
    "analyze two": ("analyze", "nca_pair", "--json"),
    "losses": ("losses",),
    "losses json": ("losses", "--json"),
    "beta list": ("beta", "--list"),
    "beta": ("beta", "0.1", "--from", "trl:ipo", "--to", "gpo:ipo"),
    "beta smoothed": ("beta", "0.1", "--from", "trl:robust", "--to", "gpo:logistic", "--label-smoothing", "0.2"),
    "conventions": ("conventions",),
    "conventions json": ("conventions", "--json"),
    "gaussians": ("gaussians", "--modes", "-1,2", "--scale", "0.7", "--figure", "f.svg", "--out", "g.csv"),
    "solve": ("solve", "games.csv", *BARE),
    "solve json": ("solve", "games.csv", "--loss", "dpo", "--loss", "nca_pair", "--beta", "0.5", "--json", *BARE),
    "solve noise": ("solve", "games.csv", "--loss", "ipo", "--noise", "19"),
    "solve prompts": ("solve", "prompts.csv", "--loss", "dpo", *BARE),
    "solve prompts json": ("solve", "prompts.csv", "--loss", "ipo", "--json", *BARE),
    "solve resampled": ("solve", "games.csv", "--loss", "dpo", "--bootstrap", "20", "--held-out", "3", *BARE),
    "solve davidson": ("solve", "judged.csv", "--loss", "dpo", "--ties", "davidson", "--home", "--cluster", "judge",
                       "--scale", "elo", *BARE),
    "solve covariates": ("solve", "judged.csv", "--loss", "dpo", "--covariates", "tokens", "--ridge", "0.1", "--json",
                         *BARE),
    "solve prior": ("solve", "judged.csv", "--loss", "ipo", "--prior", "1", *BARE),
    "recommend": ("recommend-beta", "prompts.csv", "--kl", "0.1", "--resamples", "10"),
    "recommend json": ("recommend-beta", "games.csv", "--margin", "1", "--loss", "dpo", "--resamples", "10", "--json"),
    "recommend log": ("recommend-beta", "--log", "log.csv", "--beta", "0.1", "--margin", "2", "--loss", "dpo",
                      "--resamples", "5"),
    "diagnose": ("diagnose", "log.csv", "--beta", "0.1", "--resamples", "10"),
    "diagnose json": ("diagnose", "log.csv", "--beta", "0.1", "--loss", "ipo", "--reduction", "mean", "--try-loss",
                      "dpo", "--try-beta", "0.2", "--resamples", "10", "--json"),
    "diagnose means": ("diagnose", "trainer_state.json", "--beta", "0.1"),
    "audit": ("audit-log", "audit.csv"),
    "audit json": ("audit-log", "audit.csv", "--json"),
    "solve kept": ("solve", "games.csv", "--loss", "dpo", "--loss", "ipo", "--out", "t.csv", *BARE),
    "solve matrix": ("solve", "games.csv", "--loss", "dpo", "--matrix", "m.csv", *BARE),
    "solve drawn": ("solve", "games.csv", "--loss", "ipo", "--figure", "f.svg", *BARE),
    "analyze drawn": ("analyze", "hinge", "--figure", "f.svg"),
    "losses drawn": ("losses", "--figure", "f.svg"),
    "diagnose drawn": ("diagnose", "log.csv", "--beta", "0.1", "--resamples", "3", "--figure", "f.svg", "--out",
                      "d.json"),
    "recommend drawn": ("recommend-beta", "games.csv", "--kl", "0.1", "--loss", "dpo", "--resamples", "5", "--figure",
                        "f.svg", "--out", "r.csv"),
    "beta kept": ("beta", "0.1", "--from", "trl:ipo", "--to", "gpo:ipo", "--tokens", "50", "--eta", "0.3", "--out",
                  "b.json"),
    "beta wrong": ("beta", "0.1", "--from", "trl:nothing"),
    "no number": ("beta", "x"),
    "no verb": ("solv", "games.csv"),
    "two sources": ("solve", "games.csv", "--example", "journals"),
    "wrong option": ("solve", "games.csv", "-loss", "dpo"),
    "wrong separator": ("solve", "games.csv", "--separator", "::"),
    "no folder": ("solve", "games.csv", "--out", "none/t.csv"),
    "no file": ("diagnose", "none.csv", "--beta", "1"),
    "elo of ipo": ("solve", "games.csv", "--loss", "ipo", "--scale", "elo", *BARE),
}  # fmt: skip


def of_command(arguments: tuple[str, ...]) -> str:
    """What the command prints and writes in a folder with small files, and its exit status."""
    from gpo_analysis.cli import main

    before, said = Path.cwd(), io.StringIO()
    with TemporaryDirectory() as folder:
        for name, text in FILES.items():
            Path(folder, name).write_text(text, encoding="utf-8")
        os.chdir(folder)
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), plt.rc_context(PLAIN_SVG):
                main(list(arguments))
        except SystemExit as left:
            code = left.code
        finally:
            os.chdir(before)
        written = [path for path in sorted(Path(folder).rglob("*")) if path.name not in FILES and path.is_file()]
        lines = [line for path in written for line in (f"# {path.name}", *_written(path))]
    text = "\n".join([f"exit {code}", said.getvalue(), *lines])
    return text.replace(folder, "FOLDER").replace(gpo.__version__, "VERSION")


PLAIN_SVG = {"svg.fonttype": "none", "svg.hashsalt": "approved"}


def _written(path: Path) -> list[str]:
    """Lines of a file; of a picture its texts, and how many lines and marks it has of each colour."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".svg":
        return text.splitlines()[:60]
    words = ["".join(re.sub(r"<[^>]*>", "", one).split()) for one in re.findall(r"<text.*?</text>", text, re.DOTALL)]
    colours = Counter(re.findall(r"(?:stroke|fill): (#[0-9a-f]{6})", text))
    return [*words, *(f"{colour} {count}" for colour, count in sorted(colours.items()))]


def of_options() -> str:
    """What every verb of the command takes."""
    from gpo_analysis.cli.main import gpo as command

    lines = []
    for verb in command.list_commands(click.Context(command)):
        found = command.get_command(click.Context(command), verb)
        assert found is not None
        for one in found.params:
            kinds = [key for key in ("is_flag", "multiple", "required", "hidden") if getattr(one, key, False)]
            asked = getattr(one.type, "choices", None) or one.type.name
            lines.append(f"{verb} {one.name} {[*one.opts, *one.secondary_opts]} {asked} {kinds} {one.metavar}")
            lines.append(f"  default {one.default if isinstance(one.default, str | int | float | tuple) else ''}")
    return "\n".join(lines)


# -- charts ----------------------------------------------------------------------------------------------------------

SWEEP = pd.DataFrame(
    {"loss": ["dpo", "ipo"] * 3, "beta": [1.0, 1.0, 0.1, 0.1, 3.0, 3.0], "kl": [0.5, 1, 2, 3, 4, 5.0],
     "win_rate": [0.6, 0.6, 0.55, 0.7, 0.8, 0.65], "problem": [0, 0, 0, 0, 1, 1]}
)  # fmt: skip
TRAINED = pd.DataFrame({"step": [0, 1, 4], "time": [0.0, 0.1, 0.3], "kl": [0.0, 1.0, 1.2], "max_margin": [0.0, 2.0, 3]})
PAIR = [[0.5, 0.9], [0.1, 0.5]]
THREE = {"dpo": [0.7, 0.3], "ipo": [0.6, 0.4], "mine": [0.2, 0.8]}
CHARTS: dict[str, Callable[[Axes], Any]] = {
    "loss": lambda ax: plotting.plot_loss("dpo", ax),
    "loss scaled": lambda ax: plotting.plot_loss("ipo", ax, scaled=True, low=-2.0, high=3.0, points=11),
    "losses": lambda ax: plotting.plot_losses(["dpo", "slic"], ax),
    "losses scaled": lambda ax: plotting.plot_losses(["dpo", "ipo"], ax, scaled=True, zero_one=False),
    "zero one": lambda ax: plotting.plot_zero_one(ax),
    "curve": lambda ax: plotting.plot_curve("hinge", [0, 1], [2, 3], ax),
    "curve markers": lambda ax: plotting.plot_curve("ipo", [0, 1], [2, 3], ax, markers=True),
    "policy": lambda ax: plotting.plot_policy(THREE, [0.5, 0.5], ax),
    "policy named": lambda ax: plotting.plot_policy({"dpo": [0.7, 0.3]}, None, ax, labels=["$1", "no"]),
    "preference": lambda ax: plotting.plot_preference(PAIR, ax),
    "preference named": lambda ax: plotting.plot_preference(PAIR, ax, labels=["yes", "no"]),
    "heatmap": lambda ax: plotting.plot_heatmap([[0.0, np.nan], [0.6, 1.0]], ["l", "r"], [1, 2], ax, value="share"),
    "sweep": lambda ax: plotting.plot_sweep(SWEEP, "kl", ax),
    "sweep by": lambda ax: plotting.plot_sweep(SWEEP, "kl", ax, x="win_rate", by="problem"),
    "frontier": lambda ax: plotting.plot_frontier(SWEEP, ax),
    "landscape": lambda ax: plotting.plot_landscape([-1, 0, 1.0], [3, 1.0, 2], ax, minima=[0.0], label="mine", index=2),
    "landscape bare": lambda ax: plotting.plot_landscape([-1, 0, 1.0], [3, 1.0, 2], ax),
    "trajectory": lambda ax: plotting.plot_trajectory(TRAINED, ["kl", "max_margin"], ax, x="time"),
    "trajectory steps": lambda ax: plotting.plot_trajectory(TRAINED, ax=ax),
    "scores": lambda ax: plotting.plot_scores(["$a", "b"], [1.0, -1.0], [0.5, -np.inf], [np.inf, -0.5], ax),
    "scores none": lambda ax: plotting.plot_scores(["a"], [np.nan], [np.nan], [np.nan], ax, style="ipo"),
    "scores many": lambda ax: plotting.plot_scores([f"n{k}" for k in range(41)], *np.arange(123.0).reshape(3, 41), ax),
    "over beta": lambda ax: plotting.plot_result(SWEEP, ax),
    "over beta win rate": lambda ax: plotting.plot_result(SWEEP.drop(columns=["loss", "problem"]), ax, y="win_rate"),
    "over one beta": lambda ax: plotting.plot_result(SWEEP.iloc[:2], ax),
    "together": lambda ax: plotting.plot_result([example("tabular.Solution"), example("tabular.Solution")], ax),
}  # fmt: skip


def of_chart(made: Callable[[Axes], Any]) -> str:
    """What stands on the axes."""
    figure, ax = plt.subplots()
    try:
        made(ax)
        return "\n".join(line for one in figure.axes for line in _drawn(one))
    finally:
        plt.close(figure)


def _drawn(ax: Axes) -> list[str]:
    titles = [ax.get_title(loc) for loc in ("left", "center", "right")]
    lines = [f"axes: {titles} x {ax.get_xlabel()!r} {ax.get_xscale()} y {ax.get_ylabel()!r} {ax.get_yscale()}"]
    if ax.lines or ax.patches or ax.images:
        lines.append(f"limits: {' '.join(f'{x:.5g}' for x in (*ax.get_xlim(), *ax.get_ylim()))}")
    for axis in (ax.xaxis, ax.yaxis):
        lines.append(f"ticks: {[label.get_text() for label in axis.get_ticklabels()]}")
    legend = ax.get_legend()
    if legend is not None:
        lines.append(f"legend: {legend.get_title().get_text()!r} {[text.get_text() for text in legend.get_texts()]}")
    for line in ax.lines:
        data = "; ".join(_ends(part) for part in line.get_data())
        looks = (
            line.get_label(),
            line.get_color(),
            line.get_linestyle(),
            line.get_marker(),
            line.get_markerfacecolor(),
        )
        lines.append(f"line: {[str(one) for one in looks]} {len(np.asarray(line.get_xdata()))} points {data}")
    for patch in ax.patches:
        box = patch.get_bbox().bounds if hasattr(patch, "get_bbox") else ()
        lines.append(f"patch: {' '.join(f'{x:.4g}' for x in box)} hatch {patch.get_hatch()} {_colour(patch)}")
    for text in ax.texts:
        where = f"{text.get_horizontalalignment()} {text.get_verticalalignment()} {text.get_color()}"
        lines.append(f"text: {text.get_text()!r} at {' '.join(f'{x:.4g}' for x in text.get_position())} {where}")
    for image in ax.images:
        lines.append(
            f"image: {np.asarray(image.get_array()).round(6).tolist()} {image.get_cmap().name} {image.get_clim()}"
        )
    for group in ax.collections:
        segments = getattr(group, "get_segments", list)()
        lines.append(f"collection: {type(group).__name__} {np.asarray(segments).round(5).ravel().tolist()[:40]}")
    return lines


def _ends(values: Any) -> str:
    """The first, middle and last of some numbers."""
    part = np.asarray(values, float)
    return " ".join(f"{v:.5g}" for v in part[[0, len(part) // 2, -1]]) if len(part) else ""


def _colour(patch: Any) -> str:
    return " ".join(f"{x:.3g}" for x in patch.get_facecolor())


# -- the explorer ----------------------------------------------------------------------------------------------------

MIXED = ("dpo", "slic", "log(cosh(1-z))")
STATES: dict[str, dict[str, Any]] = {
    "losses": {"losses": (*MIXED, "abs(z-1) + abs(z)"), "view": "losses", "order": "6"},
    "link": {"losses": MIXED, "view": "link"},
    "policies": {"losses": MIXED, "view": "policies", "mu": "1, 2, 3", "reference": "3, 2, 1"},
    "policies cycle": {"losses": MIXED, "view": "policies", "by": "strength", "amount": "0.2", "preferences": "cycle",
                       "cycle": "0.3"},
    "policies matrix": {"losses": ("dpo",), "view": "policies", "preferences": "matrix"},
    "policies without": {"losses": ("dpo",), "view": "policies", "preferences": "matrix", "matrix": "0.5, 1; 0, 0.5"},
    "policies file": {"losses": ("ipo", "dpo"), "view": "policies", "preferences": "file", "file": "games.csv"},
    "regularizers": {"losses": ("ipo", "exp(-z)"), "view": "regularizers", "preferences": "annotators"},
    "training": {"losses": ("ipo", "savage"), "view": "training", "by": "strength", "amount": "0.1", "steps": "37",
                 "optimizer": "adam", "rate": "0.1", "step": "5"},
    "training flow": {"losses": ("dpo",), "view": "training", "steps": "20", "optimizer": "flow", "mu": "1, 1, 4"},
    "training rising": {"losses": ("ipo",), "view": "training", "rate": "1e3", "steps": "50"},
    "mixture": {"view": "mixture", "modes": "-2, 0.5, 3", "weights": "1, 2, 1", "width": "0.7", "mean": "0.5"},
    "mixture default": {"view": "mixture"},
}  # fmt: skip


@cache
def _games() -> Any:
    from gpo_analysis.preferences import read_comparisons

    with TemporaryDirectory() as folder:
        path = Path(folder, "games.csv")
        path.write_text(GAMES, encoding="utf-8")
        return read_comparisons(path)


def of_state(given: dict[str, Any]) -> str:
    """A view: its table, notes, facts, panels and script."""
    from gpo_analysis.explore import State, notes, script, table
    from gpo_analysis.explore.drawing import panels
    from gpo_analysis.explore.fields import betas_of
    from gpo_analysis.explore.words import facts_html

    state, files = State(**given), {"games.csv": _games()}
    rows = table(state, files)
    lines = ["# table", table_of(rows), "# notes", *notes(state, files)]
    lines += ["# facts", facts_html(state, betas_of(state)[0])] if state.view != "mixture" else []
    for panel in panels(state, files, rows):
        lines += ["# panel", *dumped(panel)]
    return "\n".join([*lines, "# script", script(state, files).replace(gpo.__version__, "VERSION")])


def of_page() -> str:
    """The page: every widget with what it says and offers; then, view by view, those that changed."""
    from gpo_analysis.explore import Explorer, State

    lines: list[str] = []
    states = [State(view=view, amount="2", step="24", steps="80") for view in VIEWS]
    states += [
        State(losses=("savage", "exp(-z)"), view="policies", by="strength", preferences="annotators"),
        State(losses=("dpo",), view="policies", preferences="file", file="games.csv"),
        State(losses=("dpo",), view="mixture", modes="-4, 2", shift="-20", weights="1, 2"),
        State(preferences="cycle", view="policies", amount="x", order="99"),
        State(view="training", rate="x", step="5"),
        State(view="training", steps="x", step="5"),
        State(view="training", step="x"),
        State(view="mixture", modes="x"),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        page = Explorer(files={"games.csv": _games()})
        shown: set[str] = set()
        for state in states:
            page.load(state)
            now = [f"{k}: {line}" for k, line in enumerate([*_widgets(page), *_bokeh(page.plot.object)])]
            lines += [f"# {state.query()}", *(line for line in now if line not in shown)]
            shown = set(now)
        page.amount.value = 3
        page.movers[0].value = -2.5
        page.view.value = "link"
        lines += ["# moved", page.state.query(), *(one.filename for one in page.downloads)]
    return "\n".join(lines)


SAID = (
    "label", "name", "value", "options", "placeholder", "start", "end", "step", "object", "filename", "accept",
    "visible", "width", "sizing_mode",
)  # fmt: skip


def _widgets(page: Any) -> list[str]:
    lines = []
    for one in page.layout.select():
        said = {
            key: getattr(one, key)
            for key in SAID
            if hasattr(one, key)
        }  # fmt: skip
        kept = {key: value for key, value in said.items() if isinstance(value, str | int | float | list | dict | tuple)}
        if kept.get("name", "").startswith(type(one).__name__):
            kept.pop("name")
        lines.append(f"{type(one).__name__} {kept}")
    return lines


def _bokeh(row: Any) -> list[str]:
    lines = []
    for plot in row.children:
        ranges = [getattr(r, end, None) for r in (plot.x_range, plot.y_range) for end in ("start", "end")]
        lines.append(f"plot {plot.title.text!r} {plot.width} {plot.height} {plot.min_width} {ranges}")
        lines += [f"axis {type(axis).__name__} {axis.axis_label!r}" for axis in (*plot.xaxis, *plot.yaxis)]
        lines += [f"names {plot.xaxis[0].major_label_overrides} {plot.xaxis[0].major_label_orientation}"]
        lines += [f"tool {type(tool).__name__} {getattr(tool, 'tooltips', '')}" for tool in plot.toolbar.tools]
        for drawn in plot.renderers:
            glyph = drawn.glyph
            looks = [
                str(getattr(glyph, key, "")) for key in ("line_color", "line_dash", "line_width", "marker", "size")
            ]
            lines.append(f"glyph {drawn.name!r} {type(glyph).__name__} {looks} {len(drawn.data_source.data['x'])}")
        for legend in plot.legend:
            items = [item.label.value for item in legend.items]
            lines.append(f"legend {items} {legend.click_policy} {legend.ncols} {legend.padding} {legend.spacing}")
    return lines


SLOW = ("tabular.SelfConsistentKTO", "gaussian.Counterexample")
CASES: Cases = {f"result {name}": partial(of_result, name) for name in EXAMPLES if name not in SLOW}
CASES |= {"losses": of_losses, "options": of_options, "defaults": of_defaults}
CASES |= {f"analysis {name}": partial(of_analysis, name) for name in (*list_losses(), *two_ratio_losses(), *TYPED)}
CASES |= {f"closed forms {name}": partial(of_closed_forms, name) for name in CLOSED}
CASES |= {f"command {name}": partial(of_command, arguments) for name, arguments in COMMANDS.items()}
CASES |= {f"chart {name}": partial(of_chart, made) for name, made in CHARTS.items()}
CASES |= {f"explore {name}": partial(of_state, given) for name, given in STATES.items()}
CASES |= {"page": of_page}
CASES |= {f"world {name}": made for name, made in WORLDS.items()}
