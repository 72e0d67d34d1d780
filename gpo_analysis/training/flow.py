r"""Gradient flow ``dθ/dt = −∇L``: implicit Runge–Kutta with the exact Hessian where it is stiff, else explicit.

The flow is integrated afresh from each recorded time to the next, so that a run that was stopped at a record continues
to the bit. Losses with a jump in their slope (hinge) have no classical flow; where such a loss is piecewise linear and
convex its flow is a polygon, followed exactly (:mod:`.polygonal`), and other jumps are refused.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.integrate import solve_ivp

from gpo_analysis.arrays import FloatArray
from gpo_analysis.losses import MarginLoss, TwoRatioLoss
from gpo_analysis.solvers.ratio_objective import kinked
from gpo_analysis.training.objective import Objective
from gpo_analysis.training.polygonal import Polygon, has_jump
from gpo_analysis.training.recorder import Recorder, ended, logits_of, measure, pulled_back
from gpo_analysis.training.trajectory import TrainState, TrainStatus, Trajectory
from gpo_analysis.training.two_ratio import AnyObjective, stacked

RTOL, ATOL = 1e-10, 1e-12
STIFF = 50.0
"""Largest curvature times duration up to which the explicit method of order 8 is the cheaper one."""


def flow(run: dict[str, Any], steps: int, earlier: Trajectory | None) -> Trajectory:
    """Follow the gradient flow of one run to the time ``steps · learning_rate``.

    Parameters
    ----------
    run : dict
        Settings of the run, checked.
    steps : int
        A multiple of ``record_every``.
    earlier : Trajectory or None
        The part to continue.
    """
    on_policy = run["refresh_every"] > 0
    every, rate = run["record_every"], run["learning_rate"]
    if steps % every:
        raise ValueError(f"the flow's steps must be a multiple of record_every = {every}, got {steps}")
    objective = stacked([run["problem"]], [run["loss"]], [run["beta"]], renewable=on_policy)
    features = None if run["features"] is None else run["features"].reshape(objective.size, -1)
    recorder = Recorder(run["keep"], [earlier], every)
    parameters = run["initial"].ravel() if earlier is None else earlier.state.parameters
    step = 0 if earlier is None else earlier.state.step
    failed_before = earlier is not None and earlier.status is TrainStatus.FAILED
    message = earlier.reason if earlier is not None and failed_before else ""
    if isinstance(run["loss"], TwoRatioLoss) and kinked(run["loss"]):
        raise ValueError(f"{run['loss'].name} has a kink, where its flow is not defined: train it by 'gd' or 'adam'")
    jumps = isinstance(run["loss"], MarginLoss) and has_jump(run["loss"])
    integrate = _polygonal if jumps else _smooth
    if on_policy and integrate is _polygonal:
        raise ValueError(f"{run['loss'].name} has a jump in its slope: the flow takes refresh_every = 0 with it")
    start_loss = np.nan if earlier is None else earlier.state.start_loss
    while not message:
        logits = logits_of(parameters[None], features, objective)
        here = objective.renewed(logits) if on_policy else objective
        record, _ = measure(here, logits, features, run["keep"])
        recorder.add(step, step * rate, record, np.array([True]))
        start_loss = float(record["loss"][0]) if step == 0 else start_loss
        if step == steps:
            break
        reached, message = integrate(objective, parameters, features, every * rate, on_policy)
        if not message:
            parameters, step = reached, step + every
    empty = np.zeros_like(parameters)
    state = TrainState(step, parameters.copy(), (empty, empty), None, start_loss)
    outcome = ended(state, float(recorder.loss[0]), "flow", on_policy)
    if message:
        outcome = TrainStatus.FAILED, message if failed_before else f"after time {step * rate:g}: {message}"
    final = logits_of(parameters[None], features, objective)[0]
    return recorder.trajectory(0, outcome, final, state, run)


def _smooth(
    objective: AnyObjective, parameters: FloatArray, features: FloatArray | None, duration: float, on_policy: bool
) -> tuple[FloatArray, str]:
    """Parameters after ``duration``, and why that failed or an empty text."""

    def velocity(_: float, w: FloatArray) -> FloatArray:
        logits = logits_of(w[None], features, objective)
        here = objective.renewed(logits) if on_policy else objective
        return np.asarray(-pulled_back(here.gradient(logits), features)[0])

    def jacobian(_: float, w: FloatArray) -> FloatArray:
        hessian = objective.hessian(logits_of(w[None], features, objective))
        return np.asarray(-hessian if features is None else -(features.T @ hessian @ features))

    logits = logits_of(parameters[None], features, objective)
    there = objective.renewed(logits) if on_policy else objective
    curvature = there.hessian(logits) if features is None else features.T @ there.hessian(logits) @ features
    options: dict[str, Any] = {"method": "DOP853"}
    with np.errstate(over="ignore", invalid="ignore"):  # a flow that runs off to infinity is said by the status
        if not np.linalg.norm(curvature) * duration <= STIFF:
            options = {"method": "Radau", "jac": None if on_policy else jacobian}
        try:
            found = solve_ivp(velocity, (0.0, duration), parameters, t_eval=[duration], rtol=RTOL, atol=ATOL, **options)
        except ValueError as error:  # scipy's answer to a velocity that is not finite
            return parameters, str(error)
    if not found.success or not np.isfinite(found.y).all():
        return parameters, found.message
    return found.y[:, -1], ""


def _polygonal(
    objective: AnyObjective, parameters: FloatArray, features: FloatArray | None, duration: float, on_policy: bool
) -> tuple[FloatArray, str]:
    assert not on_policy
    assert isinstance(objective, Objective)
    return Polygon.of(objective, features).follow(parameters, duration)
