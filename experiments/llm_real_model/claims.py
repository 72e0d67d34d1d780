"""The predictions of docs/predictions/llm-real-model.md, and what was found of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from experiments._errors import Errors, Resampling, Where, between, equal, every, log_ratio
from gpo_analysis.arrays import FloatArray
from gpo_analysis.statistics import Interval, two_way

DOMAINS = ("titles", "hh")
Both = tuple[FloatArray, FloatArray]


@dataclass(frozen=True)
class Stated:
    """A prediction: its number, domain, words, rule ("below", "above", "within") and bound."""

    number: int
    domain: str
    text: str
    rule: str
    bound: float
    tolerance: float = float("nan")


def _for_both(number: int, text: str, rule: str, bound: float, tolerance: float = float("nan")) -> list[Stated]:
    """The same prediction of titles, and, twenty numbers on, of people's pairs."""
    return [Stated(number + 20 * place, domain, text, rule, bound, tolerance) for place, domain in enumerate(DOMAINS)]


_LOG_2 = 0.693147
_NEAR = 0.1  # nats: as near to πref as second order reaches
CLAIMS: tuple[Stated, ...] = tuple(
    sorted(
        [
            *_for_both(1, "linear in W: rms E(mean ρ), A trained, last step", "below", 0.05),
            *_for_both(2, "linear in W: rms E(KL), the same runs", "below", 0.10),
            *_for_both(3, "tangent of the parameters: median E(mean ρ), the same runs", "below", -0.3),
            *_for_both(4, "A fixed: rms E(mean ρ) of the tangent, last step", "below", 0.05),
            *_for_both(5, "two parts: rms E(mean ρ), A trained, all steps", "below", 0.15),
            *_for_both(6, "two parts: rms E(KL), A trained, last step", "below", 0.25),
            *_for_both(7, "linear in W: share of runs whose chosen rise or fall as said, last step", "above", 0.9),
            *_for_both(8, "linear in W: rms error of the chosen's log π, last step, nats", "below", 0.3),
            Stated(9, "titles", "median log of ½E[ρ²] over 2KL, own samples, KL ≤ 0.1", "within", 0.0, 0.25),
            Stated(10, "titles", "largest distance of a loss's win rate from their mean at KL 0.3", "below", 0.02),
            Stated(11, "titles", "win rate less that of best-of-2 at its KL", "below", -0.05),
            Stated(12, "titles", "the chosen rise: mean log π/πref, limit run, last step", "above", 0.0),
            Stated(29, "hh", "median log of ½E_μ[ρ²] of people's responses over 2KL of its own", "above", _LOG_2),
            Stated(32, "hh", "the chosen: mean log π/πref, limit run, last step", "above", 0.0),
        ],
        key=lambda one: one.number,
    )
)


def values(found: Found, domain: str) -> dict[int, Interval | None]:
    """What was found of each prediction of a domain, by its number."""
    add = 20 * DOMAINS.index(domain)
    own = "seen" if domain == "titles" else "held"  # whose samples are πref's
    ends, limit = every(found.trained, found.end), every(between("rate", 0.5, 1.5), equal("strength", 0.0), found.end)
    computed = {
        1: found.rms(ends, "tangent"),
        2: found.rms(ends, "tangent", "kl", own),
        3: found.median(ends, "parameters"),
        4: found.rms(every(found.fixed, found.end), "tangent"),
        5: found.rms(found.trained, "scalar"),
        6: found.rms(ends, "scalar", "kl", own),
        7: found.signs(every(between("rate", 0.5, 1.5), found.end), "tangent", "chosen_logp"),
        8: found.rms(ends, "tangent", "chosen_logp"),
        12: found.mean(limit, "chosen_logp"),
    }
    if domain == "titles":
        near = every(between("rate", 0.5, 1.5), between("run_kl", 1e-6, _NEAR))
        computed |= {9: found.ratio(near, "held", "held"), 10: found.trade_off(0.3, "seen"), 11: found.behind_best(2)}
    else:
        computed |= {9: found.ratio(ends, "seen", "held")}
    return {add + number: value for number, value in computed.items()}


class Found(Errors):
    """Predicted beside measured, and best-of-n."""

    def __init__(self, prompts: pd.DataFrame, best: pd.DataFrame, config: Resampling) -> None:
        super().__init__(prompts, config)
        self.best = best
        self.end = equal("step", self.last)
        self.trained = every(between("rate", 0.5, 1.5), between("strength", 1e-9, np.inf))
        self.fixed = between("rate", 1.5, np.inf)

    def median(self, where: Where, method: str, quantity: str = "mean_rho") -> Interval | None:
        """Median of E."""
        return self.interval([self.rows(where, method)], quantity, lambda part: _median(log_ratio(*part)))

    def mean(self, where: Where, quantity: str, split: str = "seen") -> Interval | None:
        """Mean of what was measured."""
        return self.interval([self.rows(where, "tangent", split)], quantity, lambda part: float(np.nanmean(part[1])))

    def ratio(self, where: Where, square: str, kl: str) -> Interval | None:
        """Median log of ½E_μ[ρ²] on one split over 2KL on another, of the same runs."""
        keys = ["loss", "strength", "rate", "optimizer", "batch", "epsilon", "seed", "step", "prompt"]
        rows = self.rows(where, "tangent", kl)
        squares = self.rows(where, "tangent", square)[[*keys, "mu_squared_loss"]].rename(
            columns={"mu_squared_loss": "square"}
        )
        joined = rows.merge(squares, on=keys)
        # the wide form wants predicted beside measured: here the square beside 2KL
        joined = joined.assign(kl_predicted=joined["square"], kl=2 * joined["kl"])
        return self.interval([joined], "kl", lambda part: _median(log_ratio(*part)))

    def signs(self, where: Where, method: str, quantity: str) -> Interval | None:
        """Share of runs whose sign was said."""

        def share(part: Both) -> float:
            known = np.isfinite(part[0]) & np.isfinite(part[1])
            return float(np.mean(np.sign(part[0][known]) == np.sign(part[1][known])))

        return self.interval([self.rows(where, method)], quantity, share)

    def trade_off(self, kl: float, split: str) -> Interval | None:
        """Largest distance of a loss's win rate from the losses' mean, at one KL, along steps and βκ."""
        where = between("rate", 0.5, 1.5)
        losses = [name for name in dict.fromkeys(self.prompts["loss"]) if name != "limit"]
        groups = [self._as_points(every(where, _of_loss(name)), split) for name in losses]

        def spread(*parts: Both) -> float:
            rates = [_at(part, kl) for part in parts]
            return float(np.max(np.abs(rates - np.mean(rates))))

        return self.interval(groups, "kl", spread)

    def behind_best(self, n: int) -> Interval | None:
        """Win rate of the samples trained on, tilted, less that of best-of-n, at its KL; all losses together."""
        best = self.best[self.best["n"] == n]
        rows = self._as_points(between("rate", 0.5, 1.5), "seen")
        if not len(best) or not len(rows):
            return None
        seeds = sorted(set(rows["seed"]))
        prompts = sorted(set(rows["prompt"]))
        columns = ["loss", "strength", "step"]
        runs = sorted(set(rows[columns].itertuples(index=False, name=None)))
        data = []
        for seed in seeds:
            own = rows[rows["seed"] == seed].set_index([*columns, "prompt"])[["kl_predicted", "kl"]]
            table = own.unstack("prompt").reindex(pd.MultiIndex.from_tuples(runs))
            rivals = best[best["seed"] == seed].set_index("prompt").reindex(prompts)[["win_rate", "kl"]]
            data.append(np.hstack([table["kl_predicted"].T, table["kl"].T, rivals]))

        def behind(means: FloatArray) -> float:
            count = len(runs)
            return _at((means[:, :count], means[:, count : 2 * count]), float(means[:, -1].mean())) - float(
                means[:, -2].mean()
            )

        return two_way(data, behind, self.config.resamples, self.config.seed)

    def _as_points(self, where: Where, split: str) -> pd.DataFrame:
        rows = self.rows(where, "tangent", split)
        return rows.assign(kl_predicted=rows["win_rate"])


def _of_loss(name: str) -> Where:
    """A loss, and the limit, which all share."""
    return lambda table: (table["loss"] == name) | (table["strength"] == 0)


def _median(errors: FloatArray) -> float:
    return float(np.nanmedian(errors)) if np.isfinite(errors).any() else float("nan")


def _at(part: Both, kl: float) -> float:
    """Win rate at a KL, between the points of a trade-off that begins at KL 0 and ½; NaN beyond the last."""
    rates, kls = (np.concatenate([[start], np.nanmean(one, 0)]) for start, one in ((0.5, part[0]), (0.0, part[1])))
    order = np.argsort(kls)
    return float(np.interp(kl, kls[order], rates[order])) if kl <= kls.max() else float("nan")
