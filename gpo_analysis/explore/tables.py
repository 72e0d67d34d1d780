"""What the explorer shows, as one table a view; what depends on f, or on f and the preferences, alone is kept."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import sympy

from gpo_analysis.analysis import LossAnalysis, analyze, optimal_margin, taylor
from gpo_analysis.arrays import FloatArray
from gpo_analysis.explore.fields import (
    Files,
    betas_of,
    losses_of,
    mixtures_of,
    number,
    problem_of,
    training_of,
)
from gpo_analysis.explore.state import State
from gpo_analysis.gaussian import GaussianMixture, Landscape, landscape
from gpo_analysis.losses import MarginLoss
from gpo_analysis.losses.lookup import get_margin_loss
from gpo_analysis.tabular import Fit, PreferenceProblem, fit
from gpo_analysis.tabular.grid import square_at_each
from gpo_analysis.training import Trajectory, train_many

if TYPE_CHECKING:
    import pandas as pd

MARGINS = (-5.0, 5.0, 401)
BETAS = (-3.0, 2.0, 101)  # powers of ten
SHIFTS = 161


def margins() -> FloatArray:
    """The z at which losses are shown."""
    return np.linspace(*MARGINS)


@lru_cache(maxsize=256)
def _polynomial(loss: MarginLoss, order: int) -> FloatArray:
    """Coefficients of the Taylor polynomial at 0, the highest first; NaN where f has not so many derivatives."""
    try:
        series = sympy.Poly(taylor(loss, order), loss.symbol)
    except ValueError:
        return np.full(1, np.nan)
    return np.array([float(c) for c in series.all_coeffs()])


@lru_cache(maxsize=256)
def _link(loss: MarginLoss) -> FloatArray:
    return optimal_margin(loss, np.arange(1, 200) / 200)


@lru_cache(maxsize=256)
def fit_of(problem: PreferenceProblem, loss: MarginLoss) -> Fit:
    """The implicit reward that a loss fits; kept, since no β takes part in it."""
    return fit(problem, loss)[0]


def losses_table(state: State) -> pd.DataFrame:
    """Columns loss, z, f and taylor (the polynomial of the state's order)."""
    import pandas as pd

    z, order = margins(), int(number(state, "order", 0, 20, whole=True))
    return pd.concat(
        [
            pd.DataFrame({"loss": loss.name, "z": z, "f": loss(z), "taylor": np.polyval(_polynomial(loss, order), z)})
            for loss in losses_of(state)
        ],
        ignore_index=True,
    )


def link_table(state: State) -> pd.DataFrame:
    """Columns loss, eta and margin, z*(η): where η f(z) + (1−η) f(−z) is least."""
    import pandas as pd

    eta = np.arange(1, 200) / 200
    return pd.concat(
        [pd.DataFrame({"loss": loss.name, "eta": eta, "margin": _link(loss)}) for loss in losses_of(state)],
        ignore_index=True,
    )


def policies_table(state: State, files: Files) -> pd.DataFrame:
    """Exact optima: columns loss, beta, status, item, reference, policy, log_ratio."""
    import pandas as pd

    problem, parts = problem_of(state, files), []
    for name, beta in betas_of(state)[0].items():
        found = fit_of(problem, get_margin_loss(name)).solution(beta)
        frame = found.to_frame()
        frame.insert(0, "loss", name)
        frame.insert(1, "beta", beta)
        frame.insert(2, "status", found.status.value)
        parts.append(frame)
    return pd.concat(parts, ignore_index=True)


def regularizers_table(state: State, files: Files) -> pd.DataFrame:
    """KL and ½E_μ[ρ²] of the exact optima over β: columns loss, beta, strength, kl, mu_squared_loss, status."""
    import pandas as pd

    problem, betas = problem_of(state, files), np.logspace(*BETAS)
    parts = []
    for loss in losses_of(state):
        found = fit_of(problem, loss)
        kappa = float(loss.curvature_ratio)
        columns = {
            "beta": betas,
            "strength": kappa * betas,
            "kl": found.kl(betas),
            "mu_squared_loss": square_at_each(np.asarray(found.half_square(1.0)), betas),
        }
        parts.append(pd.DataFrame({"loss": loss.name, **columns, "status": found.status.value}))
    return pd.concat(parts, ignore_index=True)


def runs(state: State, files: Files) -> dict[str, Trajectory]:
    """A training run a loss, by name; kept, so that moving through its steps costs nothing."""
    rate, steps, every = training_of(state)
    betas = betas_of(state)[0]
    return _runs(problem_of(state, files), tuple(betas.items()), state.optimizer, rate, steps, every)


@lru_cache(maxsize=16)
def _runs(
    problem: PreferenceProblem,
    betas: Sequence[tuple[str, float]],
    optimizer: str,
    rate: float,
    steps: int,
    every: int,
) -> dict[str, Trajectory]:
    found = train_many(
        [problem] * len(betas),
        [get_margin_loss(name) for name, _ in betas],
        [beta for _, beta in betas],
        optimizer=optimizer,  # type: ignore[arg-type]
        learning_rate=rate,
        steps=steps,
        record_every=every,
        keep=["policies"],
    )
    return {name: run for (name, _), run in zip(betas, found, strict=True)}


def training_table(state: State, files: Files) -> pd.DataFrame:
    """Columns loss, beta, step, objective, kl, mu_squared_loss, max_margin, and the probability of each response."""
    import pandas as pd

    problem, betas, parts = problem_of(state, files), betas_of(state)[0], []
    for name, run in runs(state, files).items():
        columns = {"objective": run.columns["loss"]}
        columns |= {key: run.columns[key] for key in ("kl", "mu_squared_loss", "max_margin")}
        assert run.policies is not None
        frame = pd.DataFrame({"loss": name, "beta": betas[name], "step": run.columns["step"], **columns})
        policies = pd.DataFrame(run.policies, columns=[f"p({item})" for item in problem.items])
        parts.append(pd.concat([frame, policies], axis=1))
    return pd.concat(parts, ignore_index=True)


def reach(reference: GaussianMixture, behavior: GaussianMixture) -> float:
    """How far shifts go: a component beyond the span of all means, in quarters."""
    means = np.concatenate([reference.means, behavior.means])
    span = float(means.max() - means.min()) + 4.0 * float(reference.scales.max())
    return float(np.ceil(4.0 * span) / 4.0)


def mixture_landscape(state: State) -> Landscape:
    """Both regularizers of πref shifted by c, with their minima; kept for each mixture."""
    return _landscape(state.with_(**{name: getattr(State, name) for name in _BESIDE}))


_BESIDE = (
    "losses", "view", "by", "amount", "preferences", "rewards", "cycle", "annotators", "matrix", "file", "mu",
    "reference", "order", "optimizer", "rate", "steps", "step", "shift",
)  # fmt: skip


@lru_cache(maxsize=32)
def _landscape(state: State) -> Landscape:
    reference, behavior = mixtures_of(state)
    end = reach(reference, behavior)
    return landscape(reference, reference, behavior, grid=np.linspace(-end, end, SHIFTS))


def mixture_table(state: State) -> pd.DataFrame:
    """Columns c, kl, mu_squared_loss, and minimum: of which of the two the row is a local minimum, "" on the grid."""
    import pandas as pd

    found = mixture_landscape(state)
    grid = found.table[["c", "kl", "mu_squared_loss"]].assign(minimum="")
    least = found.minima_table.rename(columns={"objective": "minimum"})[list(grid)]
    return pd.concat([grid, least], ignore_index=True)


def table(state: State, files: Files | None = None) -> pd.DataFrame:
    """The numbers of the view that the state names.

    Parameters
    ----------
    state : State
    files : mapping of str to Comparisons, optional
        By the name that ``state.file`` has.

    Raises
    ------
    FieldError
        A ValueError, with the field that is wrong.

    Examples
    --------
    >>> shown = table(State(losses=("dpo",), view="policies", rewards="0, 1", amount="1"))
    >>> shown[["loss", "item", "policy"]].round(4).to_csv(index=False).splitlines()
    ['loss,item,policy', 'logistic,0,0.2689', 'logistic,1,0.7311']
    """
    given = {} if files is None else files
    match state.view:
        case "losses":
            return losses_table(state)
        case "link":
            return link_table(state)
        case "policies":
            return policies_table(state, given)
        case "regularizers":
            return regularizers_table(state, given)
        case "training":
            return training_table(state, given)
        case _:
            return mixture_table(state)


def analyses(state: State) -> list[LossAnalysis]:
    """What follows from each f alone."""
    return [analyze(loss) for loss in losses_of(state)]


def notes(state: State, files: Files | None = None) -> list[str]:
    """What is to be said of the view beside its numbers, a line each: losses without a β, without an optimum, …"""
    given = {} if files is None else files
    found: list[str] = []
    if state.view in ("policies", "training"):
        found += betas_of(state)[1]
    if state.view in ("policies", "regularizers"):
        problem = problem_of(state, given)
        for loss in losses_of(state):
            one = fit_of(problem, loss)
            if not one.converged or one.reason:
                found.append(f"{loss.name}: {one.status.value}" + (f", {one.reason}" if one.reason else ""))
    if state.view == "training":
        found += [f"{name}: {run.reason}" for name, run in runs(state, given).items() if not run.finished]
    if state.view == "losses":
        order = int(number(state, "order", 0, 20, whole=True))
        for loss in losses_of(state):
            if np.isnan(_polynomial(loss, order)).any():
                found.append(f"{loss.name} has no Taylor polynomial of order {order} at 0: it has a kink there")
    return found
