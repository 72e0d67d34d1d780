"""The Python that makes a view: a script of public functions that prints the numbers which the page shows."""

from __future__ import annotations

from collections.abc import Sequence

from gpo_analysis import __version__
from gpo_analysis.explore.fields import (
    Files,
    betas_of,
    losses_of,
    mixtures_of,
    number,
    numbers,
    problem_of,
    rows,
    training_of,
)
from gpo_analysis.explore.state import State
from gpo_analysis.explore.tables import BETAS, MARGINS, SHIFTS, reach
from gpo_analysis.losses import MarginLoss

_HEAD = '''\
"""{what}

Made by gpo explore (gpo-analysis {version}). Run it to print the numbers as CSV.
"""

import numpy as np
import pandas as pd

import gpo_analysis as gpo
'''


def script(state: State, files: Files | None = None) -> str:
    """The script of the view that the state names; what it prints is ``table(state, files)`` as CSV.

    Parameters
    ----------
    state : State
    files : mapping of str to Comparisons, optional

    Raises
    ------
    FieldError
        As :func:`~gpo_analysis.explore.tables.table` does.

    Examples
    --------
    >>> print(script(State(losses=("dpo", "exp(-z)"), view="link")).split("import gpo_analysis as gpo")[1].strip())
    losses = [
        gpo.get_loss("logistic"),
        gpo.get_loss("exp(-z)"),
    ]
    eta = np.arange(1, 200) / 200
    tables = [pd.DataFrame({"loss": f.name, "eta": eta, "margin": gpo.optimal_margin(f, eta)}) for f in losses]
    <BLANKLINE>
    table = pd.concat(tables, ignore_index=True)
    print(table.to_csv(index=False), end="")
    """
    given = {} if files is None else files
    match state.view:
        case "losses":
            return _losses(state)
        case "link":
            return _link(state)
        case "policies":
            return _policies(state, given)
        case "regularizers":
            return _regularizers(state, given)
        case "training":
            return _training(state, given)
        case _:
            return _mixture(state)


_JOINED = ["", "table = pd.concat(tables, ignore_index=True)", 'print(table.to_csv(index=False), end="")']


def _text(what: str, lines: Sequence[str], *, imports: str = "") -> str:
    head = _HEAD.format(what=what, version=__version__)
    if imports:
        head = head.replace("import pandas as pd\n", f"import pandas as pd\n{imports}\n")
    return head + "\n" + "\n".join(lines) + "\n"


def _loss_lines(losses: Sequence[MarginLoss]) -> list[str]:
    made = (f"gpo.get_loss({_quoted(loss.name)})" for loss in losses)
    return ["losses = [", *(f"    {one}," for one in made), "]"]


def _quoted(text: str) -> str:
    """A Python string; every character outside ASCII that could mislead a reader is escaped by repr."""
    plain = repr(text)
    return f'"{plain[1:-1]}"' if plain[0] == "'" and '"' not in plain else plain


def _beta_lines(state: State) -> list[str]:
    """The losses that have a β, and their β."""
    betas, without = betas_of(state)
    lines = ["# " + " ".join(note.split()) for note in without]  # one line each, whatever a loss is called
    lines += _loss_lines([loss for loss in losses_of(state) if loss.name in betas])
    amount = repr(number(state, "amount", 1e-4, 1e4))
    if state.by == "beta":
        return [*lines, f"betas = [{amount}] * len(losses)"]
    return [*lines, f"betas = [{amount} / float(gpo.analysis.strength(f)) for f in losses]  # equal βκ"]


def _shares(name: str, text: str, field: str) -> list[str]:
    return [f"{name} = np.array({numbers(text, field, most=500)!r})", f"{name} = {name} / {name}.sum()"]


def _problem_lines(state: State, files: Files) -> list[str]:
    problem_of(state, files)  # what is wrong is said here
    lines, options = [], ""
    if state.mu.strip() and state.preferences != "file":
        lines, options = _shares("mu", state.mu, "mu"), ", behavior=mu"
    if state.reference.strip():
        lines, options = (
            [*lines, *_shares("reference", state.reference, "reference")],
            f"{options}, reference=reference",
        )
    if state.preferences == "file":
        return [
            *lines,
            f"comparisons = gpo.preferences.read_comparisons({_quoted(state.file)})",
            f"problem = gpo.PreferenceProblem.from_comparisons(comparisons{options})",
        ]
    match state.preferences:
        case "annotators":
            made = f"gpo.mixture_of_annotators(gpo.bradley_terry({rows(state.annotators, 'annotators', least=2)!r}))"
        case "matrix":
            made = f"gpo.from_matrix({rows(state.matrix, 'matrix', least=2)!r})"
        case kind:
            made = f"gpo.bradley_terry({numbers(state.rewards, 'rewards')!r})"
            if kind == "cycle":
                made = f"gpo.cyclic({made}, {number(state, 'cycle', 0, 1)!r})"
    return [*lines, f"preference = {made}", f"problem = gpo.PreferenceProblem(preference{options})"]


def _losses(state: State) -> str:
    order = int(number(state, "order", 0, 20, whole=True))
    low, high, points = MARGINS
    lines = [
        "",
        "def polynomial(f, z):",
        '    """The Taylor polynomial of f at 0; NaN where f has a kink there."""',
        "    try:",
        f"        series = sympy.Poly(gpo.taylor(f, order={order}), f.symbol)",
        "    except ValueError:",
        "        return np.full_like(z, np.nan)",
        "    return np.polyval(np.array([float(c) for c in series.all_coeffs()]), z)",
        "",
        "",
        *_loss_lines(losses_of(state)),
        f"z = np.linspace({low!r}, {high!r}, {points})",
        'tables = [pd.DataFrame({"loss": f.name, "z": z, "f": f(z), "taylor": polynomial(f, z)}) for f in losses]',
        *_JOINED,
    ]
    return _text("Losses and their Taylor polynomials at 0.", lines, imports="import sympy")


def _link(state: State) -> str:
    lines = [
        *_loss_lines(losses_of(state)),
        "eta = np.arange(1, 200) / 200",
        'tables = [pd.DataFrame({"loss": f.name, "eta": eta, "margin": gpo.optimal_margin(f, eta)}) for f in losses]',
        *_JOINED,
    ]
    return _text("Links: the margin z*(η) at which η f(z) + (1−η) f(−z) is least.", lines)


def _policies(state: State, files: Files) -> str:
    lines = [
        *_problem_lines(state, files),
        *_beta_lines(state),
        "tables = []",
        "for f, beta in zip(losses, betas):",
        "    found = problem.solve(f, beta)",
        "    frame = found.to_frame()",
        '    frame.insert(0, "loss", f.name)',
        '    frame.insert(1, "beta", beta)',
        '    frame.insert(2, "status", found.status.value)',
        "    tables.append(frame)",
        *_JOINED,
    ]
    return _text("The exact optimal policies.", lines)


def _regularizers(state: State, files: Files) -> str:
    low, high, points = BETAS
    lines = [
        *_problem_lines(state, files),
        *_loss_lines(losses_of(state)),
        f"table = gpo.solve_grid(problem, losses, np.logspace({low!r}, {high!r}, {points}))",
        "kappa = {f.name: float(f.curvature_ratio) for f in losses}",
        'table["strength"] = table["loss"].map(kappa) * table["beta"]',
        'table = table[["loss", "beta", "strength", "kl", "mu_squared_loss", "status"]]',
        'print(table.to_csv(index=False), end="")',
    ]
    return _text("KL(π‖πref) and ½E_μ[ρ²] of the exact optima over β.", lines)


def _training(state: State, files: Files) -> str:
    rate, steps, every = training_of(state)
    lines = [
        *_problem_lines(state, files),
        *_beta_lines(state),
        "runs = gpo.train_many(",
        "    [problem] * len(losses),",
        "    losses,",
        "    betas,",
        f'    optimizer="{state.optimizer}",',
        f"    learning_rate={rate!r},",
        f"    steps={steps},",
        f"    record_every={every},",
        '    keep=["policies"],',
        ")",
        "tables = []",
        "for f, beta, run in zip(losses, betas, runs):",
        '    columns = {"objective": run.columns["loss"]}',
        '    columns |= {key: run.columns[key] for key in ("kl", "mu_squared_loss", "max_margin")}',
        '    frame = pd.DataFrame({"loss": f.name, "beta": beta, "step": run.columns["step"], **columns})',
        '    policies = pd.DataFrame(run.policies, columns=[f"p({item})" for item in problem.items])',
        "    tables.append(pd.concat([frame, policies], axis=1))",
        *_JOINED,
    ]
    return _text("The course of training.", lines)


def _mixture(state: State) -> str:
    reference, behavior = mixtures_of(state)
    end = reach(reference, behavior)
    k = reference.n_components
    weights = f"np.full({k}, 1 / {k})"
    lines = []
    if state.weights.strip():
        lines, weights = _shares("weights", state.weights, "weights"), "weights"
    means, scale = numbers(state.modes, "modes"), number(state, "scale", 0.05, 20)
    mean, width = number(state, "mean", -100, 100), number(state, "width", 0.05, 20)
    lines += [
        f"reference = gpo.GaussianMixture({weights}, {means!r}, np.full({k}, {scale!r}))",
        f"behavior = gpo.GaussianMixture([1.0], [{mean!r}], [{width!r}])",
        f"grid = np.linspace({-end!r}, {end!r}, {SHIFTS})  # of the shift c: π_c(y) = πref(y − c)",
        "found = gpo.landscape(reference, reference, behavior, grid=grid)",
        'values = found.table[["c", "kl", "mu_squared_loss"]].assign(minimum="")',
        'minima = found.minima_table.rename(columns={"objective": "minimum"})[list(values)]',
        "table = pd.concat([values, minima], ignore_index=True)",
        'print(table.to_csv(index=False), end="")',
    ]
    return _text("KL(π_c‖πref) and ½E_μ[ρ²] of a mixture of Gaussians over its shift c.", lines)
