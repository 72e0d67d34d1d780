"""How often do 95 % intervals over few things hold what they should? Counted over simulated samples.

    python -m fuzz.intervals --samples 2000 --seed 0

Beside the intervals of `gpo_analysis.statistics` stand plain percentiles, which these were until 27 November 2026, and
scipy's BCa, which corrects for skew and not for the number. *One way* are n independent values: means of normal,
uniform, exponential and log-normal draws, a median, a ratio of means, a root mean square. *Two way* are seeds with 40
prompts each that are drawn for each seed; `seeds` is the part of the variance of a seed's mean that is the seed's own.
Printed are shares with their intervals, and the median width over that of Student's interval where there is one. The
exit code is 1 where the intervals hold a normal mean in less than 0.94 of the samples, or anything else in less than
percentiles do.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from scipy import stats  # noqa: E402

from gpo_analysis.arrays import FloatArray  # noqa: E402
from gpo_analysis.cli.arguments import Parser, whole  # noqa: E402
from gpo_analysis.statistics import resampled_ends, share_interval  # noqa: E402

COUNTS = (2, 3, 4, 5, 8, 12, 20)
DRAWS, PROMPTS, BATCH = 1000, 40, 250

Draw = Callable[[np.random.Generator, tuple[int, ...]], FloatArray]
Statistic = Callable[[FloatArray], FloatArray]


def _mean(x: FloatArray) -> FloatArray:
    return np.asarray(x[..., 0].mean(-1))


def _median(x: FloatArray) -> FloatArray:
    return np.asarray(np.median(x[..., 0], axis=-1))


def _ratio(x: FloatArray) -> FloatArray:
    return np.asarray(x[..., 0].mean(-1) / x[..., 1].mean(-1))


def _rms(x: FloatArray) -> FloatArray:
    return np.asarray(np.sqrt((x[..., 0] ** 2).mean(-1)))


@dataclass(frozen=True)
class Setting:
    """What is drawn, what is computed of it, and what it should be.

    Parameters
    ----------
    name : str
    draw : callable
        From a generator and a shape to draws of that shape with an axis of columns after it.
    statistic : callable
        From shape (…, n, columns) to (…).
    truth : float
    """

    name: str
    draw: Draw
    statistic: Statistic
    truth: float


def _one(draw: Callable[[np.random.Generator, tuple[int, ...]], Any]) -> Draw:
    return lambda rng, shape: np.asarray(draw(rng, shape))[..., None]


def _correlated(rng: np.random.Generator, shape: tuple[int, ...]) -> FloatArray:
    below = rng.lognormal(0.0, 0.5, shape)
    return np.stack([below * rng.lognormal(0.0, 0.5, shape), below], axis=-1)


SETTINGS = (
    Setting("normal mean", _one(lambda rng, shape: rng.normal(size=shape)), _mean, 0.0),
    Setting("uniform mean", _one(lambda rng, shape: rng.uniform(-1, 1, shape)), _mean, 0.0),
    Setting("exponential mean", _one(lambda rng, shape: rng.exponential(size=shape)), _mean, 1.0),
    Setting("mean of log-normal", _one(lambda rng, shape: rng.lognormal(size=shape)), _mean, float(np.exp(0.5))),
    Setting("normal median", _one(lambda rng, shape: rng.normal(size=shape)), _median, 0.0),
    Setting("ratio of means", _correlated, _ratio, float(np.exp(0.125))),
    Setting("root mean square", _one(lambda rng, shape: rng.normal(1.0, 0.5, shape)), _rms, float(np.sqrt(1.25))),
)
SHARES = (0.0, 0.5, 1.0)


def one_way(setting: Setting, n: int, samples: int, seed: int) -> list[dict[str, Any]]:
    """Rows of one setting and number: a row a method, with the share that held the truth and the median width."""
    rng = np.random.default_rng([seed, n])
    inside: dict[str, list[FloatArray]] = {}
    width: dict[str, list[FloatArray]] = {}

    def add(method: str, low: FloatArray, high: FloatArray) -> None:
        inside.setdefault(method, []).append((low <= setting.truth) & (setting.truth <= high))
        width.setdefault(method, []).append(high - low)

    for start in range(0, samples, BATCH):
        x = setting.draw(rng, (min(BATCH, samples - start), n))
        again = setting.statistic(np.moveaxis(x[:, rng.integers(n, size=(DRAWS, n))], 1, 0))
        value = setting.statistic(x)
        add("percentiles", *np.quantile(again, [0.025, 0.975], axis=0))
        add("ours", *resampled_ends(value, again, n))
        add("BCa", *_bca(setting, x, value, again))
        if setting.statistic is _mean:
            half = stats.t.ppf(0.975, n - 1) * x[..., 0].std(axis=1, ddof=1) / np.sqrt(n)
            add("Student", value - half, value + half)
    return _rows({"setting": setting.name, "n": n}, inside, width, samples)


def _bca(setting: Setting, x: FloatArray, value: FloatArray, again: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Efron's bias-corrected and accelerated percentiles; NaN where a sample gives none."""
    n = x.shape[1]
    left = np.stack([setting.statistic(np.delete(x, k, axis=1)) for k in range(n)])
    away = left.mean(0) - left
    with np.errstate(invalid="ignore", divide="ignore"):
        bend = (away**3).sum(0) / (6 * (away**2).sum(0) ** 1.5)
        shift = stats.norm.ppf(((again < value).mean(0) + (again <= value).mean(0)) / 2)
        ends = []
        for level in (0.025, 0.975):
            z = shift + stats.norm.ppf(level)
            ends.append(stats.norm.cdf(shift + z / (1 - bend * z)))
    found = np.full((2, len(x)), np.nan)
    for k in np.flatnonzero(np.isfinite(ends[0]) & np.isfinite(ends[1])):
        found[:, k] = np.quantile(again[:, k], [ends[0][k], ends[1][k]])
    return found[0], found[1]


def two_way_rows(share: float, statistic: Statistic, n: int, samples: int, seed: int) -> list[dict[str, Any]]:
    """As `one_way`, of seeds with prompts of their own, the part of a seed's mean that is its own being ``share``."""
    rng = np.random.default_rng([seed, n, 1])
    inside: dict[str, list[FloatArray]] = {"percentiles": [], "ours": []}
    width: dict[str, list[FloatArray]] = {"percentiles": [], "ours": []}
    for _ in range(samples):
        own = np.sqrt(share) * rng.normal(size=(n, 1))
        x = own + np.sqrt((1 - share) * PROMPTS) * rng.normal(size=(n, PROMPTS))
        seeds = rng.integers(n, size=(DRAWS // 2, n))
        means = x.mean(1)
        prompts = rng.integers(PROMPTS, size=(DRAWS // 2, n, PROMPTS))
        both = statistic(x[seeds[..., None], prompts].mean(-1)[..., None])
        value = float(statistic(means[:, None]))
        plain = np.quantile(both, [0.025, 0.975])
        low, high = resampled_ends(value, statistic(means[seeds][..., None]), n)
        for method, (a, b) in {
            "percentiles": plain, "ours": (min(float(low), plain[0]), max(float(high), plain[1]))
        }.items():  # fmt: skip
            inside[method].append(np.array([a <= 0 <= b]))
            width[method].append(np.array([b - a]))
    name = f"two way, {'mean' if statistic is _mean else 'median'}, seeds {share:g}"
    return _rows({"setting": name, "n": n}, inside, width, samples)


def _rows(
    head: dict[str, Any], inside: dict[str, list[FloatArray]], width: dict[str, list[FloatArray]], samples: int
) -> list[dict[str, Any]]:
    base = np.concatenate(width.get("Student", width["percentiles"]))
    rows = []
    for method, parts in inside.items():
        found = share_interval(int(np.concatenate(parts).sum()), samples)
        with np.errstate(invalid="ignore", divide="ignore"):
            relative = float(np.nanmedian(np.concatenate(width[method]) / base))
        rows.append({**head, "method": method, "share": found.value, "low": found.low, "high": found.high,
                     "width": relative})  # fmt: skip
    return rows


def campaign(samples: int, seed: int, counts: tuple[int, ...] = COUNTS, only: str = "") -> pd.DataFrame:
    """Every setting and number: a row a setting, number and method.

    Parameters
    ----------
    samples, seed : int
    counts : tuple of int
        Numbers of things drawn.
    only : str
        Settings whose name has it.
    """
    rows: list[dict[str, Any]] = []
    for setting in (one for one in SETTINGS if only in one.name):
        for n in counts:
            rows += one_way(setting, n, samples, seed)
    if only in "two way":
        for statistic in (_mean, _median):
            for share in SHARES:
                for n in counts:
                    rows += two_way_rows(share, statistic, n, max(1, samples // 4), seed)
    return pd.DataFrame(rows)


def misses(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of ours that hold too seldom, by more than counting explains."""
    wide = table.set_index(["setting", "n", "method"])
    kept = []
    for (setting, n, method), row in wide.iterrows():
        if method == "ours":
            plain = wide.loc[(setting, n, "percentiles")]
            if (setting == "normal mean" and row["high"] < 0.95) or row["share"] < plain["share"]:
                kept.append({"setting": setting, "n": n, **row})
    return pd.DataFrame(kept)


def main() -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=whole(1), default=2000)
    parser.add_argument("--seed", type=whole(0), default=0)
    parser.add_argument("--only", default="", help="settings whose name has this; 'two way' for those")
    arguments = parser.parse_args()
    table = campaign(arguments.samples, arguments.seed, only=arguments.only)
    for column in ("share", "width"):
        print(f"\n{column}")
        print(
            table.pivot_table(index=["setting", "method"], columns="n", values=column, sort=False).round(3).to_string()
        )
    bad = misses(table)
    if len(bad):
        print(f"\nheld too seldom:\n{bad.to_string(index=False)}")
    sys.exit(1 if len(bad) else 0)


if __name__ == "__main__":
    main()
