r"""Training of softmax policies on a preference problem or on observed comparisons.

The parameters are logits θ, ``π = softmax(θ)``, or feature weights w, ``π ∝ πref exp(Φw)``; the objective is
``E f(βρ)`` (Tang et al., arXiv 2402.05749), exactly, or over mini-batches drawn with replacement. Optimisers:

- ``"gd"``: ``θ ← θ − lr ∇L``;
- ``"adam"``: Kingma & Ba, arXiv 1412.6980, with β₁ = 0.9, β₂ = 0.999, ε = 1e-8 and bias correction, as torch has it;
- ``"flow"``: ``dθ/dt = −∇L``, integrated to a tight tolerance (:mod:`.flow`). Step k stands for the time k·lr, so that
  descent and flow share a clock.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

from numpy.typing import ArrayLike

from gpo_analysis.losses import Loss, MarginLoss, TwoRatioLoss
from gpo_analysis.progress import Progress, followed
from gpo_analysis.tabular.features import check_features
from gpo_analysis.training.descent import Descent
from gpo_analysis.training.flow import flow
from gpo_analysis.training.settings import Data, aligned, check_resume, check_settings, starting_points
from gpo_analysis.training.trajectory import Trajectory


def train(
    problem: Data,
    loss: Loss | str,
    beta: float,
    *,
    optimizer: Literal["gd", "flow", "adam"] = "gd",
    learning_rate: float,
    steps: int,
    batch_size: int | None = None,
    seed: int = 0,
    features: ArrayLike | None = None,
    initial: ArrayLike | None = None,
    record_every: int = 1,
    refresh_every: int = 0,
    keep: Collection[str] = (),
    resume: Trajectory | None = None,
) -> Trajectory:
    """Train one policy and record how it goes.

    Parameters
    ----------
    problem : PreferenceProblem or Comparisons
        With a preference matrix the population loss is descended, with comparisons (uniform πref; make a problem of
        them for another) the loss of that sample. ``problem.sample(size, seed=…)`` draws one.
    loss : MarginLoss, TwoRatioLoss or str
        Of two log-ratios ``E F(βh_w, βh_l)`` is descended, equal draws with F(βh_i, βh_i) included.
    beta : float
        Finite and positive.
    optimizer : {"gd", "flow", "adam"}
    learning_rate : float
        Finite and positive; for the flow the time a step stands for.
    steps : int
        Steps in all, those of ``resume`` included.
    batch_size : int, optional
        Pairs drawn for each step, with replacement, by their weights (equal draws, which teach nothing, included).
        None: the whole objective at every step, no randomness.
    seed : int
        Of the mini-batches.
    features : array, shape (n, d) or (m, n, d), optional
        Φ: the policy is πref exp(Φw)/Z, so that responses that are never compared move with those that are. Without it
        every logit is free.
    initial : array, shape (n,) or (m, n), or (d,) with features, optional
        Logits or weights to start from; by default those of πref (log πref, or zero weights).
    record_every : int
        Records at step 0, at each multiple of this, and at the last step.
    refresh_every : int
        0: μ stays as it is. k: at every k-th step, from the first, μ is set to the present policy (on-policy for k = 1;
        sampling itself is not differentiated). Needs a preference matrix and whole batches; the flow takes 0 or 1.
        Loss, margins and ``mu_squared_loss`` are then under the μ of the step.
    keep : collection of str
        Any of "policies", "logits", "gradients": arrays to keep at the recorded steps.
    resume : Trajectory, optional
        Continue this run, made with the same settings, up to ``steps``. What comes out has the bits of a run that was
        never interrupted; trajectories pickle, so that a long run can be made, and kept, in parts.

    Returns
    -------
    Trajectory

    Raises
    ------
    ValueError
        For settings out of range, naming them, or a ``resume`` made with other ones.

    Examples
    --------
    Two responses, the first always preferred: IPO comes to rest at margin 1/β, π = σ(1/β).

    >>> from gpo_analysis.tabular import PreferenceProblem
    >>> problem = PreferenceProblem([[0.5, 1.0], [0.0, 0.5]])
    >>> run = train(problem, "ipo", beta=1.0, learning_rate=0.5, steps=60, record_every=20)
    >>> run
    Trajectory(4 records to step 60, finished: 60 steps of gd)
    >>> run.final_policy.round(4)
    array([0.7311, 0.2689])
    """
    return train_many(
        [problem],
        [loss],
        [beta],
        [seed],
        optimizer=optimizer,
        learning_rate=learning_rate,
        steps=steps,
        batch_size=batch_size,
        features=features,
        initial=initial,
        record_every=record_every,
        refresh_every=refresh_every,
        keep=keep,
        resume=None if resume is None else [resume],
    )[0]


def train_many(
    problems: Data | Sequence[Data],
    losses: Loss | str | Sequence[Loss | str],
    betas: float | Sequence[float],
    seeds: int | Sequence[int] = 0,
    *,
    optimizer: Literal["gd", "flow", "adam"] = "gd",
    learning_rate: float,
    steps: int,
    batch_size: int | None = None,
    features: ArrayLike | None = None,
    initial: ArrayLike | None = None,
    record_every: int = 1,
    refresh_every: int = 0,
    keep: Collection[str] = (),
    resume: Sequence[Trajectory] | None = None,
    progress: bool | Progress = False,
) -> list[Trajectory]:
    """Train many policies side by side, as one array computation; each run has the bits of :func:`train` alone.

    Parameters
    ----------
    problems, losses, betas, seeds : one, or a sequence of R of them
        Run r has the r-th of each; what is given once is shared. All problems have the same contexts and responses.
        Runs of one loss are fastest side by side.
    initial : array, as in :func:`train`, or with a first axis of R, optional
        A start for each run.
    resume : sequence of R trajectories, optional
    progress : bool or function
        A bar where standard error is a terminal, or a function of the share done and what is next.
    **others : as of :func:`train`
        Shared by all runs.

    Returns
    -------
    list of Trajectory
        In the order of the runs.

    Raises
    ------
    ValueError
        As :func:`train`, and for sequences of different lengths.

    Examples
    --------
    >>> from gpo_analysis.tabular import PreferenceProblem
    >>> problem = PreferenceProblem([[0.5, 0.8], [0.2, 0.5]])
    >>> runs = train_many(problem, "dpo", [0.1, 1.0], optimizer="adam", learning_rate=0.1, steps=100)
    >>> [round(float(run.columns["loss"][-1]), 4) for run in runs]
    [0.5974, 0.5968]
    """
    data, fs, scales, streams = aligned(problems, losses, betas, seeds)
    settings = check_settings(optimizer, learning_rate, steps, batch_size, record_every, refresh_every, keep)
    phi = None if features is None else check_features(features, data[0])
    starts = starting_points(data, phi, initial)
    runs = [
        {**settings, "problem": problem, "loss": f, "beta": scale, "seed": stream, "features": phi, "initial": start}
        for problem, f, scale, stream, start in zip(data, fs, scales, streams, starts, strict=True)
    ]
    earlier = check_resume(resume, runs, steps)
    if optimizer == "flow":
        return [
            flow(run, steps, old)
            for run, old in followed(zip(runs, earlier, strict=True), progress, "runs", named=False)
        ]
    found: dict[int, Trajectory] = {}
    for kind in (MarginLoss, TwoRatioLoss):
        mine = [r for r, run in enumerate(runs) if isinstance(run["loss"], kind)]
        if mine:
            ended = Descent([runs[r] for r in mine], steps, [earlier[r] for r in mine]).advance(progress)
            found |= dict(zip(mine, ended, strict=True))
    return [found[r] for r in range(len(runs))]
