"""What is approved: results of every kind, pages of the explorer, output of the command, charts, losses, defaults."""

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
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import matplotlib.pyplot as plt
import numpy as np

import gpo_analysis
import gpo_analysis as gpo
from gpo_analysis import analysis
from gpo_analysis.losses import get_loss, list_losses, two_ratio_losses
from tests.approved.pictures import GAMES, PICTURES
from tests.approved.texts import dumped, table_of
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


SLOW = ("tabular.SelfConsistentKTO", "gaussian.Counterexample")
CASES: Cases = {f"result {name}": partial(of_result, name) for name in EXAMPLES if name not in SLOW}
CASES |= {"losses": of_losses, "options": of_options, "defaults": of_defaults}
CASES |= {f"analysis {name}": partial(of_analysis, name) for name in (*list_losses(), *two_ratio_losses(), *TYPED)}
CASES |= {f"closed forms {name}": partial(of_closed_forms, name) for name in CLOSED}
CASES |= {f"command {name}": partial(of_command, arguments) for name, arguments in COMMANDS.items()}
CASES |= PICTURES
