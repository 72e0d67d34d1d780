"""Every experiment at a reduced size: its cells, its claims, its words; and tables that were tampered with."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from experiments.framework.discovery import get_experiments
from figures.framework.drawing import find_figures
from fuzz.small import NAMES, SMALL, computed, made_up_data
from gpo_analysis.records import plain


def test_every_experiment_is_run_here() -> None:
    assert set(SMALL) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_cells_are_distinct_plain_and_say_nothing_that_the_configuration_says(name: str) -> None:
    (experiment,) = get_experiments([name])
    module = experiment.load()
    for config in (*module.PRESETS.values(), module.Config(**SMALL[name])):
        if "study" in SMALL[name] or "studies" in SMALL[name]:
            config = module.Config(**SMALL[name])
        with made_up_data():
            cells = module.cells(config)
        assert json.loads(json.dumps(cells, allow_nan=False)) == cells
        assert len({json.dumps(cell, sort_keys=True) for cell in cells}) == len(cells) > 0
        said = plain(config)
        for axis in set.intersection(*map(set, cells)):
            assert len(cells) == 1 or axis not in said or any(cell[axis] != said[axis] for cell in cells), axis


@pytest.mark.parametrize("name", NAMES)
def test_claims_are_computed_and_theorems_hold(name: str) -> None:
    module, config, table = computed(name)
    checks = module.check(config, table)
    assert len({check.claim for check in checks}) == len(checks) > 0
    for check in checks:
        if check.holds is None:
            assert check.nature == "measurement", check
            continue
        if check.kind != "text":
            assert math.isfinite(float(check.computed)) or check.computed == check.predicted, check
            assert check.tolerance is not None or check.kind == "between", check
        assert json.loads(json.dumps(check.to_json(), allow_nan=False))["holds"] is check.holds
    # a measurement may come out otherwise at this size, or on made-up data
    assert [check.claim for check in checks if check.nature == "theorem" and not check.holds] == []


@pytest.mark.parametrize("name", NAMES)
def test_the_paragraph_is_whole_and_follows_the_table(name: str) -> None:
    module, config, table = computed(name)
    paragraph = " ".join(module.summary(config, table).split())
    assert "nan" not in paragraph.replace("[nan, nan]", "")  # a mean of one problem has no interval
    assert paragraph.endswith(".")
    assert name.startswith("llm-") or "To remember: " in paragraph
    numbers = table.select_dtypes("float").columns.difference(["strength", "scale"])  # by which rows are found
    shrunk = table.assign(**{column: (0.5 * table[column]).astype(table[column].dtype) for column in numbers})
    assert (" ".join(module.summary(config, shrunk).split()) == paragraph) is (name == "variants")  # all are ratios


@pytest.mark.parametrize(
    "name", ["gradient-identity", "ipo-toys", "kl-and-mu-square", "losses", "own-data", "variants"]
)
def test_a_cell_gives_the_same_rows_again_and_seeds_matter(name: str) -> None:
    (experiment,) = get_experiments([name])
    module = experiment.load()
    small = {
        "gradient-identity": {"problems": 2, "sampled_pairs": 1000}, "ipo-toys": {"steps": 20, "record_every": 10},
        "kl-and-mu-square": {"starts": 3, "records": 3, "regularizing_duration": 1.0},
        "own-data": {"repetitions": 2, "resamples": 5},
    }  # fmt: skip
    config = module.Config(**{**SMALL[name], **small.get(name, {})})
    axes = module.cells(config)[-1]
    pd.testing.assert_frame_equal(module.run(config, **axes), module.run(config, **axes))
    if "seed" in axes:
        other = module.run(config, **{**axes, "seed": axes["seed"] + 1})
        assert not other.drop(columns="seed").equals(module.run(config, **axes).drop(columns="seed"))


TAMPERED = [
    ("arena", "1. random", "tau_borda", "loss == 'squared'", 0.7),
    ("arena", "2. those with", "tau_borda", "loss == 'truncated_quadratic'", 0.7),
    ("beta-sweep", "", "kl", "source == 'population'", 1.2),
    ("beta-sweep", "", "kl", "source == 'best of n'", 2.0),
    ("beta-sweep", "", "error", "source == 'population'", 1e8),
    ("gradient-identity", "", "cosine", "t == 0", 0.8),
    ("gradient-identity", "", "slope", "target == 'uniform'", 0.8),
    ("gradient-identity", "", "constant", "target == 'sampled'", 0.8),
    ("ipo-toys", "", "p_c", "method == 'ipo' and dataset == 'D3'", 0.8),
    ("ipo-toys", "", "p_a", "method == 'dpo' and dataset == 'D1'", 0.8),
    ("journals", "", "score", "loss == 'logistic'", 1.001),
    ("journals", "", "score", "loss == 'squared'", -1.0),
    ("kl-and-mu-square", "", "early_ratio", "behavior == 'elsewhere'", 0.8),
    ("kl-and-mu-square", "", "work", "behavior == 'policy'", 0.8),
    ("lengths", "sums, reward without length: largest change of the exp", "length", "reduction == 'sum'", 1.01),
    ("lengths", "means, reward without length: least", "length", "reduction == 'mean'", 0.9),
    ("lengths", "likelihood of token means", "length", "reduction == 'orpo 0'", 1.01),
    ("lengths", "SimPO's cut-off mass", "cut_off", "reduction == 'mean_without_reference'", 0.1),
    ("links-and-divergences", "loss of each link", "loss_apart", "part == 'optimum'", 1e12),
    ("links-and-divergences", "βκ = 64", "kl", "link == 'chi_po'", 2.0),
    ("links-and-divergences", "mass off the support", "off_mass", "part == 'off support'", 1.01),
    ("links-and-divergences", "rise or fall", "off_logits", "link == 'chi_po'", -1.0),
    ("loss-to-order", "clipped is logistic", "kl", "loss == 'clipped'", 2.0),
    ("loss-to-order", "Taylor radius", "radius", "loss == 'clipped'", 1.5),
    ("losses", "", "slope", "loss == 'savage'", -1.0),
    ("losses", "", "scaled", "loss == 'hinge'", 0.5),
    ("mixture-of-gaussians", "", "kl", "part == 'minimum' and setting == 'mode'", 0.5),
    ("mixture-of-gaussians", "", "mu_squared_loss", "part == 'minimum' and setting == 'mode'", 2.0),
    ("mixture-of-gaussians", "", "uncertainty", "part == 'minimum'", 1e3),
    ("mixture-of-gaussians", "", "mu_squared_loss", "part == 'curve' and setting == 'single'", 1 + 1e-6),
    ("mixture-of-gaussians", "", "kl", "part == 'descent' and objective == 'mu_squared_loss'", 0.0),
    ("mixture-of-gaussians", "", "sampled", "part == 'sampled' and objective == 'mu_squared_loss'", 1.5),
    ("mixture-of-gaussians", "", "share_raised", "part == 'map' and width == 0.5", 0.0),
    ("mixture-of-gaussians", "", "minima", "part == 'map' and width == 2.0", 2.0),
    ("not-bradley-terry", "squared's winner", "winner", "loss == 'squared'", -1.0),
    ("not-bradley-terry", "IPO-MD", "ipo_md_distance", "loss == 'logistic'", 1e6),
    ("not-bradley-terry", "Nash-MD", "nash_md_distance", "loss == 'logistic'", 1e3),
    ("online-and-offline", "largest angle between", "angle", "t == 0", 1e6),
    ("online-and-offline", "over its bound", "of_bound", "setting == 'tabular'", 100.0),
    ("over-optimisation", "frontier of mean gold", "gold", "kind == 'largest excess'", 0.7),
    ("over-optimisation", "best-of-n: KL", "kl", "kind == 'largest excess'", 0.7),
    ("own-data", "KL on fresh labels", "fresh_kl", "part == 'beta'", 3.0),
    ("own-data", "spends less", "population_kl", "part == 'beta'", 5.0),
    ("policy-deviation", "on the support over the link's", "largest_on", "loss == 'squared'", 0.7),
    ("policy-deviation", "chosen: first slope", "early_slope", "part == 'chosen'", 0.7),
    ("policy-deviation", "features: first slope", "leak_slope", "part == 'features'", 0.7),
    ("speed-and-dynamics", "local rate over", "measured", "part == 'descent' and loss == 'logistic'", 0.69),
    ("speed-and-dynamics", "started near the optimum", "stable_over_predicted", "loss == 'savage'", 0.7),
    ("speed-and-dynamics", "start: KL", "kl_over_predicted", "part == 'early'", 0.7),
    ("speed-and-dynamics", "start: κ", "kappa_measured", "part == 'early'", 0.7),
    ("speed-and-dynamics", "Adam: first step", "early_step", "part == 'adam'", 0.7),
    ("statistical-efficiency", "2κg are the rewards", "limit", "loss == 'exponential'", 2.0),
    ("taylor", "", "radius", "loss == 'logistic'", 2.0),
    ("taylor", "", "error", "loss == 'exponential' and order == 32", 1e30),
    ("taylor", "", "error", "loss == 'hinge'", 0.0),
    ("taylor-in-training", "relative error of order 2", "relative_error_2", "largest < 0.05", 0.7),
    ("taylor-in-training", "share beyond", "optimum", "part == 'share' and beta > 0.5", 0.7),
    ("two-log-ratios", "mass left to the unseen", "unseen", "loss == 'nca_pair'", 1.01),
    ("two-log-ratios", "one pair always won", "chosen", "part == 'one-sided' and loss == 'sppo_hard'", 1.01),
    ("two-log-ratios", "spread of h near", "spread", "loss == 'bco_pair'", 1.2),
    ("variants", "", "kl", "loss == 'exponential'", 1.001),
    ("variants", "", "kl", "loss == 'truncated_quadratic'", 1.001),
    ("variants", "", "kl", "loss == 'hinge'", 1e-3),
    ("variants", "", "kl", "loss == 'squared'", 1.2),
]


@pytest.mark.parametrize(("name", "words", "column", "rows", "factor"), TAMPERED)
def test_a_claim_fails_on_wrong_numbers(name: str, words: str, column: str, rows: str, factor: float) -> None:
    module, config, table = computed(name)
    meant = {check.claim for check in module.check(config, table) if words in check.claim and check.holds is not False}
    assert meant
    chosen = table.eval(rows).fillna(False).astype(bool)
    assert chosen.any()
    wrong = table[column].astype(float)
    tampered = table.assign(**{column: np.where(chosen, factor * wrong + (0.01 if factor == 0.7 else 0.0), wrong)})
    assert any(check.holds is False for check in module.check(config, tampered) if check.claim in meant)


@pytest.mark.parametrize(
    ("name", "words", "tamper"),
    [
        ("arena", "generated arena", lambda table: _negated(table, "slope")),
        ("arena", "15. median", lambda table: table.assign(tau=-table["tau"])),
        ("arguments", "diagnostics", lambda table: table.assign(cycles=0)),
        ("loss-to-order", "granted otherwise", lambda table: table.assign(allowed=~table["allowed"].astype("boolean"))),
        ("own-data", "is chosen or as good", lambda table: table.assign(as_good=False)),
        ("not-bradley-terry", "strongly transitive", lambda table: _others_win(table, loss="exponential")),
        ("not-bradley-terry", "noise over", lambda table: _others_win(table, loss="savage", structure="noise")),
    ],
)
def test_a_claim_fails_on_wrong_verdicts(name: str, words: str, tamper: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    module, config, table = computed(name)
    assert any(check.holds is not False for check in module.check(config, table) if words in check.claim)
    assert any(check.holds is False for check in module.check(config, tamper(table)) if words in check.claim)


def _negated(table: pd.DataFrame, name: str) -> pd.DataFrame:
    low, high = (f"{name}_{end}" for end in ("low", "high"))
    return table.assign(**{name: -table[name], low: -table[high], high: -table[low]})


def _others_win(table: pd.DataFrame, **where: str) -> pd.DataFrame:
    rows = np.logical_and.reduce([(table[key] == value).fillna(False) for key, value in where.items()])
    assert rows.any()
    return table.assign(
        winner=np.where(rows, (table["winner"] + 1) % SMALL["not-bradley-terry"]["responses"], table["winner"])
    )


@pytest.mark.parametrize(
    ("name", "column", "rows", "factor", "words"),
    [
        ("losses", "curvature", "loss == 'logistic'", 2.0, ("κ = f″(0)/|f′(0)|, is logistic 0.5", "logistic 1,")),
        ("taylor", "error", "loss == 'logistic' and order == 2", 0.0, ("logistic 2.", "logistic 20")),
        (
            "beta-sweep", "kl", "comparisons == 60", np.nan,
            ("% [5%, 70%] of the samples of 60", "100% [51%, 100%] of the samples of 60"),
        ),
        ("variants", "kl", "kind == 'sample' and loss == 'logistic'", 2.0, ("the population 1.", "the population 2.")),
        ("journals", "score", "loss == 'logistic'", 2.0, ("abilities to 0.0004", "abilities to 3")),
    ],
)  # fmt: skip
def test_the_paragraph_says_what_the_table_holds(
    name: str, column: str, rows: str, factor: float, words: tuple[str, str]
) -> None:
    module, config, table = computed(name)
    tampered = table.assign(**{column: np.where(table.eval(rows), factor * table[column], table[column])})
    for found, (present, absent) in ((table, words), (tampered, words[::-1])):
        paragraph = module.summary(config, found)
        assert present in paragraph
        assert absent not in paragraph


@pytest.mark.parametrize("name", NAMES)
def test_every_experiment_has_its_parts_and_a_figure_that_shows_it(name: str) -> None:
    (experiment,) = get_experiments([name])
    module = experiment.load()
    assert module.CLAIM.endswith(".")
    assert set(module.PRESETS) == {"quick", "paper"}
    figures = {figure.name: figure.load().EXPERIMENTS for figure in find_figures()}
    assert name in figures[module.FIGURE]
    for preset in module.PRESETS:
        config: Any = experiment.config(preset)
        assert isinstance(config, module.Config)
        for field in type(config).__dataclass_fields__:
            assert field in (module.Config.__doc__ or ""), f"{field} is not documented"
