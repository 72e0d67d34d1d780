"""The mixture-of-Gaussians counterexample: the μ-weighted square loss has minima far from zero, the KL has one.

Tang et al. (arXiv 2402.05749) show that for a mixture of Gaussians moved by c the μ-weighted square loss has several
local minima, some far from c = 0, so that descending it need not lower KL(π_c‖πref). The constants of their figure are
not known. The setting here is ours: πref an equal mixture of N(m, 0.5²) at m in {−3, 0, 3}, π_c(y) = πref(y − c),
μ = N(0, 0.5²). Beside it: μ = πref, one Gaussian in place of the mixture, descents on either objective, and a map over
μ's width and mean of where descending the square loss raises the KL.

Predictions come from the argument, not from the integrals: ½E_μ[ρ²] is the variance of log π_c − log πref under μ, so
it nearly vanishes where any mode of π_c lies on the mode under μ, at the differences of modes; a shift by one spacing
d leaves one of k modes outside, which costs KL ≈ d²/(2 k s²); one Gaussian of scale s gives c² Var_μ(y)/s⁴ exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from experiments.framework import Check
from experiments.framework.sweeps import grid
from gpo_analysis.gaussian import Counterexample, counterexample, counterexample_family, descend_from
from gpo_analysis.tables import find

CLAIM = "The μ-weighted square loss of a moved mixture has minima far from zero, where the KL is large; the KL has one."
FIGURE = "mixture-of-gaussians"

SETTINGS = ("mode", "reference", "single")


@dataclass(frozen=True)
class Config:
    """The mixture, μ, and how finely all is looked at.

    Parameters
    ----------
    modes : tuple of float
        Means of πref's components, equally spaced, of equal weight.
    scale : float
        Their standard deviation.
    width, mean : float
        Standard deviation and mean of μ.
    points : int
        Values of c in a landscape.
    starts : tuple of float
        First c of the descents.
    steps, learning_rate : int and float
        Of a descent, at most.
    widths, means : tuple of float
        Axes of the map.
    map_starts : int
        First c, an even number of them, for each cell of the map.
    map_points : int
        Values of c in each landscape of the map.
    samples : int
        Draws of the Monte Carlo estimate that checks the quadrature.
    """

    modes: tuple[float, ...] = (-3.0, 0.0, 3.0)
    scale: float = 0.5
    width: float = 0.5
    mean: float = 0.0
    points: int = 1001
    starts: tuple[float, ...] = (-4.0, -2.0, -1.0, 1.0, 2.0, 4.0)
    steps: int = 600
    learning_rate: float = 0.02
    widths: tuple[float, ...] = (0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
    means: tuple[float, ...] = (0.0, 0.75, 1.5, 2.25, 3.0, 3.75, 4.5, 5.25, 6.0)
    map_starts: int = 120
    map_points: int = 401
    samples: int = 200_000


PRESETS = {
    "quick": Config(),
    "paper": Config(
        points=4001,
        widths=tuple(float(w) for w in np.round(np.geomspace(0.1, 4.0, 31), 4)),
        means=tuple(float(p) for p in np.linspace(0.0, 6.0, 41)),
        map_starts=240,
        map_points=1001,
        samples=2_000_000,
    ),
}


def cells(config: Config) -> list[dict[str, Any]]:
    """Three landscapes, descents on either objective, Monte Carlo, and one cell a width of the map."""
    return [
        *grid(part="landscape", setting=SETTINGS),
        *grid(part="descent", objective=("mu_squared_loss", "kl")),
        {"part": "sampled"},
        *grid(part="map", width=config.widths),
    ]


def run(config: Config, *, part: str, **axes: Any) -> pd.DataFrame:
    """Rows of one part; the column ``part`` says which."""
    parts = {"landscape": _landscape, "descent": _descent, "sampled": _sampled, "map": _map}
    return parts[part](config, **axes)


def _example(config: Config, modes: tuple[float, ...] | None = None) -> Counterexample:
    means = config.modes if modes is None else modes
    return counterexample(width=config.width, mean=config.mean, modes=means, scale=config.scale)


def _landscape(config: Config, setting: str) -> pd.DataFrame:
    """Part ``curve``: a row a value of c; part ``minimum``: a row a local minimum."""
    example = _example(config)
    shifts = None
    if setting == "reference":
        example = example.on_reference()
    elif setting == "single":
        wide = float(np.ptp(config.modes)) + 2.0 * config.scale
        example = _example(config, (float(np.mean(config.modes)),))
        shifts = np.linspace(-wide, wide, config.points)
    found = example.landscape(grid=shifts, points=config.points)
    curve = found.table.assign(part="curve")
    if setting == "single":
        curve["predicted"] = found.c**2 * config.width**2 / config.scale**4
    minima = found.minima_table.assign(part="minimum", resolution=found.resolution)
    return pd.concat([curve, minima], ignore_index=True).assign(setting=setting)


def _descent(config: Config, objective: str) -> pd.DataFrame:
    """A row a step of each descent."""
    both = _example(config).objectives
    paths = descend_from(
        both, config.starts, objective=objective, steps=config.steps, learning_rate=config.learning_rate
    )
    tables = [
        path.table.assign(start=start, status=path.status) for start, path in zip(config.starts, paths, strict=True)
    ]
    return pd.concat(tables, ignore_index=True).assign(part="descent", objective=objective)


def _sampled(config: Config) -> pd.DataFrame:
    """KL and square loss half a spacing away, by quadrature and from samples."""
    example = _example(config)
    c = float(np.diff(config.modes)[0]) / 2.0
    moved = example.policy.shifted(c)
    exact = {
        "kl": moved.kl_divergence_to(example.reference),
        "mu_squared_loss": moved.mu_squared_loss_to(example.reference, example.behavior),
    }
    # plain draws, without the stratification and the local coordinates of the library's own estimators
    y = moved.sample(config.samples, seed=1)
    ratio = moved.log_prob(y) - example.reference.log_prob(y)
    at_mu = example.behavior.sample(2 * config.samples, seed=2)
    under_mu = moved.log_prob(at_mu) - example.reference.log_prob(at_mu)
    pairs = 0.5 * (under_mu[::2] - under_mu[1::2]) ** 2
    rows = [
        ("sampled", name, c, exact[name], float(draws.mean()), float(draws.std(ddof=1) / np.sqrt(draws.size)))
        for name, draws in (("kl", ratio), ("mu_squared_loss", pairs))
    ]
    return pd.DataFrame(rows, columns=["part", "objective", "c", "exact", "sampled", "stderr"])


def _map(config: Config, width: float) -> pd.DataFrame:
    """A row a mean of μ."""
    reference = _example(config).reference
    span = float(np.ptp(config.modes))
    found = counterexample_family(
        [width],
        config.means,
        starts=np.linspace(-span, span, config.map_starts),
        reference=reference,
        points=config.map_points,
    )
    return found.table.assign(part="map", resolution=found.resolution)


def check(config: Config, table: pd.DataFrame) -> list[Check]:
    """Number and place of minima, KL there, descents, the single Gaussian, samples, the map."""
    ours = "the setting is ours: the paper's constants are not known"
    spacing = float(np.diff(config.modes)[0])
    minima = find(table, part="minimum")

    def at(setting: str, objective: str) -> pd.DataFrame:
        return find(minima, setting=setting, objective=objective).sort_values("c")

    loss, kl = at("mode", "mu_squared_loss"), at("mode", "kl")
    expected = np.array([-spacing, 0.0, spacing])
    gap = float(np.abs(loss["c"].to_numpy() - expected).max()) if len(loss) == 3 else np.inf
    remote = loss[loss["c"].abs() > 0.5 * spacing]
    blur = float(minima["uncertainty"].max())
    outside = spacing**2 / (2 * len(config.modes) * config.scale**2)
    checks = [
        Check.equal("μ on the middle mode: local minima of ½E_μ[ρ²] over c", 3.0, float(len(loss)), 0.0, note=ours),
        Check.at_most(f"their distance from c = −{spacing:g}, 0, {spacing:g}, largest", 0.02, gap),
        Check.at_most("½E_μ[ρ²] at the remote minima, largest", 0.01, float(remote["mu_squared_loss"].max())),
        Check.equal(
            "KL(π_c‖πref) at the remote minima, nats", outside, float(remote["kl"].min()), 0.02, relative=True,
            note="predicted: one of the modes lies a spacing outside, d²/(2ks²)",
        ),
        Check.equal("local minima of KL(π_c‖πref) over c", 1.0, float(len(kl)), 0.0),
        Check.equal("the KL's minimum c", 0.0, float(kl["c"].abs().max()), 1e-8),
        Check.equal("μ = πref: local minima of ½E_μ[ρ²]", 1.0, float(len(at("reference", "mu_squared_loss"))), 0.0),
        Check.at_most("uncertainty of every minimum's c, largest", 1e-8, blur),
        Check.equal(
            "one Gaussian of equal variance: local minima of ½E_μ[ρ²]",
            1.0, float(len(at("single", "mu_squared_loss"))), 0.0,
        ),
    ]  # fmt: skip
    single = find(table, part="curve", setting="single")
    departure = (single["mu_squared_loss"] - single["predicted"]).abs() / (1.0 + single["predicted"])
    checks.append(
        Check.at_most("one Gaussian: ½E_μ[ρ²] departs from c² Var_μ(y)/s⁴ by, relative", 1e-9, float(departure.max()))
    )
    proved = [*checks, *_check_descents(table, remote), *_check_samples(table)]
    return [*(check.as_theorem() for check in proved), *_check_map(table)]


def _check_descents(table: pd.DataFrame, remote: pd.DataFrame) -> list[Check]:
    steps = find(table, part="descent")
    ends = steps.sort_values("step").groupby(["objective", "start"]).agg(
        c=("c", "last"), first=("kl", "first"), last=("kl", "last")
    )  # fmt: skip
    by_loss, by_kl = ends.loc["mu_squared_loss"], ends.loc["kl"]
    inner = by_loss[(by_loss.index > 1.5) & (by_loss.index < 2.9)]
    raised = by_loss[by_loss["last"] > by_loss["first"] + 1e-6]
    shown = f"raised from starts {', '.join(f'{s:g}' for s in raised.index)} of {len(by_loss)} starts"
    end = float(remote["c"].max())
    return [
        Check.at_least(
            "descending ½E_μ[ρ²] from c = 2 raises the KL, by nats", 2.0, float((inner["last"] - inner["first"]).min()),
            note=f"predicted: it ends one spacing away; {shown}",
        ),
        Check.equal("where that descent ends, against the landscape's minimum", end, float(inner["c"].max()), 1e-6),
        Check.at_most("descending the KL from the same starts ends with a KL of at most", 1e-12, by_kl["last"].max()),
    ]  # fmt: skip


def _check_samples(table: pd.DataFrame) -> list[Check]:
    rows = find(table, part="sampled")
    return [
        Check.equal(
            f"{'KL' if row.objective == 'kl' else '½E_μ[ρ²] over pairs'} at c = {row.c:g}: samples against quadrature",
            float(row.exact), float(row.sampled), 4.5 * float(row.stderr), note="tolerance: 4.5 standard errors",
        )
        for row in rows.itertuples()
    ]  # fmt: skip


def _check_map(table: pd.DataFrame) -> list[Check]:
    whole = find(table, part="map")
    wide, on_mode = whole[whole["width"] >= 2.0], whole[(whole["width"] <= 0.5) & (whole["mean"] == 0.0)]
    share = whole["share_raised"]
    note = (
        f"raised from some start in {(share > 0).mean():.0%} of {len(whole)} cells, from at most {share.max():.0%} of "
        f"a cell's starts; up to {whole['share_astray'].max():.0%} of starts end above 0.01 nats"
    )
    return [
        Check.at_least(
            "μ on a mode, width ≤ 0.5: share of starts whose KL a descent of ½E_μ[ρ²] raises, smallest",
            0.05, float(on_mode["share_raised"].min()), note=note,
        ),
        Check.at_most(
            "μ as wide as 2 and more (it covers several modes): the same share, largest",
            0.0, float(wide["share_raised"].max()), note="on this grid of starts; not proved",
        ).as_restated("stated after a first run had shown it"),
        Check.equal("μ as wide as 2 and more: local minima of ½E_μ[ρ²], most", 1.0, float(wide["minima"].max()), 0.0),
    ]  # fmt: skip


def summary(config: Config, table: pd.DataFrame) -> str:
    """The remote minima, what descents do, and how special the setting is."""
    minima = find(table, part="minimum", setting="mode")
    loss, kl = (find(minima, objective=name) for name in ("mu_squared_loss", "kl"))
    remote = loss[loss["c"].abs() > 0.5 * float(np.diff(config.modes)[0])]
    steps = find(table, part="descent", objective="mu_squared_loss").sort_values("step")
    ends = steps.groupby("start")["kl"].agg(["first", "last"])
    raised = ends[ends["last"] > ends["first"] + 1e-6]
    whole = find(table, part="map")
    share = whole["share_raised"]
    wide = whole.loc[share > 0, "width"].max()
    return (
        f"With μ on the middle mode, ½E_μ[ρ²] of the mixture moved by c has {len(loss)} minima, the remote ones at "
        f"|c| = {remote['c'].abs().max():.3f}, where it is {remote['mu_squared_loss'].max():.2g} while KL(π_c‖πref) "
        f"is {remote['kl'].min():.3f} nats; the KL has {len(kl)}, at zero. Descending the square loss raised the KL "
        f"from {len(raised)} of {len(ends)} starts. Over the map of μ's width and mean the KL rises from some start "
        f"in {(share > 0).mean():.0%} of {len(whole)} cells (up to width {wide:g}), but from at most {share.max():.0%} "
        "of a cell's starts: the trap is real and most starts avoid it. It is gone for μ = πref, for one Gaussian, "
        "and for μ wide enough to cover several modes. To remember: what the square loss does not see under μ it "
        "does not regularize, whatever β."
    )
