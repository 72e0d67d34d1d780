"""The predictions of docs/predictions/llm-predicted-training.md, and E by method, f, β and step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from experiments._errors import (
    RUN,
    Errors,
    Where,
    between,
    ends,
    equal,
    every,
    log_ratio,
    one_of,
    root_mean_square,
    stated,
)
from gpo_analysis.arrays import FloatArray
from gpo_analysis.losses import PAPER_LOSSES
from gpo_analysis.statistics import Interval

QUANTITIES = ("mean_rho", "kl", "mu_squared_loss", "chosen_logp")
SMOOTH = tuple(name for name in PAPER_LOSSES if name != "hinge")
COIN = 0.5  # share of flips at which labels are tossed


def summarise(found: Errors) -> list[dict[str, Any]]:
    """E by method, optimiser, f and strength at the last step, and by step over all f and strengths up to 0.8."""
    rows = []
    for method, quantities in (("tangent", QUANTITIES), ("scalar", QUANTITIES), ("direction", ("mean_rho",))):
        for optimizer in ("adamw", "sgd"):
            base = found.base(optimizer)
            part = found.rows(base, method)
            for quantity in quantities:
                head = {"method": method, "optimizer": optimizer, "quantity": quantity}
                for (loss, strength), _ in part.groupby(["loss", "strength"], sort=False):
                    where = every(base, equal("loss", loss), equal("strength", strength), equal("step", found.last))
                    value = found.rms(where, method, quantity)
                    rows.append(head | {"loss": loss, "strength": strength, "step": found.last} | ends(value))
                for step in sorted(set(part["step"])):
                    where = every(base, between("strength", 0.01, 0.8), equal("step", step))
                    rows.append(head | {"loss": "all", "step": step} | ends(found.rms(where, method, quantity)))
    return rows


def claims(found: Errors, steps: pd.DataFrame) -> list[dict[str, Any]]:
    """The predictions of docs/predictions/llm-predicted-training.md in their order, a row each, with what was found."""
    adam, sgd, last = found.base("adamw"), found.base("sgd"), equal("step", found.last)
    strong = between("strength", 0.2, np.inf)
    middle = one_of("strength", (0.2, 0.8))
    weak = between("strength", 0.01, 0.8)
    coin = every(equal("epsilon", COIN), last)
    real = every(between("epsilon", 0.0, COIN - 1e-9))
    rms = found.rms
    rows = [
        stated(1, "tangent: rms E(mean ρ), Adam, βκ ≥ 0.2, last step", "below", 0.10,
               rms(every(adam, strong, last), "tangent")),
        stated(2, "tangent: rms E(KL), the same runs", "below", 0.15, rms(every(adam, strong, last), "tangent", "kl")),
        stated(3, "tangent: rms E(mean ρ) below a KL of 0.2, all f, β, steps", "below", 0.05,
               rms(every(real, between("run_kl", 0.0, 0.2)), "tangent")),
        stated(4, "tangent: the same above a KL of 0.8", "above", 0.10,
               rms(every(real, between("run_kl", 0.8, np.inf)), "tangent")),
        stated(5, "tangent, KL 0.1 to 0.4: rms E(mean ρ) at βκ ≥ 0.8 less that at βκ ≤ 0.2", "within", 0.0,
               _same_kl(found, real), 0.03),
        stated(6, "two parts: rms E(mean ρ), Adam, βκ 0.05 to 0.8, all steps", "below", 0.10,
               rms(every(adam, weak), "scalar")),
        stated(7, "two parts: rms E(mean ρ), SGD, βκ 0.2 and 0.8, all steps", "below", 0.15,
               rms(every(sgd, middle), "scalar")),
        stated(8, "two parts: rms E(KL), Adam, βκ 0.05 to 0.8, last step", "below", 0.15,
               rms(every(adam, weak, last), "scalar", "kl")),
        stated(9, "two parts: rms E(mean ρ), Adam, βκ = 3.2, last step", "above", 0.10,
               rms(every(adam, equal("strength", 3.2), last), "scalar")),
    ]  # fmt: skip
    grid = every(adam, middle, last)
    smooth = found.rows(every(grid, one_of("loss", SMOOTH)), "direction")
    rows.append(
        stated(10, "one direction: median E(mean ρ), smooth f, Adam, βκ 0.2 and 0.8, last step", "below", -0.05,
               found.interval([smooth], "mean_rho", lambda part: np.nanmedian(log_ratio(*part))))
    )  # fmt: skip
    one, other = (found.rows(grid, method) for method in ("kappa", "direction"))
    worse = found.interval([one, other], "mean_rho", _rms_less)
    rows.append(stated(11, "κ alone: rms E(mean ρ) less that of one direction, the same runs", "above", 0.0, worse))
    one, other = (found.rows(every(base, middle, last), "scalar") for base in (adam, sgd))
    clocks = found.interval([one, other], "mean_rho", lambda a, b: np.nanmedian(_paired_difference(a, b)), paired=True)
    rows.append(
        stated(12, "Adam's clock less SGD's: median of predicted less measured log(m/m₀)", "within", 0.0, clocks, 0.10)
    )
    rows.append(stated(13, "seen samples: x in a ∝ (1 − 2ε)^(−x), ε = 0.2", "below", 2.0, _exponent(found)))
    varied = (found.prompts["rate"] != 1) | (found.prompts["epsilon"] != 0) | (found.prompts["batch"] != found.batch)
    other_runs = every(lambda table: varied.reindex(table.index), middle, equal("optimizer", "adamw"), real)
    rows.append(
        stated(14, "two parts: rms E(mean ρ) at another rate, batch or ε, all steps", "below", 0.10,
               rms(other_runs, "scalar"))
    )  # fmt: skip
    rows += _thermometer(found, coin)
    rows.append(_runaways(steps))
    chosen = rms(every(adam, strong, last), "tangent", "chosen_logp")
    rows.append(
        stated(20, "tangent: rms error of the chosen's log π, Adam, βκ ≥ 0.2, last step, nats", "below", 0.25, chosen)
    )
    held = found.rows(every(adam, equal("strength", 0.8), last), "scalar", "held")
    path = found.interval([held], "mean_rho", lambda part: np.nanmedian(log_ratio(*part)))
    rows.append(stated(21, "held samples, the limit run's path: median E(mean ρ), Adam, βκ = 0.8", "below", -0.1, path))
    unseen = rms(every(adam, strong, last), "tangent", "mean_rho", "held")
    rows.append(stated(22, "held samples, tangent: rms E(mean ρ), Adam, βκ ≥ 0.2, last step", "below", 0.25, unseen))
    return rows


def claims_of_fresh_seeds(found: Errors) -> list[dict[str, Any]]:
    """Claims 23 to 36, read off the first run and stated before fresh seeds were drawn; a row each."""
    adam, last = found.base("adamw"), equal("step", found.last)
    strong, middle, weak = (
        between("strength", 0.2, np.inf),
        one_of("strength", (0.2, 0.8)),
        between("strength", 0.01, 0.8),
    )
    coin = every(equal("epsilon", COIN), last, between("strength", 0.01, np.inf))
    quiet = every(coin, one_of("loss", ("logistic", "squared")))
    usual = every(quiet, equal("rate", 1.0), equal("batch", found.batch))
    hotter = every(quiet, lambda table: (table["rate"] != 1.0) | (table["batch"] != found.batch))
    real = every(between("epsilon", 0.0, COIN - 1e-9), between("run_kl", 0.1, 0.4), middle)
    by = [found.rows(every(real, found.base(optimizer)), "tangent") for optimizer in ("adamw", "sgd")]
    varied = every(middle, equal("optimizer", "adamw"))
    flips = every(varied, equal("rate", 1.0), equal("batch", found.batch), between("epsilon", 0.01, COIN - 1e-9))
    limits_far = every(
        varied, equal("epsilon", 0.0), lambda table: (table["rate"] != 1.0) | (table["batch"] != found.batch)
    )
    rows = [
        stated(23, "thermometer with 1 − Σμ²: log of mean predicted over mean measured KL over seeds, B = 16", "within",
               0.0, _of_means(found, usual), 0.25),
        stated(24, "the same at twice the rate or B = 64", "within", 0.0, _of_means(found, hotter), 0.25),
        stated(25, "tangent, KL 0.1 to 0.4, βκ 0.2 and 0.8: rms E(mean ρ) by Adam less that by SGD", "above", 0.0,
               found.interval(by, "mean_rho", _rms_less)),
        stated(26, "tangent, KL 0.1 to 0.4: rms E(mean ρ) at βκ ≥ 0.8 less that at βκ ≤ 0.2", "below", 0.0,
               _same_kl(found, every(between("epsilon", 0.0, COIN - 1e-9)))),
        stated(27, "two parts: rms E(mean ρ) at another rate or batch less that with flips", "above", 0.0,
               found.interval([found.rows(one, "scalar") for one in (limits_far, flips)], "mean_rho", _rms_less)),
        stated(28, "Spearman's correlation over seeds of a of the limit run with the two parts' rms E(mean ρ)", "above",
               0.0, _spread_and_error(found, every(adam, weak), every(adam, equal("strength", 0.0), last))),
    ]  # fmt: skip
    seeds = (
        (29, "1", 0.10, every(adam, strong, last), "tangent", "mean_rho", "seen"),
        (30, "2", 0.15, every(adam, strong, last), "tangent", "kl", "seen"),
        (31, "3", 0.05, every(between("epsilon", 0.0, COIN - 1e-9), between("run_kl", 0.0, 0.2)), "tangent",
         "mean_rho", "seen"),
        (32, "6", 0.10, every(adam, weak), "scalar", "mean_rho", "seen"),
        (33, "7", 0.15, every(found.base("sgd"), middle), "scalar", "mean_rho", "seen"),
        (34, "8", 0.15, every(adam, weak, last), "scalar", "kl", "seen"),
        (35, "20", 0.25, every(adam, strong, last), "tangent", "chosen_logp", "seen"),
        (36, "22", 0.25, every(adam, strong, last), "tangent", "mean_rho", "held"),
    )  # fmt: skip
    for number, of, bound, where, method, quantity, split in seeds:
        value, without = found.by_seed(where, method, quantity, split)
        lost = f", {len(without)} of {len(found.seeds)} seeds without a run left" if without else ""
        rows.append(stated(number, f"mean over seeds of a seed's own rms of claim {of}{lost}", "below", bound, value))
    return rows


def _of_means(found: Errors, where: Where) -> Interval | None:
    """Log of the mean over seeds predicted over that measured, of KL, mean over losses, strengths and conditions."""

    def statistic(part: tuple[FloatArray, FloatArray]) -> float:
        predicted, measured = (np.nanmean(np.where(np.isfinite(one), one, np.nan), axis=0) for one in part)
        return float(np.mean(np.log(predicted / measured)))

    return found.interval([found.rows(where, "thermometer")], "kl", statistic)


def _rms_less(a: tuple[FloatArray, FloatArray], b: tuple[FloatArray, FloatArray]) -> float:
    """Rms of E of one less that of the other."""
    return root_mean_square(log_ratio(*a)) - root_mean_square(log_ratio(*b))


def _spread_and_error(found: Errors, runs: Where, limit: Where) -> Interval | None:
    """Rank correlation over seeds of a = E[ρ²]/E[ρ]² of the limit run with a seed's rms E of the two parts."""
    limits = found.rows(limit, "tangent")
    groups = [found.rows(runs, "scalar"), limits.assign(mean_rho_predicted=limits["rho_squared"])]

    def statistic(part: tuple[FloatArray, FloatArray], one: tuple[FloatArray, FloatArray]) -> float:
        error = np.array([root_mean_square(of_seed) for of_seed in log_ratio(*part)])
        left = ~np.isnan(error)  # a seed whose runs all ran away has none
        error, spread = error[left], (one[0] / one[1] ** 2)[left, 0]
        alike = len(error) < 2 or np.ptp(error) == 0 or np.ptp(spread) == 0
        return float("nan") if alike else float(spearmanr(spread, error).statistic)

    return found.interval(groups, "mean_rho", statistic)


def _paired_difference(one: tuple[FloatArray, FloatArray], other: tuple[FloatArray, FloatArray]) -> FloatArray:
    """E of one less E of the other, run by run."""
    return log_ratio(*one) - log_ratio(*other)


def _same_kl(found: Errors, real: Where) -> Interval | None:
    """Rms of E at large β less that at small β, at equal KL."""
    near = every(real, between("run_kl", 0.1, 0.4))
    groups = [
        found.rows(every(near, between("strength", low, high)), "tangent") for low, high in ((0.8, np.inf), (0.0, 0.2))
    ]
    return found.interval(groups, "mean_rho", _rms_less)


def _exponent(found: Errors) -> Interval | None:
    """Of 1 − 2ε in a = E[s²]/E[s]² of the limit runs, last step."""
    flips = 0.2
    limits = every(equal("strength", 0.0), equal("optimizer", "adamw"), equal("rate", 1.0), equal("batch", found.batch))
    groups = [
        found.rows(every(limits, equal("epsilon", e), equal("step", found.last)), "tangent") for e in (0.0, flips)
    ]
    # the wide form wants predicted beside measured: here E[s²] beside E[s]
    groups = [group.assign(mean_rho_predicted=group["rho_squared"]) for group in groups]

    def exponent(zero: tuple[FloatArray, FloatArray], flipped: tuple[FloatArray, FloatArray]) -> float:
        a = [square / mean**2 for square, mean in (zero, flipped)]
        return float(-np.nanmedian(np.log(a[1] / a[0])) / np.log(1 - 2 * flips))

    return found.interval(groups, "mean_rho", exponent)


def _thermometer(found: Errors, coin: Where) -> list[dict[str, Any]]:
    """Claims 15 to 18, of runs on tossed labels."""
    base = every(coin, equal("loss", "logistic"), equal("strength", 1.6))
    usual = every(base, equal("rate", 1.0), equal("batch", found.batch))

    def slope(a: tuple[FloatArray, FloatArray], b: tuple[FloatArray, FloatArray]) -> float:
        measured, predicted = np.log2(b[1] / a[1]), np.log2(b[0] / a[0])
        return float(np.nanmedian(measured - predicted))

    groups = [found.rows(one, "thermometer") for one in (usual, every(base, equal("rate", 2.0)))]
    wider = [groups[0], found.rows(every(base, equal("batch", 4 * found.batch)), "thermometer")]
    quiet = found.rms(every(coin, one_of("loss", ("logistic", "squared"))), "thermometer", "kl")
    savage = [
        found.rows(every(coin, equal("loss", "savage"), equal("strength", strength)), "tangent")
        for strength in (1.6, 6.4)
    ]
    rise = found.interval(savage, "kl", lambda a, b: float(np.nanmedian(np.log(b[1] / a[1]))))
    return [
        stated(15, "tossed labels: log₂ KL(2 lr)/KL(lr) less that of θ, logistic, βκ = 1.6", "within", 0.0,
               found.interval(groups, "kl", slope), 0.3),
        stated(16, "tossed labels: log₂ KL(4B)/KL(B) less that of θ, logistic, βκ = 1.6", "within", 0.0,
               found.interval(wider, "kl", slope), 0.3),
        stated(17, "tossed labels: rms E(KL) of the thermometer, logistic and squared", "below", 0.25, quiet),
        stated(18, "tossed labels: log KL(βκ = 6.4)/KL(1.6), Savage", "above", 0.0, rise),
    ]  # fmt: skip


def _runaways(steps: pd.DataFrame) -> dict[str, Any]:
    """Claim 19: runs of exponential that ran away by SGD, less those of Savage."""
    part = steps[(steps["optimizer"] == "sgd") & steps["strength"].isin((0.2, 0.8)) & (steps["status"] != "ok")]
    runs = part[[*RUN, "seed"]].drop_duplicates()["loss"].value_counts()
    value = float(runs.get("exponential", 0) - runs.get("savage", 0))
    return stated(
        19, "runaways by SGD: exponential less Savage, βκ 0.2 and 0.8", "count", 1.0, Interval(value, value, value)
    )
