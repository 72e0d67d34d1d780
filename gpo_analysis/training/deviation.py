r"""How far a policy goes from its reference: on the responses that were compared, and on those that nobody compared.

On μ's support the size is set by the link: alone, a pair comes to rest at ``ρ = z*(η)/β``. Off it a policy with free
logits does not move but for the normaliser, and one with features moves wherever its features point.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from gpo_analysis.analysis import optimal_margin
from gpo_analysis.arrays import BoolArray, FloatArray
from gpo_analysis.losses import MarginLoss, get_margin_loss
from gpo_analysis.preferences.validation import check_positive
from gpo_analysis.showing import Shown
from gpo_analysis.showing.charts import Panel, bars
from gpo_analysis.tabular.features import check_features
from gpo_analysis.tabular.problem import PreferenceProblem


@dataclass(frozen=True)
class Deviation(Shown):
    """Sizes of log π/πref in nats, on the compared responses and off them (NaN where there are none off).

    Attributes
    ----------
    largest_on, largest_off : float
        Largest |log π/πref|.
    mean_on, mean_off : float
        Its mean over the responses, each counted once.
    mass_off, reference_mass_off : float
        What π and πref give to responses that nobody compared (a mean over contexts).
    """

    largest_on: float
    mean_on: float
    largest_off: float
    mean_off: float
    mass_off: float
    reference_mass_off: float

    def _panel(self) -> Panel:
        parts = {"compared": [self.largest_on, self.mean_on], "never compared": [self.largest_off, self.mean_off]}
        return bars("how far the policy moved", "", "|log π/πref|  [nats]", ["largest", "mean"], parts)


def compared(problem: PreferenceProblem) -> BoolArray:
    """Which responses take part in some comparison, shape (n,) or (m, n).

    Examples
    --------
    >>> compared(PreferenceProblem([[0.5] * 3] * 3, behavior=[0.5, 0.5, 0.0]))
    array([ True,  True, False])
    """
    pairs = problem.directed_pairs()
    found = np.zeros((problem.contexts, problem.n), dtype=np.bool_)
    found[pairs.context, pairs.winner] = True
    found[pairs.context, pairs.loser] = True
    return found.reshape(problem.shape)


def deviation(problem: PreferenceProblem, log_ratio: ArrayLike) -> Deviation:
    """Size of the log-ratios on and off the compared responses.

    Parameters
    ----------
    problem : PreferenceProblem
    log_ratio : array, shape (n,) or (m, n)
        log π/πref; a constant a context is taken out by normalising.

    Examples
    --------
    >>> problem = PreferenceProblem([[0.5] * 3] * 3, behavior=[0.5, 0.5, 0.0])
    >>> found = deviation(problem, [1.0, -1.0, 0.0])
    >>> round(found.largest_on, 4), round(found.largest_off, 4), round(found.mass_off, 4)
    (1.309, 0.309, 0.2447)
    """
    h = np.asarray(log_ratio, dtype=np.float64)
    if h.shape != problem.shape or not np.isfinite(h).all():
        raise ValueError(f"log_ratio must be finite and of shape {problem.shape}, got {log_ratio!r}")
    policy, normalised = _normalised(problem, h)
    on, size = compared(problem), np.abs(normalised)
    off = ~on
    shares = problem.shares().reshape(-1, 1)

    def mass(weights: FloatArray) -> float:
        table = np.where(off, weights, 0.0).reshape(problem.contexts, problem.n)
        return float(np.sum(shares * table))

    return Deviation(
        float(size[on].max()),
        float(size[on].mean()),
        float(size[off].max()) if off.any() else float("nan"),
        float(size[off].mean()) if off.any() else float("nan"),
        mass(policy),
        mass(problem.reference),
    )


def link_log_ratio(problem: PreferenceProblem, loss: MarginLoss | str, beta: float) -> FloatArray:
    r"""log π/πref predicted from the link: ``u_i = Σ_j μ_j z*(η_ij)/β``, normalised.

    The least-squares fit of potentials to the resting margins of the pairs, weighted as two draws from μ are; exact
    for the squared loss whatever the preferences, and for every loss with a logit link under Bradley–Terry.
    Responses off μ's support stay at ``u = 0``, where training of free logits leaves them.

    Parameters
    ----------
    problem : PreferenceProblem
        With a preference matrix.
    loss : MarginLoss or str
    beta : float

    Returns
    -------
    array, shape (n,) or (m, n)
        NaN where a resting margin is infinite (η = 1 and a loss whose tail never stops).

    Raises
    ------
    ValueError
        For observed comparisons, whose pairs are not draws from μ.

    Examples
    --------
    >>> problem = PreferenceProblem([[0.5, 0.8], [0.2, 0.5]])
    >>> link_log_ratio(problem, "dpo", 1.0).round(4)
    array([ 0.47  , -0.9163])
    """
    f = get_margin_loss(loss)
    scale = check_positive(beta, "beta")
    if problem.preference is None:
        raise ValueError("observed comparisons carry their own weights: solve them instead")
    mu = problem.behavior
    together = (mu[..., :, None] > 0) & (mu[..., None, :] > 0)
    eta = np.where(together, problem.preference, 0.5)
    margin = np.asarray(optimal_margin(f, eta), dtype=np.float64)
    if not np.isfinite(margin).all():
        return np.full(problem.shape, np.nan)
    centred = np.where(mu > 0, np.sum(mu[..., None, :] * margin, axis=-1), 0.0) / scale
    centred = centred - np.where(mu > 0, _mean_on(centred, mu > 0), 0.0)
    return _normalised(problem, centred)[1]


def chosen_slope(
    problem: PreferenceProblem, features: ArrayLike | None = None, *, policy: ArrayLike | None = None
) -> float:
    r"""Which way the mean log-probability of the chosen responses starts, from the problem alone.

    With W and L the distributions of winners and losers over the responses and Φ the features (the identity for free
    logits), descent from π moves ``E log π(y_w)`` at the rate ``β |f′(0)| ⟨Φᵀ(W − π), Φᵀ(W − L)⟩`` at π = πref: f and β
    set the clock, not the sign. With ``M = ½(W + L)`` it is ``½‖Φᵀ(W − L)‖² + ⟨Φᵀ(M − π), Φᵀ(W − L)⟩``: nothing falls
    at the start unless π puts its mass elsewhere than the pairs do. (For one pair this is the CHES score of
    Razin et al., arXiv 2410.08847, where π's own mean feature is left out.)

    Parameters
    ----------
    problem : PreferenceProblem
    features : array, shape (n, d) or (m, n, d), optional
    policy : array, shape (n,) or (m, n), optional
        π, by default πref.

    Returns
    -------
    float
        In nats for each unit of β |f′(0)| × time.

    Examples
    --------
    >>> round(chosen_slope(PreferenceProblem([[0.5, 0.8], [0.2, 0.5]])), 9)  # pairs drawn from πref: it rises
    0.18
    """
    pairs = problem.directed_pairs()
    here = problem.reference if policy is None else np.asarray(policy, dtype=np.float64)
    if here.shape != problem.shape:
        raise ValueError(f"policy must have shape {problem.shape}, got {here.shape}")
    n, size = problem.n, problem.n * problem.contexts
    base = n * pairs.context
    winners = np.bincount(base + pairs.winner, pairs.weight, size)
    losers = np.bincount(base + pairs.loser, pairs.weight, size)
    seen = np.bincount(pairs.context, pairs.weight, problem.contexts) / pairs.weight.sum()
    toward = winners / pairs.weight.sum() - (seen[:, None] * here.reshape(problem.contexts, n)).ravel()
    push = winners - losers
    if features is not None:
        phi = check_features(features, problem).reshape(size, -1)
        toward, push = phi.T @ toward, phi.T @ push
    return float(toward @ push)


def _normalised(problem: PreferenceProblem, log_ratio: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The policy, and log π/πref."""
    logits = np.log(problem.reference) + log_ratio
    total = np.logaddexp.reduce(logits, axis=-1, keepdims=True)
    return np.exp(logits - total), log_ratio - total


def _mean_on(values: FloatArray, where: BoolArray) -> FloatArray:
    return np.asarray(np.sum(np.where(where, values, 0.0), axis=-1, keepdims=True) / where.sum(axis=-1, keepdims=True))
